//! `portcullis queue` where things go wrong: killed at any moment, deliveries meanwhile, a full disk, a read-only queue,
//! somebody else's queue.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/queue.rs"]
mod queue;
#[path = "support/small.rs"]
mod small;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;

use proxy::PORTCULLIS;
use proxy::host::until;
use queue::GOOD;
use queue::STORM;
use queue::TestQueue;
use small::Small;

fn command(queue: &TestQueue, arguments: &[&str]) -> Command {
    let mut command = Command::new(PORTCULLIS);
    command.arg("queue").args(arguments).arg("--queue").arg(queue.path("")).stdin(Stdio::null());
    command.current_dir("/").env_remove("QMAILQUEUE").env_remove("PORTCULLIS_CONFIG");
    command
}

/// Exit code, and all that was printed.
fn run(queue: &TestQueue, arguments: &[&str]) -> (i32, String) {
    let output = command(queue, arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

const FROM_STORM: [&str; 4] = ["quarantine", "--sender", "newsletter@sillyplace.com", "--yes"];

/// Whether somebody still gets the message to that address, now or after a restore.
fn waits(queue: &TestQueue, id: u64, record: &str) -> bool {
    let has = |path: &Path| fs::read_to_string(path).is_ok_and(|text| text.split('\0').any(|found| found == record));
    let kept = queue.quarantine(&format!("{id}.envelope"));
    ["local", "remote", "todo"].iter().any(|kind| has(&queue.file(kind, id))) || has(&kept)
}

#[test]
fn killed_at_any_moment_nothing_is_lost_and_the_next_run_completes() {
    for is_live in [true, false] {
        let queue = TestQueue::new();
        let good: Vec<u64> = (0..10).map(|_| queue.in_delivery(&GOOD)).collect();
        let before = queue.picture();
        let send = is_live.then(|| queue.lock());
        let storm: Vec<u64> = (0..300).map(|_| queue.in_delivery(&STORM)).collect();
        let kept = |count: usize| fs::read_dir(queue.quarantine("")).map_or(0, Iterator::count) >= count;
        let is_marked = |id: u64| fs::read(queue.file("remote", id)).map_or(true, |text| text.starts_with(b"D"));
        let mut killed = 0;
        for (kept_files, marked) in [(1, None), (40, None), (500, None), (0, Some(1)), (0, Some(70)), (0, Some(250))] {
            let mut child = command(&queue, &FROM_STORM).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            until("its work", || {
                let is_there = kept(kept_files) && marked.is_none_or(|at: usize| is_marked(storm[at]));
                is_there || child.try_wait().unwrap().is_some()
            });
            child.kill().unwrap();
            killed += usize::from(child.wait().unwrap().code().is_none());
            for id in &storm {
                assert!(
                    waits(&queue, *id, "Tfred@mx.example.org") && waits(&queue, *id, "Tann@remote.example"),
                    "{id} is lost"
                );
            }
        }
        assert!(killed >= 3, "only {killed} were killed in their work");
        let (_, told) = run(&queue, &FROM_STORM);
        send.iter().for_each(|send| storm.iter().for_each(|id| assert_eq!(send.pass(&queue, *id), [""; 0], "{told}")));
        assert_eq!(queue.picture(), before, "{good:?} are as they were: {told}");
        let (code, told) = run(&queue, &["list", "--quarantined", "--summary"]);
        assert!(code == 0 && told.contains("300 messages"), "{told}");
    }
}

#[test]
fn who_is_served_meanwhile_is_served_once_and_nobody_is_forgotten() {
    let queue = TestQueue::new();
    let send = queue.lock();
    let storm: Vec<u64> = (0..400).map(|_| queue.in_delivery(&STORM)).collect();
    let fred = "Djoe@mx.example.org\0".len() as u64;
    storm[..20].iter().for_each(|id| send.mark_done(&queue, "local", *id, fred));
    let marked = AtomicUsize::new(20);
    thread::scope(|scope| {
        scope.spawn(|| {
            for (at, id) in storm.iter().enumerate().skip(20) {
                // A delivery that was begun before our mark came ends after it.
                send.mark_done(&queue, "local", *id, fred);
                marked.store(at + 1, Ordering::Relaxed);
            }
        });
        let (code, told) = run(&queue, &FROM_STORM);
        assert_eq!(code, 0, "{told}");
    });
    assert_eq!(marked.load(Ordering::Relaxed), storm.len());
    for (at, id) in storm.iter().enumerate() {
        assert_eq!(queue.records("local", *id), "Djoe@mx.example.org Dfred@mx.example.org");
        assert_eq!(queue.records("remote", *id), "Dann@remote.example");
        assert!(waits(&queue, *id, "Tann@remote.example"), "{id} is lost");
        assert!(at >= 20 || !waits(&queue, *id, "Tfred@mx.example.org"), "{id}: fred was served before");
        assert!(!waits(&queue, *id, "Tjoe@mx.example.org"));
    }
}

#[test]
fn a_full_disk_changes_nothing() {
    let Some(small) = Small::mount("2m") else { return };
    for is_live in [true, false] {
        let queue = TestQueue::at(tempfile::tempdir_in(small.path()).unwrap(), 3, false);
        let send = is_live.then(|| queue.lock());
        for _ in 0..20 {
            queue.in_delivery(&queue::Mail { bounce: "<a@b>:\nno\n\n", ..STORM });
        }
        let before = queue.picture();
        small.fill(5);
        let (code, told) = run(&queue, &FROM_STORM);
        assert_eq!(code, 1, "{told}");
        assert!(
            told.contains("No space left") && told.contains("make room") && told.contains("no message was taken"),
            "{told}"
        );
        assert_eq!(queue.picture(), before);
        let kept: Vec<_> =
            fs::read_dir(queue.quarantine("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(kept.iter().all(|name| name == "queue" || name == "queue.new"), "{kept:?} {told}");
        small.empty();
        let (code, told) = run(&queue, &FROM_STORM);
        assert!(code == 0 && told.contains("20 messages taken"), "{told}");
        drop(send);
    }
}

#[test]
fn a_read_only_queue_is_listed_and_left_alone() {
    let Some(small) = Small::mount("2m") else { return };
    let queue = TestQueue::at(tempfile::tempdir_in(small.path()).unwrap(), 3, false);
    queue.in_delivery(&STORM);
    let before = queue.picture();
    small.remount("ro");
    let (code, told) = run(&queue, &FROM_STORM);
    assert!(code == 1 && told.contains("Read-only file system"), "{told}");
    assert_eq!(queue.picture(), before);
    let (code, told) = run(&queue, &["list"]);
    assert!(code == 0 && told.contains("<newsletter@sillyplace.com>"), "{told}");
    small.remount("rw");
}

#[test]
fn somebody_elses_queue_is_a_clear_error() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("only root can become somebody else: not tried");
        return;
    }
    let queue = TestQueue::new();
    queue.in_delivery(&STORM);
    let before = queue.picture();
    fs::set_permissions(queue.home(), fs::Permissions::from_mode(0o755)).unwrap();
    let as_nobody = |arguments: &[&str]| {
        let output = command(&queue, arguments).uid(65534).gid(65534).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let (code, told) = as_nobody(&FROM_STORM);
    assert!(code == Some(1) && told.contains("run this as root"), "{told}");
    assert_eq!(queue.picture(), before);
    for folder in 0..queue::SPLIT {
        fs::set_permissions(queue.path(&format!("info/{folder}")), fs::Permissions::from_mode(0o700)).unwrap();
    }
    for arguments in [&["list"][..], &["check"], &FROM_STORM] {
        let (code, told) = as_nobody(arguments);
        assert!(
            code == Some(1) && told.contains("info/") && told.contains("run this as root"),
            "{arguments:?}: {told}"
        );
    }
    // A quarantine that others can write to is not trusted.
    fs::create_dir(queue.quarantine("")).unwrap();
    fs::set_permissions(queue.quarantine(""), fs::Permissions::from_mode(0o777)).unwrap();
    let (code, told) = run(&queue, &FROM_STORM);
    let (_, remedy) = told.split_once("others may write here: ").expect(&told);
    assert_eq!((code, queue.picture()), (1, before));
    assert!(Command::new("sh").args(["-ec", remedy]).status().unwrap().success(), "{remedy}");
    assert_eq!(run(&queue, &FROM_STORM).0, 0);
}

/// Without it recipients of virtual domains would come back with a prefix too many.
#[test]
fn without_the_control_folder_nothing_is_taken() {
    let queue = TestQueue::new();
    queue.in_delivery(&STORM);
    fs::remove_dir(queue.home().join("control")).unwrap();
    let before = queue.picture();
    let (code, told) = run(&queue, &FROM_STORM);
    assert!(code == 1 && told.contains("--control DIR"), "{told}");
    assert_eq!(queue.picture(), before);
    fs::create_dir(queue.home().join("elsewhere")).unwrap();
    let control = queue.home().join("elsewhere");
    let (code, told) = run(&queue, &[&FROM_STORM[..], &["--control", control.to_str().unwrap()]].concat());
    assert_eq!(code, 0, "{told}");
}

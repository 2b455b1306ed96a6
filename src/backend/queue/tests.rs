//! Real programs in qmail-queue's place: what they get, and every way to their end.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::io::Seek;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use rustix::process::PidfdFlags;
use rustix::process::pidfd_open;

use super::*;
use crate::backend::permits::Permits;
use crate::policy::environment::Environment;
use crate::policy::environment::Variables;

const QUICK: Grace =
    Grace { exit: Duration::from_millis(50), terminate: Duration::from_millis(50), log: Duration::from_secs(5) };

/// A program that runs this script, in a folder of its own.
fn script(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("qmail-queue");
    std::fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    (folder, program)
}

fn message(text: &str) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.rewind().unwrap();
    file
}

fn client(variables: &[(&str, &str)]) -> ClientInfo {
    let pairs = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    ClientInfo {
        address: "192.0.2.7:4000".parse().unwrap(),
        local: "192.0.2.1:25".parse().unwrap(),
        host: None,
        helo: "client.example".into(),
        environment: Environment::new(Arc::new(Variables::new(pairs)), None),
    }
}

fn settings(program: &Path) -> Settings {
    Settings {
        target: crate::backend::Target::Queue(program.into()),
        identity: crate::backend::Identity::None,
        tls: crate::backend::Tls::Off,
        verify: true,
        hostname: "mx.example.org".into(),
        max: 1,
        keepalive: 0,
        connect: Duration::from_secs(10),
        reply: Duration::from_secs(60),
    }
}

fn envelope(recipients: usize) -> Envelope {
    let recipient = |number: usize| format!("{}@example.org", number).into_bytes();
    Envelope { sender: b"a b@example.net".to_vec(), recipients: (0..recipients).map(recipient).collect() }
}

fn job(program: &Path, envelope: &Envelope, variables: &[(&str, &str)]) -> Job {
    let made = Job::new(program, &settings(program), &client(variables), envelope, message("Subject: x\n\nbody\n"));
    Job { grace: QUICK, ..made }
}

/// The reply, after the program was reaped and its permit given back.
async fn run_job(job: Job) -> String {
    let permits = Permits::new(1);
    let permit = permits.acquire("192.0.2.7".parse().unwrap()).await;
    let reply = run(job, None, permit).await.unwrap();
    permits.drained().await;
    reply.text()
}

async fn run_script(text: &str) -> String {
    let (_folder, program) = script(text);
    run_job(job(&program, &envelope(1), &[])).await
}

#[tokio::test]
async fn the_program_gets_message_envelope_and_environment() {
    let (folder, program) =
        script("cd \"${0%/*}\"; cat >message; cat <&1 >envelope; env >environment; ls -l /proc/$$/fd >descriptors");
    let reply = run_job(job(&program, &envelope(2), &[("QMAILHOME", "/q"), ("PATH", "/bin:/usr/bin")])).await;
    let (words, pid) = reply.rsplit_once(' ').unwrap();
    assert!(words.starts_with("250 ok 1") && words.ends_with(" qp") && pid.parse::<u32>().unwrap() > 1, "{reply}");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(read("message"), "Subject: x\n\nbody\n");
    assert_eq!(read("envelope"), "Fa b@example.net\0T0@example.org\0T1@example.org\0\0");
    let environment = read("environment");
    for variable in ["PROTO=TCP", "TCPREMOTEIP=192.0.2.7", "TCPLOCALHOST=mx.example.org", "QMAILHOME=/q"] {
        assert!(environment.lines().any(|line| line == variable), "{variable} in {environment}");
    }
    let descriptors = read("descriptors");
    for wanted in [" 0 ->", " 1 ->", " 2 ->", " 4 ->", " 6 ->"] {
        assert!(descriptors.contains(wanted), "{wanted} in {descriptors}");
    }
}

#[tokio::test]
async fn an_envelope_larger_than_a_pipe_arrives_whole() {
    let (folder, program) = script("cat >/dev/null; cat <&1 >\"${0%/*}/envelope\"");
    let envelope = envelope(20_000);
    assert!(run_job(job(&program, &envelope, &[])).await.starts_with("250 "));
    assert_eq!(std::fs::read(folder.path().join("envelope")).unwrap(), envelope.octets());
}

#[tokio::test]
async fn every_code_has_its_reply() {
    const READ: &str = "cat >/dev/null; cat <&1 >/dev/null;";
    let rows = [
        ("exit 31", "554 mail server permanently rejected message (#5.3.0)"),
        ("exit 53", "451 qq write error or disk full (#4.3.0)"),
        ("echo 'DYou sent a virus (#5.7.1)' >&4; exit 82", "554 You sent a virus (#5.7.1)"),
        ("echo 'Zcome back' >&6; exit 82", "451 come back"),
        ("exit 82", "451 qq temporary problem (#4.3.0)"),
        ("yes D | head -c 300000 >&4; exit 82", "554 D"),
        ("kill -9 $$", "451 qq crashed (#4.3.0)"),
        ("exit 99", "451 qq temporary problem (#4.3.0)"),
    ];
    for (end, expected) in rows {
        let reply = run_script(&format!("{READ} {end}")).await;
        assert!(reply.starts_with(expected), "{end}: {reply}");
    }
}

#[tokio::test]
async fn what_closes_early_and_says_nothing_has_queued_nothing() {
    for (what, text) in [
        ("it reads nothing", "exit 0"),
        ("it reads the message only", "cat >/dev/null; exit 0"),
        ("it closes both", "exec 0<&- 1<&-; exit 0"),
    ] {
        assert_eq!(run_script(text).await, "451 qq read error (#4.3.0)", "{what}");
    }
    let (_folder, program) = script("exit 0");
    assert_eq!(run_job(job(&program, &envelope(20_000), &[])).await, "451 qq read error (#4.3.0)");
}

#[tokio::test]
async fn output_on_descriptor_1_goes_nowhere() {
    let (folder, program) = script("cd \"${0%/*}\"; echo noise 2>/dev/null; cat >/dev/null; cat <&1 >envelope; exit 0");
    assert!(run_job(job(&program, &envelope(1), &[])).await.starts_with("250 "));
    let envelope = std::fs::read_to_string(folder.path().join("envelope")).unwrap();
    assert_eq!(envelope, "Fa b@example.net\0T0@example.org\0\0");
}

#[tokio::test]
async fn a_program_that_hangs_is_ended_with_its_group() {
    for trap in ["", "trap '' TERM;"] {
        let (folder, program) = script(&format!(
            "{trap} cd \"${{0%/*}}\"; sleep 1000 & echo $! >child.part; mv child.part child; wait; wait; wait"
        ));
        let hanging = Job { limit: Duration::from_millis(300), ..job(&program, &envelope(1), &[]) };
        assert_eq!(run_job(hanging).await, "451 qq timeout (#4.3.0)", "{trap}");
        let child: i32 = std::fs::read_to_string(folder.path().join("child")).unwrap().trim().parse().unwrap();
        // Nobody but init reaps the child of a child.
        if let Ok(child) = pidfd_open(rustix::process::Pid::from_raw(child).unwrap(), PidfdFlags::empty()) {
            let mut ended = [PollFd::new(child.as_fd(), PollFlags::POLLIN)];
            assert_eq!(nix::poll::poll(&mut ended, PollTimeout::from(10_000_u16)), Ok(1), "{trap}");
        }
    }
}

#[tokio::test]
async fn a_success_at_the_last_moment_holds() {
    let (_folder, program) = script("trap 'cat >/dev/null; cat <&1 >/dev/null; exit 0' TERM; sleep 1000 & wait");
    let slow = Job { limit: Duration::from_millis(300), grace: Grace::default(), ..job(&program, &envelope(1), &[]) };
    assert!(run_job(slow).await.starts_with("250 ok "));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_a_deferral() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "#!/bin/sh\n").unwrap();
    for program in [folder.path().join("missing"), plain, folder.path().to_owned()] {
        assert_eq!(run_job(job(&program, &envelope(1), &[])).await, "451 unable to exec qq (#4.3.0)");
    }
}

#[tokio::test]
async fn a_caller_that_goes_leaves_the_program_to_its_end() {
    let (folder, program) = script("cd \"${0%/*}\"; cat >/dev/null; cat <&1 >/dev/null; read _ <go; : >queued");
    let go = folder.path().join("go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let permits = Permits::new(1);
    let permit = permits.acquire("192.0.2.7".parse().unwrap()).await;
    let mut running = Box::pin(run(job(&program, &envelope(1), &[]), None, permit));
    let opening = spawn_blocking(move || File::options().write(true).open(go).unwrap());
    let mut pipe = tokio::select! {
        pipe = opening => pipe.unwrap(),
        reply = &mut running => panic!("{reply:?}"),
    };
    drop(running);
    assert_eq!(permits.taken(), 1, "the program holds it");
    pipe.write_all(b"\n").unwrap();
    permits.drained().await;
    assert!(folder.path().join("queued").exists());
}

/// The threads that start programs are busy, and the caller goes meanwhile.
#[test]
fn a_caller_that_goes_before_the_start_leaves_nothing_behind() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    let (_folder, program) = script("cat >/dev/null; cat <&1 >/dev/null");
    runtime.block_on(async {
        let permits = Permits::new(1);
        let permit = permits.acquire("192.0.2.7".parse().unwrap()).await;
        let (open, gate) = std::sync::mpsc::sync_channel::<()>(0);
        let busy = spawn_blocking(move || gate.recv());
        let mut running = Box::pin(run(job(&program, &envelope(1), &[]), None, permit));
        assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(running.as_mut().poll(cx).is_pending())).await);
        drop(running);
        assert_eq!(permits.taken(), 1, "until it is settled that nothing is started");
        drop(open);
        assert!(busy.await.unwrap().is_err());
        permits.drained().await;
    });
    assert_eq!(nix::sys::wait::wait(), Err(Errno::ECHILD), "no process");
}

#[tokio::test]
async fn a_program_that_has_left_its_group_is_ended_too() {
    // Into the group of its parent, which is not signalled.
    let (_folder, program) = script("exec perl -e 'setpgrp(0, getpgrp(getppid())); sleep 1000'");
    let hanging = Job { limit: Duration::from_secs(1), ..job(&program, &envelope(1), &[]) };
    assert_eq!(run_job(hanging).await, "451 qq timeout (#4.3.0)");
}

#[test]
fn the_program_is_that_of_qmailqueue() {
    let path = OsString::from("/nonexistent:/bin");
    let rows = [
        (None, "/var/qmail/bin/qmail-queue"),
        (Some(""), "/var/qmail/bin/qmail-queue"),
        (Some("/usr/bin/simscan"), "/usr/bin/simscan"),
        (Some("bin/simscan"), "/var/qmail/bin/simscan"),
        (Some("cat"), "/bin/cat"),
        (Some("no-such-program"), "no-such-program"),
    ];
    for (wanted, expected) in rows {
        let found = chosen(Path::new("/var/qmail/bin/qmail-queue"), wanted.map(OsString::from).as_ref(), Some(&path));
        assert_eq!(found, Path::new(expected), "{wanted:?}");
    }
}

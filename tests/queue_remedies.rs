//! Whoever obeys each remedy that `portcullis queue` prints, as it is printed, loses no message: queues that people have after
//! repairs by hand, crashes and copies.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/queue.rs"]
mod queue;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use proxy::Outcome;
use proxy::PORTCULLIS;
use queue::GOOD;
use queue::Mail;
use queue::STORM;
use queue::TestQueue;
use serde_json::Value;

impl TestQueue {
    fn run(&self, arguments: &[&str]) -> Outcome {
        let mut command = Command::new(PORTCULLIS);
        command.arg("queue").args(arguments).arg("--queue").arg(self.path("")).current_dir("/");
        Outcome::of(&command.env_remove("PORTCULLIS_CONFIG").stdin(std::process::Stdio::null()).output().unwrap())
    }

    /// Obeys what is printed, in its order, until nothing new is said; gives what was said at last.
    fn obey(&self) -> String {
        let mut last = String::new();
        for _ in 0..5 {
            let told = self.run(&["check"]).out;
            if told == last {
                break;
            }
            for remedy in told.lines().filter_map(|line| line.strip_prefix("    ")) {
                self.shell(remedy);
            }
            last = told;
        }
        last
    }

    fn shell(&self, remedy: &str) {
        let remedy = remedy.replace("portcullis queue quarantine", &format!("{PORTCULLIS} queue quarantine --yes"));
        let script = format!("stop() {{ :; }}; start() {{ :; }}; {remedy}");
        // Users of qmail may be missing here, and an advice is no command.
        Command::new("sh").args(["-c", &script]).current_dir(self.path("")).output().unwrap();
    }

    /// The contents of all files in the queue and beside it.
    fn contents(&self) -> Vec<Vec<u8>> {
        let mut contents = Vec::new();
        collect(self.home(), &mut contents);
        contents.sort();
        contents
    }

    fn has_all(&self, id: u64, kinds: &[&str]) -> bool {
        kinds.iter().all(|kind| self.file(kind, id).is_file())
    }
}

fn collect(folder: &Path, contents: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match () {
            () if path.is_symlink() => {}
            () if path.is_dir() => collect(&path, contents),
            () if path.is_file() => contents.extend(Some(fs::read(&path).unwrap()).filter(|octets| !octets.is_empty())),
            () => {}
        }
    }
}

const SORTED: &[&str] = &["mess", "info", "local", "remote"];
const QUEUED: &[&str] = &["mess", "intd", "todo"];

type Break = fn(&TestQueue, u64, u64);

/// Each breaks a queue with a message in delivery and one that is queued. All of both must be in place when the remedies have
/// been obeyed.
const BROKEN: &[(&str, Break)] = &[
    ("the message in the wrong folder", |queue, id, _| misplace(queue, "mess", id)),
    ("the sender in the wrong folder", |queue, id, _| misplace(queue, "info", id)),
    ("recipients in the wrong folder", |queue, id, _| misplace(queue, "remote", id)),
    ("all in the wrong folder", |queue, id, _| SORTED.iter().for_each(|kind| misplace(queue, kind, id))),
    ("the message beside the folders", |queue, id, _| {
        fs::rename(queue.file("mess", id), queue.path(&format!("mess/{id}"))).unwrap();
    }),
    ("a folder too many", |queue, id, _| into(queue, "mess", id, "mess/23")),
    ("a folder of a backup", |queue, id, _| into(queue, "info", id, "info/old copy")),
    ("todo/0 in a plain queue", |queue, _, queued| into(queue, "todo", queued, "todo/0")),
    ("todo/0, empty", |queue, _, _| fs::create_dir(queue.path("todo/0")).unwrap()),
    ("todo/0 and intd/0", |queue, _, queued| {
        into(queue, "todo", queued, "todo/0");
        into(queue, "intd", queued, "intd/0");
    }),
    ("a folder in bounce", |queue, _, _| fs::create_dir(queue.path("bounce/old")).unwrap()),
    ("a file with another name", |queue, _, _| fs::write(queue.path("mess/3/core dump"), "core").unwrap()),
    ("a name with a zero before it", |queue, _, _| fs::write(queue.path("remote/3/007"), "Ta@b.example\0").unwrap()),
    ("a folder that is missing", |queue, id, _| fs::remove_dir(queue.path(&other("mess", id))).unwrap()),
    ("a file where a folder belongs", |queue, id, _| {
        fs::remove_dir(queue.path(&other("mess", id))).unwrap();
        fs::write(queue.path(&other("mess", id)), "file").unwrap();
    }),
    ("locks that are none", |queue, _, _| {
        fs::remove_file(queue.path("lock/trigger")).unwrap();
        fs::remove_file(queue.path("lock/sendmutex")).unwrap();
        fs::create_dir(queue.path("lock/sendmutex")).unwrap();
        fs::write(queue.path("lock/trigger"), "text").unwrap();
    }),
    ("a lock that is gone", |queue, _, _| fs::remove_file(queue.path("lock/sendmutex")).unwrap()),
    ("orphans", |queue, _, _| {
        fs::write(queue.file("info", 5), "Fa@b.example\0").unwrap();
        fs::write(queue.file("local", 6), "Ta@b.example\0").unwrap();
    }),
];

/// The path of a folder that the message has nothing in.
fn other(kind: &str, id: u64) -> String {
    format!("{kind}/{}", (id + 1) % queue::SPLIT)
}

fn misplace(queue: &TestQueue, kind: &str, id: u64) {
    fs::rename(queue.file(kind, id), queue.path(&format!("{}/{id}", other(kind, id)))).unwrap();
}

fn into(queue: &TestQueue, kind: &str, id: u64, folder: &str) {
    fs::create_dir(queue.path(folder)).unwrap();
    fs::rename(queue.file(kind, id), queue.path(&format!("{folder}/{id}"))).unwrap();
}

#[test]
fn whoever_obeys_all_remedies_of_check_loses_nothing() {
    for (what, spoil) in BROKEN {
        let queue = TestQueue::new();
        let (id, queued) = (queue.in_delivery(&STORM), queue.queued(&GOOD));
        // What else is in the folder that is about to go.
        queue.own();
        spoil(&queue, id, queued);
        let before = queue.contents();
        // Nobody is to take it meanwhile.
        let outcome = queue.run(&["quarantine", "all", "--dry-run", "--json"]);
        let told = queue.obey();
        let after = queue.contents();
        for content in &before {
            let count = |all: &[Vec<u8>]| all.iter().filter(|other| *other == content).count();
            assert!(count(&after) >= count(&before), "{what}: something is gone: {outcome:?}\n{told}");
        }
        assert!(queue.has_all(id, SORTED) && queue.has_all(queued, QUEUED), "{what}: {told}");
        assert!(told.contains("no errors") || told.contains("no qmail-queue writes it"), "{what}: {told}");
    }
}

/// A part of it would go into quarantine, and the rest would be lost.
#[test]
fn a_message_with_misplaced_files_is_left_alone() {
    for kind in ["remote", "local"] {
        let queue = TestQueue::new();
        let (id, good) = (queue.in_delivery(&STORM), queue.in_delivery(&GOOD));
        misplace(&queue, kind, id);
        let outcome = queue.run(&["quarantine", "all", "--yes", "--json"]);
        assert_eq!(outcome.json()["taken"], Value::from(vec![good]), "{kind}: {outcome:?}");
        assert!(outcome.err.contains("1 message left alone"), "{kind}: {outcome:?}");
        assert!(outcome.err.contains("portcullis queue check --queue"), "{kind}: {outcome:?}");
    }
}

#[test]
fn a_message_whose_sender_is_gone_is_kept() {
    let queue = TestQueue::new();
    let id = queue.in_delivery(&STORM);
    fs::remove_file(queue.file("info", id)).unwrap();
    let before = queue.contents();
    let told = queue.run(&["check"]).out;
    assert!(told.contains("its sender (info) is gone: qmail-send removes it"), "{told}");
    queue.obey();
    assert_eq!(queue.contents(), before);
    assert!(queue.home().join(format!("strays/mess.{}.{id}", id % queue::SPLIT)).is_file());
}

/// Where both places are taken nothing is overwritten.
#[test]
fn two_files_for_one_place_are_both_kept() {
    let queue = TestQueue::new();
    let id = queue.in_delivery(&STORM);
    let second = queue.path(&format!("{}/{id}", other("info", id)));
    fs::write(&second, "Fother@b.example\0").unwrap();
    let before = queue.contents();
    let told = queue.obey();
    assert_eq!(queue.contents(), before, "{told}");
    assert_eq!(queue.records("info", id), "Fnewsletter@sillyplace.com");
    assert!(!second.exists() && queue.run(&["check"]).code == 0, "{told}");
}

#[test]
fn a_link_in_place_of_a_message_is_not_touched() {
    let queue = TestQueue::new();
    let id = queue.in_delivery(&STORM);
    let elsewhere = queue.home().join("large");
    fs::rename(queue.file("mess", id), &elsewhere).unwrap();
    symlink(&elsewhere, queue.file("mess", id)).unwrap();
    let told = queue.obey();
    assert!(told.contains("is not a regular file") && queue.file("mess", id).is_symlink(), "{told}");
    assert!(queue.has_all(id, &["info", "local", "remote"]), "{told}");
}

#[test]
fn the_layout_is_what_most_folders_say() {
    let layout = |split: u64, big: bool, spoil: &dyn Fn(&TestQueue)| {
        let queue = TestQueue::with(split, big);
        let id = queue.queued(&GOOD);
        spoil(&queue);
        let outcome = queue.run(&["list", "--json"]);
        let rows = outcome.json();
        assert_eq!(
            (&rows[0]["id"], &rows[0]["state"], &rows[0]["sender"]),
            (&id.into(), &"S4".into(), &GOOD.sender.into())
        );
        outcome.err
    };
    let nothing = |_: &TestQueue| {};
    let make = |names: &'static [&'static str]| {
        move |queue: &TestQueue| names.iter().for_each(|name| fs::create_dir_all(queue.path(name)).unwrap())
    };
    for (split, big) in [(1, false), (1, true), (3, true), (23, false), (23, true), (151, false), (151, true)] {
        let told = layout(split, big, &nothing);
        assert_eq!(told.contains("big-todo"), big, "{told}");
        assert!(told.contains(&format!("split {split}")), "{told}");
    }
    let told = layout(23, false, &make(&["todo/0", "intd/0", "todo/1"]));
    assert!(!told.contains("big-todo") && told.contains("portcullis queue check --queue"), "{told}");
    let told = layout(1, false, &make(&["todo/0"]));
    assert!(!told.contains("big-todo"), "{told}");
    let lost = |queue: &TestQueue| {
        fs::remove_dir(queue.path("intd/0")).or_else(|_| fs::remove_dir(queue.path("intd/1"))).unwrap()
    };
    assert!(layout(23, true, &lost).contains("big-todo"));
}

/// What is left behind is said, with a command that takes it.
#[test]
fn quarantine_and_delete_say_what_they_leave() {
    let queue = TestQueue::new();
    let bounce = Mail { sender: "", remote: &["Tnewsletter@sillyplace.com"], local: &[], ..STORM };
    (0..3).for_each(|_| _ = queue.in_delivery(&STORM));
    (0..2).for_each(|_| _ = queue.in_delivery(&bounce));
    let other = queue.in_delivery(&Mail { sender: "", remote: &["Tann@remote.example"], local: &[], ..STORM });
    let send = queue.lock();
    let told = queue.run(&["quarantine", "--sender", "newsletter@sillyplace.com", "--yes"]);
    assert!(told.code == 0 && told.out.contains("Silly news"), "the subjects: {told:?}");
    assert!(told.err.contains("2 bounces to newsletter@sillyplace.com remain in the queue:"), "{told:?}");
    // Nobody is told to press what is not there.
    assert!(!told.err.contains("kill") && !told.err.contains("svc"), "{told:?}");
    let told = obey_last(&queue, &told.err);
    assert!(told.out.contains("2 messages taken"), "{told:?}");
    assert!(!told.err.contains("remain in"), "{told:?}");
    let told = queue.run(&["delete", "--sender", "@sillyplace.com", "--yes"]);
    assert!(told.out.contains("3 messages deleted") && told.out.contains("Silly news"), "{told:?}");
    assert!(told.err.contains("2 messages are left in quarantine"), "{told:?}");
    assert!(told.err.contains("2 bounces to @sillyplace.com remain in quarantine:"), "{told:?}");
    let told = obey_last(&queue, &told.err);
    assert!(told.out.contains("2 messages deleted"), "{told:?}");
    let told = queue.run(&["delete", "all", "--yes"]);
    assert!(told.code == 1 && told.err.contains("no message in quarantine matches"), "{told:?}");
    assert!(queue.file("remote", other).is_file());
    drop(send);
}

/// Runs the command in the last line.
fn obey_last(queue: &TestQueue, told: &str) -> Outcome {
    let command = told.lines().last().unwrap().trim().strip_prefix("portcullis ").unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{PORTCULLIS} {command} --yes")]).current_dir(queue.home());
    Outcome::of(&shell.output().unwrap())
}

#[test]
fn odd_messages_are_listed_as_they_are() {
    let queue = TestQueue::new();
    let local = queue.in_delivery(&Mail { sender: "root", ..GOOD });
    let cut = queue.in_delivery(&Mail { subject: "=?utf-8?B?R3LDvMOf?= =?utf-8?Q?Gr=C3=BC=C3", ..GOOD });
    let empty = queue.in_delivery(&GOOD);
    fs::write(queue.file("mess", empty), "").unwrap();
    let no_sender = queue.in_delivery(&GOOD);
    fs::write(queue.file("info", no_sender), "").unwrap();
    let no_envelope = queue.queued(&GOOD);
    fs::write(queue.file("todo", no_envelope), "").unwrap();
    for words in [["--sender", "root"], ["--sender", "<ROOT>"]] {
        let rows = queue.run(&[&["list", "--json"], &words[..]].concat()).json();
        assert_eq!((rows.as_array().unwrap().len(), &rows[0]["id"]), (1, &local.into()), "{words:?}: {rows}");
    }
    let rows = queue.run(&["list", "--json"]).json();
    let row = |id: u64| rows.as_array().unwrap().iter().find(|row| row["id"] == id).unwrap();
    let subject = row(cut)["subject"].as_str().unwrap();
    assert!(subject.starts_with("Grüß") && subject.contains("Gr"), "{subject}");
    assert_eq!(row(empty)["mess_size"], 0);
    for (id, told) in [(no_sender, "info has no sender"), (no_envelope, "todo has no sender")] {
        assert!(row(id)["troubles"][0].as_str().unwrap().contains(told), "{}", row(id));
    }
    let outcome = queue.run(&["quarantine", "all", "--yes", "--json"]);
    let left: Vec<u64> =
        outcome.json()["skipped"].as_array().unwrap().iter().map(|it| it["id"].as_u64().unwrap()).collect();
    assert!(left.contains(&no_sender) && left.contains(&no_envelope), "{outcome:?}");
    assert!(queue.run(&["check"]).out.contains("has no sender"));
}

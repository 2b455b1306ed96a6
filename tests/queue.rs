//! `portcullis queue` over real queues: the built program, real files, a lock that is held as qmail-send holds it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/queue.rs"]
mod queue;

use std::fs;
use std::fs::File;
use std::fs::FileTimes;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::SystemTime;

use portcullis::policy::virtualdomains::VirtualDomains;
use portcullis::queue::look::filter::Filter;
use portcullis::queue::look::filter::Words;
use portcullis::queue::look::layout::Queue;
use portcullis::queue::look::list;
use portcullis::queue::look::read::Want;
use portcullis::queue::look::scan;
use portcullis::queue::quarantine::folder::Quarantine;
use portcullis::queue::quarantine::take::QuarantineRun;
use proxy::Outcome;
use proxy::Site;
use queue::GOOD;
use queue::STORM;
use queue::TestQueue;
use serde_json::Value;

fn run(queue: &Path, arguments: &[&str]) -> Outcome {
    let site = Site::new("", "");
    site.run(&[&["queue"], arguments, &["--queue", queue.to_str().unwrap()]].concat())
}

impl TestQueue {
    fn run(&self, arguments: &[&str]) -> Outcome {
        run(&self.path(""), arguments)
    }

    fn rows(&self, arguments: &[&str]) -> Vec<Value> {
        let outcome = self.run(&[&["list", "--json"], arguments].concat());
        assert_eq!(outcome.code, 0, "{outcome:?}");
        outcome.json().as_array().unwrap().clone()
    }

    fn ids(&self, arguments: &[&str]) -> Vec<u64> {
        self.rows(arguments).iter().map(|row| row["id"].as_u64().unwrap()).collect()
    }
}

#[test]
fn the_sample_queue_reads_as_expected() {
    let folder = queue::sample("sample-queue.tar");
    let path = folder.path().join("queue");
    let outcome = run(&path, &["list", "--json"]);
    assert!(outcome.err.contains("split 23\n"), "{outcome:?}");
    let expected: Value = serde_json::from_str(include_str!("samples/queue-expected.json")).unwrap();
    let (expected, found) = (expected["messages"].as_array().unwrap(), outcome.json());
    let found = found.as_array().unwrap();
    assert_eq!(found.len(), expected.len());
    for (expected, found) in expected.iter().zip(found) {
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&found[name], value, "{name} of {found}");
        }
        for name in ["uid", "qp", "sender", "rcpts", "info_mtime", "local", "remote", "bounce_size"] {
            assert_eq!(found.get(name).is_some(), expected.get(name).is_some(), "{name} of {found}");
        }
    }
    let queued = queue::sample("sample-queue-todo.tar");
    let rows = run(&queued.path().join("queue"), &["list", "--json", "--state", "s4"]).json();
    assert_eq!(rows.as_array().unwrap().len(), 9);
    assert_eq!(rows[0]["uid"], 7791);
}

/// What `qmail-qread` printed of the same queue, message by message.
#[test]
fn show_agrees_with_qmail_qread() {
    let folder = queue::sample("sample-queue.tar");
    let path = folder.path().join("queue");
    let text = include_str!("samples/qmail-qread.txt");
    let mut message = Value::Null;
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once('#').filter(|_| line.contains(" GMT  #")) {
            let id = rest.split(' ').next().unwrap();
            message = run(&path, &["show", id, "--json"]).json();
            assert_eq!(message["state"], "S5");
            assert!(rest.contains(&format!("  {}  <{}> ", message["mess_size"], message["sender"].as_str().unwrap())));
            assert_eq!(rest.ends_with(" bouncing"), message["bounce_size"].is_u64());
            continue;
        }
        let words: Vec<&str> = line.split('\t').collect();
        let done = words[0].trim() == "done";
        let list = message[words[1]].as_array().unwrap();
        assert!(list.iter().any(|row| row["done"] == done && row["addr"] == words[2]), "{line}");
    }
}

#[test]
fn filters_say_which_messages_are_meant() {
    let queue = TestQueue::new();
    let storm = queue.in_delivery(&STORM);
    let good = queue.in_delivery(&GOOD);
    let queued = queue.queued(&queue::Mail { subject: "=?utf-8?Q?Gr=C3=BC=C3=9Fe?=", ..GOOD });
    let received = queue.receive(&STORM);
    let cases: &[(&[&str], &[u64])] = &[
        (&[], &[storm, good, queued, received]),
        (&["--sender", "NEWSLETTER@sillyplace.com"], &[storm]),
        (&["--sender", "@good.example"], &[good, queued]),
        (&["--recipient", "fred@mx.example.org"], &[storm]),
        (&["--subject", "silly *"], &[storm, received]),
        (&["--subject", "grüße"], &[queued]),
        (&["--header", "From: *bob*", "--state", "S5"], &[good]),
        (&["--larger", "2kB"], &[storm, received]),
        (&["--older", "1h"], &[]),
        (&["--state", "S2", "--state", "S4"], &[queued, received]),
        (&[&good.to_string(), "1"], &[good]),
    ];
    for (arguments, expected) in cases {
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(queue.ids(arguments), expected, "{arguments:?}");
    }
    for (arguments, told) in [
        (["--sender", "sillyplace.com"], "@sillyplace.com"),
        (["--header", "List-Id"], "Name: glob"),
        (["--larger", "big"], "10MB"),
        (["--state", "S9"], "S2"),
    ] {
        let outcome = queue.run(&[&["list"], &arguments[..]].concat());
        assert_eq!((outcome.code, outcome.out.as_str()), (64, ""), "{outcome:?}");
        assert!(outcome.err.contains(told), "{outcome:?}");
    }
}

#[test]
fn a_storm_is_the_first_line_of_the_summary() {
    let queue = TestQueue::with(3, true);
    for _ in 0..5 {
        queue.in_delivery(&STORM);
    }
    queue.queued(&GOOD);
    queue.receive(&GOOD);
    let outcome = queue.run(&["list", "--summary"]);
    assert!(outcome.err.contains("split 3, big-todo"), "{outcome:?}");
    let lines: Vec<&str> = outcome.out.lines().collect();
    assert!(lines[1].trim_start().starts_with("5 "), "{outcome:?}");
    assert!(
        lines[1].ends_with("71%       0s  <newsletter@sillyplace.com>") || lines[1].contains(" 71% "),
        "{outcome:?}"
    );
    assert_eq!(lines.last().unwrap().split(',').next(), Some("7 messages"));
    let json = queue.run(&["list", "--summary", "--json", "--by", "bytes", "--top", "1"]).json();
    assert_eq!(json["senders"].as_array().unwrap().len(), 1);
    assert_eq!((&json["senders"][0]["messages"], &json["senders"][0]["bytes"]), (&5.into(), &15000.into()));
}

#[test]
fn a_terminal_is_safe_from_what_is_in_the_queue() {
    let queue = TestQueue::new();
    let id =
        queue.in_delivery(&queue::Mail { sender: "a\x1b[2J\r@b.example", subject: "\x1b]0;x\x07\u{202e}", ..GOOD });
    let id = id.to_string();
    for arguments in [&["list"][..], &["list", "--summary"], &["show", &id]] {
        let outcome = queue.run(arguments);
        let is_bad = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(
            !outcome.out.contains(is_bad) && outcome.out.to_lowercase().contains("<a\\x1b[2j\\x0d@b.example>"),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_queue_in_motion_is_no_error() {
    let queue = TestQueue::new();
    let stay: Vec<u64> = (0..40).map(|_| queue.in_delivery(&GOOD)).collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        // Arrives, is preprocessed, is delivered, over and over.
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let id = queue.queued(&STORM);
                fs::write(queue.file("info", id), "Fnewsletter@sillyplace.com\0").unwrap();
                fs::write(queue.file("remote", id), "Tann@remote.example\0").unwrap();
                fs::remove_file(queue.file("intd", id)).unwrap();
                fs::remove_file(queue.file("todo", id)).unwrap();
                ["remote", "info", "mess"].iter().for_each(|kind| fs::remove_file(queue.file(kind, id)).unwrap());
            }
        });
        let looks: Vec<Vec<Value>> = (0..40).map(|_| queue.rows(&[])).collect();
        stop.store(true, Ordering::Relaxed);
        for row in looks.iter().flatten() {
            assert!(row.get("troubles").is_none(), "{row}");
            let is_known = ["S2", "S3", "S4", "S5"].contains(&row["state"].as_str().unwrap());
            assert!(is_known, "a message that moves is no orphan: {row}");
        }
        for rows in &looks {
            assert_eq!(rows.iter().filter(|row| row["sender"] == "bob@good.example").count(), stay.len());
        }
    });
}

#[test]
fn many_messages_come_by_number_and_reading_may_end() {
    let queue = TestQueue::new();
    let mut ids: Vec<u64> = (0..1000).map(|_| queue.in_delivery(&GOOD)).collect();
    ids.sort_unstable();
    assert_eq!(queue.ids(&[]), ids);
    let opened = Queue::open(&queue.path("")).unwrap();
    let entries = scan::scan(&opened, &|_, _| {}).unwrap().entries;
    let mut seen = Vec::new();
    list::each(&opened, &entries, &Filter::default(), &Want::default(), 0, &|_| {}, &mut |message| {
        seen.push(message.id);
        if seen.len() == 700 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(seen, ids[..700]);
}

/// qmail-send removes debris by the time its message was last read.
#[test]
fn reading_leaves_no_trace() {
    let queue = TestQueue::new();
    let (waits, queued) = (queue.in_delivery(&STORM), queue.queued(&GOOD));
    let places =
        [("mess", waits), ("info", waits), ("local", waits), ("remote", waits), ("mess", queued), ("todo", queued)];
    let places = places.map(|(kind, id)| queue.file(kind, id));
    queue.own();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for place in &places {
        File::options().write(true).open(place).unwrap().set_times(FileTimes::new().set_accessed(long_ago)).unwrap();
    }
    assert_eq!(queue.rows(&[]).len(), 2);
    assert_eq!(queue.run(&["show", &waits.to_string()]).code, 0);
    assert_eq!(queue.run(&["check"]).code, 0);
    for place in &places {
        assert_eq!(fs::metadata(place).unwrap().accessed().unwrap(), long_ago, "{}", place.display());
    }
}

#[test]
fn what_is_no_queue_is_told_with_what_to_do() {
    let site = Site::new("", "");
    let outcome = site.run(&["queue", "list", "-c", "portcullis.toml"]);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(outcome.err.contains("--queue DIR") && outcome.err.contains("queue"), "{outcome:?}");
    fs::create_dir_all(site.path("queue/mess/0")).unwrap();
    ["info/0", "local/0", "remote/0", "todo", "intd", "bounce"]
        .iter()
        .for_each(|name| fs::create_dir_all(site.path("queue").join(name)).unwrap());
    let outcome = site.run(&["queue", "list", "-c", "portcullis.toml"]);
    assert!(outcome.code == 0 && outcome.err.contains("beside the control folder"), "{outcome:?}");
    site.write("portcullis.toml", "[qmail]\nqueue = 7\n");
    let outcome = site.run(&["queue", "list", "-c", "portcullis.toml"]);
    assert!(outcome.code == 1 && outcome.err.contains("--queue DIR"), "{outcome:?}");
    let outcome = site.run(&["queue", "show", "1", "--queue", "queue"]);
    assert!(outcome.code == 1 && outcome.err.contains("no message 1"), "{outcome:?}");
}

const FROM_STORM: [&str; 4] = ["quarantine", "--sender", "NEWSLETTER@sillyplace.com", "--yes"];

/// The envelope in quarantine, without its first record and the end.
fn kept(queue: &TestQueue, id: u64) -> String {
    let text = fs::read_to_string(queue.quarantine(&format!("{id}.envelope"))).unwrap();
    let start = text.find("\0F").unwrap() + 1;
    text[start..].replace('\0', " ").trim_end().to_owned()
}

#[test]
fn while_qmail_send_runs_recipients_are_marked_and_nothing_else() {
    let queue = TestQueue::new();
    let send = queue.lock();
    let storm = queue.in_delivery(&STORM);
    let failing = queue.in_delivery(&queue::Mail { local: &[], bounce: "<joe@x>:\nno\n\n", ..STORM });
    let queued = queue.queued(&STORM);
    let good = queue.in_delivery(&GOOD);
    let others = queue.queued(&GOOD);
    let text = fs::read(queue.file("mess", storm)).unwrap();
    let outcome = queue.run(&FROM_STORM);
    assert_eq!(outcome.code, 1, "one is not sorted yet: {outcome:?}");
    assert!(
        outcome.err.contains(&format!("message {queued} was not taken: qmail-send has not preprocessed")),
        "{outcome:?}"
    );
    assert!(outcome.out.contains("2 messages taken to"), "{outcome:?}");
    assert_eq!(queue.records("local", storm), "Djoe@mx.example.org Dfred@mx.example.org");
    assert_eq!(queue.records("remote", storm), "Dann@remote.example");
    assert_eq!(queue.records("remote", good), "Tdefer@remote.example");
    assert_eq!(
        queue.records("todo", queued),
        "u7791 p1599 Fnewsletter@sillyplace.com Tjoe@mx.example.org Tfred@mx.example.org Tann@remote.example"
    );
    assert!(queue.file("todo", others).exists());
    assert_eq!(
        kept(&queue, storm),
        "Fnewsletter@sillyplace.com Djoe@mx.example.org Tfred@mx.example.org Tann@remote.example"
    );
    assert_eq!(fs::read_to_string(queue.quarantine(&format!("{failing}.bounce"))).unwrap(), "<joe@x>:\nno\n\n");
    assert!(!queue.quarantine(&queued.to_string()).exists());
    // Now it is `taken`, and asked for once more it is left alone.
    let summary = queue.run(&["list", "--summary"]);
    assert!(
        summary.out.contains("<newsletter@sillyplace.com>  (") && summary.out.contains(" quarantined)"),
        "{summary:?}"
    );
    let shown = queue.run(&["show", &storm.to_string()]);
    assert!(shown.err.contains("it is still in the queue"), "{shown:?}");
    let again = queue.run(&[&FROM_STORM[..3], &["--dry-run"]].concat());
    assert!(again.err.contains("2 messages already in quarantine"), "{again:?}");
    let repeated = queue.run(&FROM_STORM);
    assert!(repeated.err.contains("they leave the queue at qmail-send's next attempt"), "{repeated:?}");
    for id in [storm, failing] {
        assert_eq!(send.pass(&queue, id), [""; 0], "nothing is delivered, no bounce goes out");
        assert!(!queue.file("mess", id).exists());
    }
    assert_eq!(send.pass(&queue, good), ["defer@remote.example"]);
    assert_eq!(fs::read(queue.quarantine(&storm.to_string())).unwrap(), text);
}

#[test]
fn while_qmail_send_is_stopped_the_files_go() {
    let queue = TestQueue::with(5, true);
    let others = [queue.in_delivery(&GOOD), queue.queued(&GOOD), queue.receive(&GOOD)];
    let before = queue.picture();
    let storm = queue.in_delivery(&queue::Mail { bounce: "<joe@x>:\nno\n\n", ..STORM });
    let queued = queue.queued(&STORM);
    let outcome = queue.run(&FROM_STORM);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(outcome.err.contains("qmail-send is stopped"), "{outcome:?}");
    assert_eq!(queue.picture(), before, "nothing of {others:?} has changed, nothing of the storm is left");
    assert_eq!(
        kept(&queue, storm),
        "Fnewsletter@sillyplace.com Djoe@mx.example.org Tfred@mx.example.org Tann@remote.example"
    );
    assert_eq!(
        kept(&queue, queued),
        "Fnewsletter@sillyplace.com Tjoe@mx.example.org Tfred@mx.example.org Tann@remote.example"
    );
}

#[test]
fn what_was_taken_live_goes_when_qmail_send_is_stopped() {
    // Files that are gone already: as if an earlier run had been killed after so many.
    for gone in 0..4 {
        let queue = TestQueue::new();
        let send = queue.lock();
        queue.in_delivery(&GOOD);
        let before = queue.picture();
        let storm = queue.in_delivery(&STORM);
        assert_eq!(queue.run(&FROM_STORM).code, 0);
        assert!(queue.run(&["list"]).out.contains(" S5 taken "));
        drop(send);
        if gone > 0 {
            let envelope = queue.quarantine(&format!("{storm}.envelope"));
            let text = fs::read(&envelope).unwrap();
            fs::write(&envelope, [b"M", &text[1..]].concat()).unwrap();
            ["local", "remote", "info"][..gone]
                .iter()
                .for_each(|kind| fs::remove_file(queue.file(kind, storm)).unwrap());
            let outcome = queue.run(&FROM_STORM);
            assert!(outcome.err.contains("completed an interrupted run: 1 message"), "{outcome:?}");
        } else {
            assert_eq!(queue.run(&FROM_STORM[..3]).code, 64, "it asks");
            let told = queue.run(&[&FROM_STORM[..3], &["--dry-run", "--json"]].concat());
            assert_eq!(told.json()["would_clear"], serde_json::json!([storm]), "{told:?}");
            let outcome = queue.run(&FROM_STORM);
            assert!(outcome.err.contains("removed from the queue now, because qmail-send is stopped"), "{outcome:?}");
            assert!(outcome.err.contains("quarantined earlier while qmail-send was running: 1 message"), "{outcome:?}");
            assert_eq!(outcome.code, 0, "{outcome:?}");
        }
        assert_eq!(queue.picture(), before, "after {gone}");
        assert!(kept(&queue, storm).ends_with(" Tfred@mx.example.org Tann@remote.example"), "after {gone}");
        qmail_queue(&queue, "exit 0");
        assert_eq!(queue.run(&["restore", &storm.to_string()]).code, 0, "after {gone}");
    }
}

#[test]
fn nothing_is_changed_unasked() {
    let queue = TestQueue::new();
    queue.in_delivery(&STORM);
    let before = queue.picture();
    for (arguments, code, told) in [
        (&["quarantine"][..], 64, "say which messages"),
        (&["quarantine", "--yes"], 64, "say which messages"),
        (&FROM_STORM[..3], 64, "--yes"),
        (&["quarantine", "--all"], 64, "--yes"),
        (&["quarantine", "--all", "--dry-run"], 0, "qmail-send is stopped"),
        (&["quarantine", "all", "--dry-run"], 0, "qmail-send is stopped"),
        (&["quarantine", "7x", "--yes"], 64, "such as 10051767"),
        (&["list", "7x"], 64, "such as 10051767"),
        (&["list", "--summary", "--top", "x"], 64, "write a number, such as 20"),
        (&["quarantine", "--sender", "nobody@x.example", "--yes"], 1, "no message"),
    ] {
        let outcome = queue.run(arguments);
        assert_eq!(outcome.code, code, "{arguments:?}: {outcome:?}");
        assert!(outcome.err.contains(told), "{arguments:?}: {outcome:?}");
        assert_eq!(queue.picture(), before, "{arguments:?}");
        assert!(!queue.quarantine("").exists(), "{arguments:?}");
        let is_about_something = !outcome.err.contains("no message in the queue matches");
        assert!(is_about_something || !outcome.err.contains("qmail-send"), "{arguments:?}: {outcome:?}");
    }
    let send = queue.lock();
    let outcome = queue.run(&["quarantine", "--all", "--dry-run"]);
    assert!(outcome.err.contains("qmail-send is running"), "{outcome:?}");
    drop(send);
}

#[test]
fn an_empty_word_or_a_quarantine_in_the_queue_is_refused() {
    let queue = TestQueue::new();
    queue.in_delivery(&queue::Mail { sender: "", ..STORM });
    let before = queue.picture();
    let (mess, root, winding) = (queue.path("mess/taken"), queue.path(""), queue.path("mess/../taken"));
    let rows: [(&[&str], i32, &str); 4] = [
        (&["quarantine", "--sender", "", "--yes"], 64, "the null sender is written <>"),
        (&["quarantine", "--all", "--yes", "--quarantine", mess.to_str().unwrap()], 1, "is inside the queue"),
        (&["quarantine", "--all", "--yes", "--quarantine", winding.to_str().unwrap()], 1, "is inside the queue"),
        (&["quarantine", "--all", "--dry-run", "--quarantine", root.to_str().unwrap()], 1, "is inside the queue"),
    ];
    for (arguments, code, told) in rows {
        let outcome = queue.run(arguments);
        assert_eq!(outcome.code, code, "{arguments:?} {outcome:?}");
        assert!(outcome.err.contains(told), "{arguments:?} {outcome:?}");
        assert_eq!(queue.picture(), before, "{arguments:?}");
    }
    assert!(!mess.exists());
    assert_eq!(queue.run(&["quarantine", "--sender", "<>", "--yes"]).code, 0);
}

#[test]
fn links_and_wrong_names_are_left_alone() {
    let queue = TestQueue::new();
    let elsewhere = queue.home().join("elsewhere");
    fs::write(&elsewhere, "Tnobody@x.example\0").unwrap();
    let linked = queue.in_delivery(&STORM);
    fs::remove_file(queue.file("remote", linked)).unwrap();
    std::os::unix::fs::symlink(&elsewhere, queue.file("remote", linked)).unwrap();
    let wrong = linked + 1_000_000;
    fs::write(queue.file("mess", wrong), "Subject: x\n\n").unwrap();
    fs::write(queue.file("info", wrong), "Fnewsletter@sillyplace.com\0").unwrap();
    let pointing = linked + 2_000_000;
    std::os::unix::fs::symlink(&elsewhere, queue.file("mess", pointing)).unwrap();
    fs::write(queue.file("info", pointing), "Fnewsletter@sillyplace.com\0").unwrap();
    let outcome =
        queue.run(&[&FROM_STORM[..], &[&linked.to_string(), &wrong.to_string(), &pointing.to_string()]].concat());
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(outcome.err.contains(&format!("message {wrong} was not taken: its name is not")), "{outcome:?}");
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "Tnobody@x.example\0");
    assert!(queue.file("mess", wrong).exists() && !queue.quarantine(&pointing.to_string()).exists());
}

/// An end after each of the steps: nobody is lost, nothing else is touched, and the next run completes or undoes.
#[test]
fn an_end_after_any_step_loses_nothing() {
    for is_live in [true, false] {
        let mut cut = 0;
        while !ends_after(is_live, cut) {
            cut += 1;
        }
        assert!(cut > 10, "{cut} steps");
    }
}

/// Whether there were no more steps than that.
fn ends_after(is_live: bool, cut: usize) -> bool {
    let queue = TestQueue::new();
    queue.in_delivery(&GOOD);
    let before = queue.picture();
    let send = is_live.then(|| queue.lock());
    let storm = queue.in_delivery(&queue::Mail { bounce: "<joe@x>:\nno\n\n", ..STORM });
    let mut ids = vec![storm, queue.in_delivery(&queue::Mail { local: &[], ..STORM })];
    ids.extend((!is_live).then(|| queue.queued(&STORM)));
    let layout = Queue::open(&queue.path("")).unwrap();
    let filter =
        Filter::new(Words { senders: vec!["newsletter@sillyplace.com".to_owned()], ..Words::default() }).unwrap();
    let is_over = {
        let quarantine = Quarantine::open(&queue.quarantine(""), &layout).unwrap();
        let mut take = QuarantineRun::new(&layout, &quarantine, &filter, VirtualDomains::default(), is_live, 0);
        let steps = take.steps(&ids);
        steps.iter().take(cut).for_each(|step| take.act(*step).unwrap());
        steps.len() <= cut
    };
    for id in &ids {
        let waits = |text: &str| text.contains("Tann@remote.example");
        let in_queue =
            ["remote", "todo"].iter().any(|kind| queue.file(kind, *id).exists() && waits(&queue.records(kind, *id)));
        let in_quarantine =
            fs::read_to_string(queue.quarantine(&format!("{id}.envelope"))).is_ok_and(|text| waits(&text));
        assert!(in_queue || in_quarantine, "{id} is lost after {cut} steps");
    }
    let is_taken =
        |id: &u64| fs::read(queue.quarantine(&format!("{id}.envelope"))).is_ok_and(|text| text.starts_with(b"Q"));
    let were_taken = ids.iter().all(is_taken);
    let outcome = queue.run(&FROM_STORM);
    assert_eq!(outcome.code, i32::from(were_taken), "after {cut} steps: {outcome:?}");
    for id in &ids {
        let to_do = kept(&queue, *id);
        assert!(
            to_do.ends_with(" Tann@remote.example") && to_do.contains(" Tfred@mx.example.org") == (*id != ids[1]),
            "{to_do}"
        );
        send.iter().for_each(|send| assert_eq!(send.pass(&queue, *id), [""; 0], "after {cut} steps"));
    }
    assert_eq!(queue.picture(), before, "after {cut} steps");
    assert!(ids.iter().all(is_taken), "after {cut} steps");
    is_over
}

/// A qmail-queue that keeps what it reads, and ends as it is told.
fn qmail_queue(queue: &TestQueue, end: &str) {
    let (path, got) = (queue.home().join("bin/qmail-queue"), queue.home().join("got"));
    let got = got.display();
    fs::write(&path, format!("#!/bin/sh\ncat >{got}.message\ncat <&1 >{got}.envelope\n{end}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn restore_hands_the_message_to_those_who_wait_for_it() {
    let queue = TestQueue::new();
    fs::write(queue.home().join("control/virtualdomains"), "virt.example:joe-virt\n").unwrap();
    let local: &[&str] = &["Djoe@mx.example.org", "Tjoe-virt-x@virt.example"];
    let id = queue.in_delivery(&queue::Mail { local, bounce: "<a@b>:\nno\n\n", ..STORM });
    let text = fs::read(queue.file("mess", id)).unwrap();
    assert_eq!(queue.run(&FROM_STORM).code, 0);
    let id = id.to_string();
    for (end, told) in [
        ("exit 53", "qmail-queue said 53: a write failed: the disk may be full"),
        ("exit 31", "said 31: the message is refused"),
        ("kill -9 $$", "crashed"),
        ("exec sleep 60", "took too long"),
    ] {
        qmail_queue(&queue, end);
        let outcome = queue.run(&["restore", &id, "--timeout", "1s"]);
        assert_eq!(outcome.code, 1, "{outcome:?}");
        assert!(outcome.err.contains(told) && outcome.out.contains("; 1 not"), "{end}: {outcome:?}");
        assert_eq!(fs::read(queue.quarantine(&id)).unwrap(), text, "{end}");
    }
    qmail_queue(&queue, "exit 0");
    let program = queue.home().join("bin/qmail-queue");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o644)).unwrap();
    let outcome = queue.run(&["restore", &id]);
    assert!(
        outcome.code == 1 && outcome.err.contains("bin/qmail-queue cannot be run: Permission denied"),
        "{outcome:?}"
    );
    fs::write(&program, "#!/nowhere\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let outcome = queue.run(&["restore", &id]);
    assert!(
        outcome.code == 1 && outcome.err.contains("bin/qmail-queue cannot be started: No such file"),
        "{outcome:?}"
    );
    qmail_queue(&queue, "exit 0");
    let outcome = queue.run(&["restore", &id]);
    assert_eq!((outcome.code, outcome.out.as_str()), (0, "1 message restored, to 2 recipients\n"), "{outcome:?}");
    assert_eq!(fs::read(queue.home().join("got.message")).unwrap(), text);
    let envelope = fs::read(queue.home().join("got.envelope")).unwrap();
    assert_eq!(envelope, b"Fnewsletter@sillyplace.com\0Tx@virt.example\0Tann@remote.example\0\0");
    assert!(outcome.err.contains("not reported to the sender"), "{outcome:?}");
    let names = fs::read_dir(queue.quarantine("")).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<_> = names.filter(|name| name != "queue").collect();
    assert_eq!(names, ["reports"], "only what the sender was not told is kept");
    let outcome = queue.run(&["restore", &id]);
    assert!(outcome.code == 1 && outcome.err.contains("not in quarantine"), "{outcome:?}");
}

#[test]
fn restore_and_delete_need_to_be_told_what() {
    let queue = TestQueue::new();
    queue.in_delivery(&STORM);
    let outcome = queue.run(&["restore", "all"]);
    assert!(outcome.code == 1 && outcome.err.contains("nothing was ever quarantined"), "{outcome:?}");
    assert_eq!(queue.run(&FROM_STORM).code, 0);
    for (arguments, code, told) in [
        (&["restore"][..], 64, "say which"),
        (&["restore", "all", "7"], 64, "not both"),
        (&["restore", "7x"], 64, "write a number as queue list shows it, such as 10051767, or all"),
        (&["restore", "--all"], 1, "--qmail-queue"),
        (&["restore", "all"], 1, "--qmail-queue"),
        (&["restore", "all", "--qmail-queue", "/nowhere"], 1, "/nowhere: no such file"),
        (&["delete"], 64, "say which"),
        (&["delete", "all"], 64, "--yes"),
        (&["delete", "7", "--yes"], 1, "no message in quarantine matches"),
        (&["delete", "all", "--dry-run"], 0, ""),
        (&["delete", "--state", "S5", "--yes"], 64, "--state selects messages in the queue"),
        (&["restore", "--state", "S4"], 64, "--state selects messages in the queue"),
        (&["list", "--quarantined", "--state", "orphan"], 64, "--state selects messages in the queue"),
        (&["delete", "--all", "--dry-run"], 0, ""),
    ] {
        let outcome = queue.run(arguments);
        assert_eq!(outcome.code, code, "{arguments:?}: {outcome:?}");
        assert!(outcome.err.contains(told), "{arguments:?}: {outcome:?}");
        assert_eq!(queue.ids(&["--quarantined"]).len(), 1, "{arguments:?}");
    }
}

#[test]
fn the_quarantine_is_listed_shown_and_emptied() {
    let queue = TestQueue::new();
    let send = queue.lock();
    let storm = queue.in_delivery(&STORM);
    let other = queue.in_delivery(&GOOD);
    assert_eq!(queue.run(&["quarantine", "--all", "--yes"]).code, 0);
    let rows = queue.rows(&["--quarantined", "--sender", "@sillyplace.com"]);
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (&rows[0]["id"], &rows[0]["state"], &rows[0]["to_do"]),
        (&storm.into(), &"quarantined".into(), &2.into())
    );
    assert_eq!(rows[0]["subject"], "Silly news");
    assert_eq!(queue.run(&["list", "--quarantined", "--summary", "--json"]).json()["messages"], 2);
    let shown = queue.run(&["show", &storm.to_string()]);
    assert!(
        shown.out.contains("state      quarantined: ") && shown.out.contains("to do fred@mx.example.org"),
        "{shown:?}"
    );
    assert!(queue.run(&["list"]).out.contains(" S5 taken "));
    let outcome = queue.run(&["delete", &storm.to_string(), "--yes"]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert_eq!(queue.ids(&["--quarantined"]), [other]);
    assert_eq!(send.pass(&queue, storm), [""; 0], "it is still marked in the queue");
}

/// A backup that was restored, a queue that moved to another disk: no inode is what it was.
#[test]
fn a_quarantine_that_was_copied_is_not_lost() {
    let queue = TestQueue::new();
    let ids: Vec<u64> = (0..3).map(|_| queue.in_delivery(&STORM)).collect();
    assert_eq!(queue.run(&FROM_STORM).code, 0);
    let copy = queue.home().join("copy");
    assert!(Command::new("cp").arg("-a").arg(queue.quarantine("")).arg(&copy).status().unwrap().success());
    fs::remove_dir_all(queue.quarantine("")).unwrap();
    fs::rename(&copy, queue.quarantine("")).unwrap();
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    assert_eq!(queue.ids(&["--quarantined"]), sorted);
    // A new message has the number of one of them, and may be to the same recipients.
    let twin = queue.in_delivery(&STORM);
    if !ids.contains(&twin) {
        for name in ["", ".envelope"] {
            let (old, new) = (format!("{}{name}", ids[0]), format!("{twin}{name}"));
            fs::rename(queue.quarantine(&old), queue.quarantine(&new)).unwrap();
        }
    }
    assert!(queue.run(&["list"]).out.contains(" S5   "), "it is not taken");
    let outcome = queue.run(&["quarantine", "all", "--yes"]);
    assert!(outcome.code == 1 && outcome.err.contains("restore or delete that first"), "{outcome:?}");
    assert_eq!((queue.ids(&[]), queue.ids(&["--quarantined"]).len()), (vec![twin], 3));
    qmail_queue(&queue, "exit 0");
    let outcome = queue.run(&["restore", "--sender", "newsletter@sillyplace.com"]);
    assert!(outcome.code == 0 && outcome.out.contains("3 messages restored, to 6 recipients"), "{outcome:?}");
}

#[test]
fn an_envelope_that_is_damaged_keeps_its_message() {
    let queue = TestQueue::new();
    let id = queue.in_delivery(&STORM);
    assert_eq!(queue.run(&FROM_STORM).code, 0);
    let envelope = queue.quarantine(&format!("{id}.envelope"));
    let mut octets = fs::read(&envelope).unwrap();
    octets.push(b'\n');
    fs::write(&envelope, &octets).unwrap();
    let other = queue.in_delivery(&GOOD);
    assert_eq!(queue.run(&["quarantine", &other.to_string(), "--yes"]).code, 0);
    assert!(envelope.exists() && queue.quarantine(&id.to_string()).exists());
    let outcome = queue.run(&["check"]);
    assert!(outcome.code == 1 && outcome.out.contains("its envelope is damaged"), "{outcome:?}");
}

/// A folder of mail whose files have numbers for names, as MH's.
#[test]
fn a_folder_that_is_no_quarantine_is_left_alone() {
    let queue = TestQueue::new();
    let id = queue.in_delivery(&STORM);
    let mail = queue.home().join("mail");
    fs::create_dir(&mail).unwrap();
    fs::set_permissions(&mail, fs::Permissions::from_mode(0o700)).unwrap();
    (1..6).for_each(|number| fs::write(mail.join(number.to_string()), "a mail").unwrap());
    let outcome = queue.run(&["quarantine", &id.to_string(), "--yes", "--quarantine", mail.to_str().unwrap()]);
    assert!(outcome.code == 1 && outcome.err.contains("not empty, and no quarantine"), "{outcome:?}");
    assert_eq!(fs::read_dir(&mail).unwrap().count(), 5);
    assert!(queue.file("remote", id).exists());
}

/// Two queues side by side, as indimail has them.
#[test]
fn each_queue_has_its_own_quarantine() {
    let queue = TestQueue::new();
    let id = queue.in_delivery(&STORM);
    fs::rename(queue.path(""), queue.home().join("queue1")).unwrap();
    let second = TestQueue::new();
    fs::rename(second.path(""), queue.home().join("queue2")).unwrap();
    let (one, two) = (queue.home().join("queue1"), queue.home().join("queue2"));
    assert_eq!(run(&one, &FROM_STORM).code, 0);
    let of_one = queue.home().join("quarantine-queue1");
    assert!(of_one.join(id.to_string()).exists());
    let named = ["--quarantine", of_one.to_str().unwrap()];
    for words in [
        &["list", "--quarantined"][..],
        &["quarantine", "all", "--yes"],
        &["restore", "all"],
        &["delete", "all", "--yes"],
    ] {
        let outcome = run(&two, &[words, &named].concat());
        assert!(outcome.code == 1 && outcome.err.contains("it is the quarantine of "), "{words:?}: {outcome:?}");
    }
    assert!(of_one.join(id.to_string()).exists());
}

/// One that cannot be changed does not stand in the way of the others.
#[test]
fn a_file_that_cannot_be_changed_is_of_one_message() {
    let queue = TestQueue::new();
    let ids: Vec<u64> = (0..4).map(|_| queue.in_delivery(&STORM)).collect();
    let (fixed, fixed_whole) = (queue.file("remote", ids[1]), queue.file("mess", ids[2]));
    let attribute = |sign: &str| {
        let output = Command::new("chattr").arg(format!("{sign}i")).arg(&fixed).arg(&fixed_whole).output().unwrap();
        output.status.success()
    };
    // Only root may, and not on every file system.
    if !attribute("+") {
        return;
    }
    let outcome = queue.run(&[&FROM_STORM[..], &["--json"]].concat());
    let told = outcome.json();
    assert_eq!(told["taken"].as_array().unwrap().len(), 2, "{outcome:?}");
    let skipped = told["skipped"].as_array().unwrap();
    assert!(
        skipped.len() == 2 && skipped.iter().all(|it| it["why"].as_str().unwrap().contains("lsattr")),
        "{outcome:?}"
    );
    assert!(!queue.quarantine(&ids[2].to_string()).exists(), "nothing was begun with that");
    let other = queue.in_delivery(&GOOD);
    let outcome = queue.run(&["quarantine", &other.to_string(), "--yes"]);
    assert!(outcome.out.contains("\n1 message taken"), "{outcome:?}");
    assert!(attribute("-"));
    let outcome = queue.run(&["quarantine", "1", "--yes"]);
    assert!(outcome.err.contains("completed an interrupted run: 1 message"), "{outcome:?}");
    assert!(!fixed.exists());
}

#[test]
fn check_finds_what_is_wrong_and_changes_nothing() {
    let queue = TestQueue::new();
    queue.in_delivery(&GOOD);
    queue.queued(&GOOD);
    queue.receive(&GOOD);
    queue.own();
    let outcome = queue.run(&["check"]);
    assert_eq!((outcome.code, outcome.out.as_str()), (0, "3 messages examined: no errors\n"), "{outcome:?}");
    let id = queue.in_delivery(&STORM);
    let debris = queue.receive(&STORM);
    let long_ago = SystemTime::now() - Duration::from_secs(100_000);
    File::open(queue.file("mess", debris)).unwrap().set_modified(long_ago).unwrap();
    File::create(queue.path("pid/4711.1795380000.1")).unwrap().set_modified(long_ago).unwrap();
    fs::write(queue.file("info", 5), "Fa@b.example\0").unwrap();
    fs::write(queue.file("remote", 6), "Ta@b.example\0").unwrap();
    fs::write(queue.file("mess", 7), "x\n").unwrap();
    fs::write(queue.path("mess/1/23"), "x\n").unwrap();
    fs::write(queue.path("info/0/README"), "x\n").unwrap();
    fs::write(queue.file("local", id), "Tjoe@b.example\0Xodd\0").unwrap();
    fs::remove_file(queue.path("lock/trigger")).unwrap();
    fs::create_dir(queue.quarantine("")).unwrap();
    fs::write(queue.quarantine("9"), "half").unwrap();
    let is_root = std::os::unix::fs::chown(queue.file("remote", id), Some(12345), None).is_ok();
    let before = queue.picture();
    let outcome = queue.run(&["check", "--json"]);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    let found = outcome.json();
    let has = |kind: &str, place: &str| {
        let rows = found["findings"].as_array().unwrap();
        let is = |row: &&Value| row["kind"] == kind && row["place"].as_str().unwrap().ends_with(place);
        assert!(rows.iter().any(|row| is(&row)), "{kind} {place}: {found}");
    };
    for (kind, place) in [
        ("debris", &*format!("/{debris}")),
        ("debris", "pid/4711.1795380000.1"),
        ("orphan", "info/5/5"),
        ("orphan", "remote/6/6"),
        ("inode", "mess/7/7"),
        ("split", "mess/1/23"),
        ("name", "info/0/README"),
        ("record", &*format!("/{id}")),
        ("lock", "lock/trigger"),
        ("unfinished", "quarantine/9"),
    ] {
        has(kind, place);
    }
    is_root.then(|| has("owner", &format!("/{id}")));
    let text = queue.run(&["check"]).out;
    assert!(text.contains("no such file: new mail waits up to 25 minutes\n    stop qmail-send; mkfifo"), "{text}");
    assert!(text.contains("errors; nothing was changed\nrun the commands in "), "{text}");
    assert_eq!(queue.picture(), before);
}

#[test]
fn the_examples_of_the_help_are_commands() {
    let site = Site::new("", "");
    let help = site.run(&["queue", "--help"]);
    assert_eq!(help.code, 0, "{help:?}");
    let queue = TestQueue::new();
    queue.in_delivery(&STORM);
    let examples: Vec<&str> =
        help.out.lines().filter_map(|line| line.trim().strip_prefix("portcullis queue ")).collect();
    assert!(examples.len() >= 8, "{examples:?}");
    for example in examples {
        let mut words: Vec<&str> = example.split(' ').collect();
        // Nobody can be asked here.
        if matches!(words[0], "quarantine" | "delete") && !words.contains(&"--dry-run") {
            words.push("--dry-run");
        }
        let outcome = queue.run(&words);
        assert_ne!(outcome.code, 64, "{example}: {outcome:?}");
        assert_eq!(site.run(&["queue", words[0], "--help"]).code, 0, "{example}");
    }
}

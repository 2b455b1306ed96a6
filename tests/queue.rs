//! `portcullis queue` over real queues: the built program, real files, a lock that is held as qmail-send holds it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/queue.rs"]
mod queue;

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;

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
        (["--sender", "sillyplace.com"], "write @"),
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
            !outcome.out.contains(is_bad) && outcome.out.to_lowercase().contains("<a?[2j?@b.example>"),
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
        for _ in 0..40 {
            let rows = queue.rows(&[]);
            let steady: Vec<_> = rows.iter().filter(|row| row["sender"] == "bob@good.example").collect();
            assert_eq!(steady.len(), stay.len());
            for row in &rows {
                assert!(row.get("troubles").is_none(), "{row}");
                let is_known = ["S2", "S3", "S4", "S5"].contains(&row["state"].as_str().unwrap());
                assert!(is_known, "a message that moves is no orphan: {row}");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
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

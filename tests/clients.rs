//! Real clients, and what each does with the reply to its dot. A client that took the 250 is never said to have lost it,
//! whatever it does next: the same letter, sent twice on purpose, is delivered twice. A client that lost the 250 has its
//! copy absorbed. A refusal is understood at once: no client comes back for days. No test may sleep.

#![allow(unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/postfix.rs"]
mod postfix;
#[path = "support/qmail.rs"]
mod qmail;

#[path = "support/mta.rs"]
mod mta;
#[path = "support/piped.rs"]
mod piped;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/qmail_remote.rs"]
mod qmail_remote;
#[path = "support/root.rs"]
mod root;
#[path = "support/stage.rs"]
mod stage;
#[path = "support/ways.rs"]
mod ways;
#[path = "support/wire.rs"]
mod wire;

use std::sync::Mutex;
use std::thread;

use proxy::host::until;
use stage::Ended;
use stage::Stage;
use ways::Tls;
use ways::WAYS;
use ways::Way;
use ways::way;
use wire::Wire;

#[test]
fn the_same_letter_twice_in_the_clear() {
    for_all(&does(Tls::Clear), |way| twice(way, Stage::maildir(""), 200));
}

#[test]
fn the_same_letter_twice_under_tls() {
    for_all(&does(Tls::Starttls), |way| twice(way, Stage::tls(), 200));
}

/// More than one segment, more than the message's memory.
#[test]
fn the_same_large_letter_twice() {
    for_all(&["exim", "smtplib without QUIT", "curl"].map(way), |way| twice(way, Stage::maildir(""), 600_000));
}

#[test]
fn the_same_letter_twice_before_the_real_smtpfront() {
    let some = ["exim", "postfix", "qmail-remote", "smtplib without QUIT"].map(way);
    for_all(&some, |way| twice(way, Stage::smtpfront(), 200));
}

fn twice(way: &Way, mut stage: Stage, octets: usize) {
    let letter = stage.letter("twice", octets);
    let mut client = way.start(&stage.network());
    for _ in 0..2 {
        client.send(&letter);
        stage.transactions(1);
    }
    until("its queue is empty", || client.waiting() == 0);
    nothing_was_lost(&stage.end(), 2);
}

/// Exim's QUIT and its FIN are there before the 250 has crossed the wire. While nobody knows whether it was taken, the second
/// letter hears 450.
#[test]
fn the_same_letter_twice_by_exim_on_a_bad_wire() {
    let Some(mut wire) = wire() else { return };
    for line in BAD {
        wire.order(line);
    }
    let letters: Vec<_> = wire.letters(4).read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    let network = wire.network();
    thread::scope(|scope| {
        for letter in &letters {
            let network = &network;
            scope.spawn(move || {
                let mut client = way("exim").start(network);
                (0..2).for_each(|_| client.send(letter));
                until("its queue is empty", || {
                    client.try_again();
                    client.waiting() == 0
                });
            });
        }
    });
    nothing_was_lost(&wire.end().0, 8);
}

/// A client that keeps its connection for the next letter: what comes on another connection meanwhile has to wait, and is
/// delivered too.
#[test]
fn the_same_letter_while_the_first_connection_idles() {
    let mut stage = Stage::maildir("");
    let letter = std::fs::read_to_string(stage.letter("idles", 200)).unwrap().replace('\n', "\r\n");
    let [mail, recipient] = [format!("MAIL FROM:<{}>", ways::FROM), format!("RCPT TO:<{}>", ways::TO)];
    let text = format!("{letter}.");
    let [mut first, mut second] = [stage.proxy.client().hello(), stage.proxy.client().hello()];
    let mut send = |client: &mut proxy::Client, code| {
        client.dialog(&[(&mail, "250"), (&recipient, "250"), ("DATA", "354"), (&text, code)]);
        stage.transactions(1);
    };
    send(&mut first, "250");
    send(&mut second, "450");
    first.dialog(&[("QUIT", "221")]);
    send(&mut second, "250");
    second.dialog(&[("QUIT", "221")]);
    nothing_was_lost(&stage.end(), 2);
}

/// Ten letters, each twice, on a few connections that are used again.
#[test]
fn a_parallel_postfix() {
    let mut stage = Stage::maildir("");
    let mut client = way("postfix").start(&stage.network());
    let letters: Vec<_> = (0..10).map(|number| stage.letter(&format!("parallel-{number}"), 2_000)).collect();
    for letter in letters.iter().chain(&letters) {
        client.send(letter);
    }
    stage.transactions(20);
    until("its queue is empty", || client.waiting() == 0);
    nothing_was_lost(&stage.end(), 20);
}

#[track_caller]
fn nothing_was_lost(ended: &Ended, sent: usize) {
    let lost = ended.log.matches("unacknowledged session=").count();
    assert!(lost == 0, "{lost} called unacknowledged:\n{}", ended.log);
    assert!(ended.kept == sent, "{} of {sent} delivered:\n{}", ended.kept, ended.log);
}

/// How a client that has said its dot never learns of the 250.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    Close,
    Reset,
    Kill,
    /// It closes when the 250 has come, and has not read it.
    Unread,
}

#[test]
fn a_lost_250_and_a_copy() {
    thread::scope(|scope| {
        for tls in [Tls::Clear, Tls::Starttls] {
            for loss in [Loss::Close, Loss::Reset, Loss::Kill, Loss::Unread] {
                scope.spawn(move || lost(loss, tls));
            }
        }
    });
}

/// The message is with qmail-queue when it happens; the copy that follows is not delivered again.
fn lost(loss: Loss, tls: Tls) {
    let (mut stage, mut gate) = Stage::gated(tls);
    let letter = stage.letter("lost", 200);
    let network = stage.network();
    let mut client = ways::held(&network, &letter);
    let qmail = stage.qmail.as_ref().unwrap();
    until("qmail-queue has the message", || qmail.queue_starts() == 1);
    match loss {
        Loss::Close => client.tell("close"),
        Loss::Reset => client.tell("reset"),
        Loss::Kill => client.kill(),
        Loss::Unread => client.begin("unread"),
    }
    gate.open();
    std::fs::remove_file(qmail.path("gate")).unwrap();
    stage.proxy.wait_for("mail session=");
    stage.proxy.wait_for("unacknowledged session=");
    let mut again = ways::smtplib(&network, "quit");
    again.send(&letter);
    let line = stage.proxy.wait_for("mail session=");
    assert!(line.contains(" verdict=absorb "), "{loss:?} {tls:?}: {line}");
    assert_eq!(stage.end().kept, 1, "{loss:?} {tls:?}");
}

/// Packets are lost, late, out of order: each letter was sent twice on purpose, and is there twice.
#[test]
fn a_bad_wire() {
    through_a_wire(BAD, None, 2);
}

/// Any packet may be the last of its connection; each letter was sent until it was taken, and is there once.
#[test]
fn a_wire_that_resets() {
    through_a_wire(&["cut 8"], None, 1);
}

/// Many a 250 is lost, and some of those to the copies.
#[test]
fn a_wire_that_loses_replies() {
    through_a_wire(&["cut-replies 12"], None, 1);
}

#[test]
fn a_wire_that_is_down_for_a_while() {
    through_a_wire(&["delay 20"], Some("down 1500"), 2);
}

/// There and back a tenth of the packets is lost, and it takes a tenth of a second.
const BAD: &[&str] = &["loss 5", "delay 50", "reorder 25"];

fn wire() -> Option<Wire> {
    let wire = Wire::new();
    wire.map_err(|why| eprintln!("not tried, because the kernel does not allow a wire of our own: {why}")).ok()
}

const LETTERS: usize = 8;

/// `later` is said when some letters have come.
fn through_a_wire(first: &[&str], later: Option<&str>, copies: usize) {
    let Some(mut wire) = wire() else { return };
    for line in first {
        wire.order(line);
    }
    let mut client = wire.client(LETTERS, copies);
    if let Some(line) = later {
        (0..LETTERS / 2).for_each(|_| wire.wait_for("verdict=accept"));
        wire.order(line);
    }
    assert!(client.wait().unwrap().success(), "a letter was refused for good");
    let (ended, counts) = wire.end();
    assert!(counts.iter().all(|count| *count == copies), "{counts:?}\n{}", ended.log);
    assert_eq!(ended.kept, LETTERS * copies, "{}", ended.log);
}

/// What a client is refused for.
struct Refusal {
    name: &'static str,
    configuration: &'static str,
    prepare: fn(&Stage),
    octets: usize,
    /// One of these is in what the client says. It may know our limit from EHLO.
    words: &'static [&'static str],
}

const REFUSALS: [Refusal; 3] = [
    Refusal { name: "a blocked client", configuration: "", prepare: block, octets: 200, words: &["554"] },
    Refusal { name: "a blocked sender", configuration: "", prepare: blocked_sender, octets: 200, words: &["554"] },
    Refusal {
        name: "an oversize",
        configuration: "[size]\nlimit = \"20kB\"\n",
        prepare: |_| (),
        octets: 60_000,
        words: &["552", "size"],
    },
];

fn block(stage: &Stage) {
    let outcome = stage.site.run(&["block", "127.0.0.1/32", "--yes"]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
}

fn blocked_sender(stage: &Stage) {
    let outcome = stage.site.run(&["block", ways::FROM, "--yes"]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
}

#[test]
fn a_blocked_client_gives_up_at_once() {
    for_all(&does(Tls::Clear), |way| gives_up(way, &REFUSALS[0]));
}

#[test]
fn a_blocked_sender_gives_up_at_once() {
    for_all(&does(Tls::Clear), |way| gives_up(way, &REFUSALS[1]));
}

#[test]
fn an_oversize_is_given_up_at_once() {
    for_all(&does(Tls::Clear), |way| gives_up(way, &REFUSALS[2]));
}

/// The letter leaves the client's queue at the first try, and its sender hears of it.
fn gives_up(way: &Way, refusal: &Refusal) {
    let stage = Stage::maildir(refusal.configuration);
    (refusal.prepare)(&stage);
    let letter = stage.letter("refused", refusal.octets);
    let mut client = way.start(&stage.network());
    client.send(&letter);
    let refused = || refusal.words.iter().any(|word| client.log().contains(word));
    until(&format!("{} says {:?} of {}", way.name, refusal.words, refusal.name), refused);
    until(&format!("{} has given up", way.name), || client.waiting() == 0);
    let bounces = usize::from(client.bounces());
    until(&format!("{} has told the sender", way.name), || stage.bounced() == bounces);
    assert!(!DEFERRED.iter().any(|words| client.log().contains(words)), "{}", way.name);
    assert_eq!(stage.end().kept, 0);
}

/// As Exim, Postfix and OpenSMTPD say it.
const DEFERRED: [&str; 3] = [" defer (", "status=deferred", "result=\"TempFail\""];

fn does(tls: Tls) -> Vec<&'static Way> {
    WAYS.iter().filter(|way| way.does.contains(&tls)).collect()
}

/// Each by itself, some at a time; every one that fails is named.
fn for_all(ways: &[&'static Way], check: impl Fn(&'static Way) + Sync) {
    let (next, failed) = (Mutex::new(ways.iter()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let take = || next.lock().unwrap().next();
                while let Some(way) = take() {
                    let checked = thread::scope(|scope| scope.spawn(|| check(way)).join());
                    failed.lock().unwrap().extend(checked.err().map(|_| way.name));
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "failed: {failed:?}; each is printed above");
}

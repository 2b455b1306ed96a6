//! Costs of the parts of the path one by one: command, DATA, reply, list, throttle, fingerprints, ledger. No sockets,
//! no files.

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a bench")]

use std::fmt::Write;
use std::hint::black_box;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::BytesMut;
use criterion::BatchSize;
use criterion::Criterion;
use criterion::Throughput;
use criterion::criterion_group;
use criterion::criterion_main;
use jiff::Timestamp;
use portcullis::policy::hops::Hops;
use portcullis::policy::list::AddressList;
use portcullis::policy::list::Dialect;
use portcullis::policy::message::MessageReader;
use portcullis::policy::repeat::Candidate;
use portcullis::policy::repeat::CopyKeys;
use portcullis::policy::repeat::MessageTraits;
use portcullis::policy::repeat::RepeatRules;
use portcullis::policy::throttle::Throttle;
use portcullis::policy::throttle::ThrottleKey;
use portcullis::policy::throttle::key::Seed;
use portcullis::policy::throttle::subject::Subject;
use portcullis::policy::virtualdomains::VirtualDomains;
use portcullis::smtp::address::Address;
use portcullis::smtp::address::ReversePath;
use portcullis::smtp::address::parse_address;
use portcullis::smtp::command;
use portcullis::smtp::command::Command;
use portcullis::smtp::data::BareNewline;
use portcullis::smtp::data::DataDecoder;
use portcullis::smtp::data::DataStatus;
use portcullis::smtp::data::Dots;
use portcullis::smtp::line::LineEnd;
use portcullis::smtp::line::LineReader;
use portcullis::smtp::line::MAX_COMMAND_LINE;
use portcullis::smtp::reply_reader::ReplyReader;
use portcullis::store::clock::Wall;
use portcullis::store::ledger::Decision;
use portcullis::store::ledger::Ledger;
use portcullis::store::throttle::ThrottleTable;

fn commands(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("command");
    let rows: [(&str, &[u8]); 4] = [
        ("mail", b"MAIL FROM:<newsletter@sillyplace.com> SIZE=35651584 BODY=8BITMIME"),
        ("mail, quoted", b"MAIL FROM:<\"news\\letter\"@sillyplace.com>"),
        ("rcpt", b"RCPT TO:<joe@example.org>"),
        ("ehlo", b"EHLO client.example.net"),
    ];
    for (name, line) in rows {
        group.bench_function(name, |bencher| bencher.iter(|| command::parse(black_box(line))));
    }
    let Ok(Command::Mail(mail)) = command::parse(rows[0].1) else { panic!("rows[0] is a MAIL") };
    group.bench_function("mail, written again", |bencher| bencher.iter(|| black_box(&mail).wire(|_| true)));
    group.bench_function("a group of lines", |bencher| {
        let lines = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n";
        bencher.iter_batched_ref(
            || BytesMut::from(&lines[..]),
            |input| {
                let mut reader = LineReader::default();
                while let Some(line) = reader.next(input, MAX_COMMAND_LINE, LineEnd::Crlf) {
                    black_box(command::parse(&line.unwrap()).unwrap());
                }
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn data(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("data");
    let rows = [
        ("lines of 76", format!("{}\r\n", "x".repeat(74)).repeat(MEGABYTE / 76)),
        ("short lines", "ab\r\n".repeat(MEGABYTE / 4)),
        ("dots to stuff", ".. ab\r\n".repeat(MEGABYTE / 7)),
        ("bare newlines", format!("{}\n", "x".repeat(75)).repeat(MEGABYTE / 76)),
    ];
    for (name, text) in rows {
        // One more empty line: where bare newlines end the lines, a CRLF has to come before the dot.
        let message = format!("{text}\r\n.\r\n");
        group.throughput(Throughput::Bytes(message.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || message.as_bytes().chunks(READ).map(BytesMut::from).collect::<Vec<_>>(),
                |reads| {
                    let mut decoder = DataDecoder::new(BareNewline::Normalize, false, Dots::Stuffed);
                    let mut waiting = BytesMut::new();
                    let mut status = DataStatus::More;
                    for read in reads {
                        // As in the driver's loop: a read lands behind the octets that the decoder left.
                        if waiting.is_empty() {
                            waiting = read
                        } else {
                            waiting.extend_from_slice(&read)
                        }
                        status = decoder.decode(&mut waiting, &mut |octets| drop(black_box(octets)));
                    }
                    assert!(matches!(status, DataStatus::End));
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn replies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reply");
    let rows = [
        ("one line", "250 2.1.0 Sender accepted.\r\n"),
        ("ehlo", "250-mx.example.org\r\n250-SIZE 0\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 PIPELINING\r\n"),
    ];
    for (name, text) in rows {
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || BytesMut::from(text),
                |input| ReplyReader::default().next(input).unwrap().unwrap(),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// Lists, with these bounds: one million entries in under a second, under 150 ns a probe.
fn lists(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("list");
    let mut text = String::new();
    for number in 0..ENTRIES {
        writeln!(text, "sender{number}@host{}.example.com", number % 5000).unwrap();
    }
    let load = || AddressList::parse(Arc::from("badmailfrom"), Dialect::Qmail, text.as_bytes()).unwrap();
    group.sample_size(10);
    group.bench_function("load a million", |bencher| bencher.iter_with_large_drop(load));
    group.sample_size(100);
    let list = load();
    // Many probes, so that caches are as cold as in a server.
    let probe = |suffix: &str| -> Vec<Address> {
        (0..ENTRIES).step_by(97).map(|n| address(&format!("sender{n}@host{}.example.com{suffix}", n % 5000))).collect()
    };
    for (name, addresses, found) in [("hit", probe(""), true), ("miss", probe(".net"), false)] {
        let mut next = addresses.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| assert_eq!(list.find(next.next().unwrap()).is_some(), found));
        });
    }
    group.finish();
}

fn throttles(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("throttle");
    let shipped = Throttle::shipped();
    let retrying = shipped.iter().find(|throttle| &*throttle.name == "retrying-sender").unwrap();
    let sender = ReversePath::Address(address("newsletter@sillyplace.com"));
    let seed = Seed::new([7; 16]);
    let subject = Subject {
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 25)),
        helo: b"client.example.net",
        sender: Some(&sender),
        recipient: None,
        relay_client: false,
        authenticated: false,
        user: None,
    };
    group.bench_function("key", |bencher| bencher.iter(|| retrying.key(&seed, black_box(&subject)).unwrap()));
    let table = ThrottleTable::new(ENTRIES, Arc::new(Wall::new()));
    for key in 0..ENTRIES as u128 / 2 {
        table.charge(retrying, throttle_key(key), 1);
    }
    let mut key = 0_u128;
    group.bench_function("take, among half a million keys", |bencher| {
        bencher.iter(|| {
            key += 1;
            black_box(table.take(retrying, throttle_key(key % (ENTRIES / 2) as u128), 1))
        });
    });
    for key in ENTRIES as u128 / 2..ENTRIES as u128 * 2 {
        table.charge(retrying, throttle_key(key), 1);
    }
    let mut key = ENTRIES as u128 * 2;
    group.bench_function("charge, a newcomer at the bound", |bencher| {
        bencher.iter(|| {
            key += 1;
            table.charge(retrying, throttle_key(key), 1);
        });
    });
    group.finish();
}

/// Parsing of a message of 4 KB and of a megabyte, with and without fingerprints.
fn messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("message");
    let recipient = address("joe@example.org");
    let seed = Seed::new([7; 16]);
    for (name, size) in [("4 KB", 4096), ("1 MB", MEGABYTE)] {
        let line = format!("{}\r\n", "x".repeat(74));
        let text = format!("{HEADER}{}", line.repeat(size / line.len()));
        group.throughput(Throughput::Bytes(text.len() as u64));
        for (what, key) in [("hops and id", None), ("fingerprints too", Some(seed.fingerprint_key()))] {
            group.bench_function(format!("{name}, {what}"), |bencher| {
                bencher.iter(|| {
                    let mut reader = MessageReader::new(
                        Hops::new("mx.example.org", &VirtualDomains::default(), [&recipient].into_iter()),
                        key,
                    );
                    text.as_bytes().chunks(READ).for_each(|piece| reader.feed(black_box(piece)));
                    reader.finish()
                });
            });
        }
    }
    group.finish();
}

/// A new message, accepted and acknowledged, as most mail is.
fn ledgers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ledger");
    let ledger = Arc::new(Ledger::new(ENTRIES, Arc::new(Wall::new())));
    let today = Timestamp::now().as_second();
    let (seed, sender) = (Seed::new([7; 16]), ReversePath::Address(address("newsletter@sillyplace.com")));
    let recipient = address("joe@example.org");
    let mut number = 0_u64;
    let mut dot = || {
        number += 1;
        let mut fingerprint = [0; 32];
        fingerprint[..8].copy_from_slice(&number.to_le_bytes());
        Candidate {
            rules: RepeatRules::default(),
            traits: MessageTraits { message_id: true, date: Some(today), size: 4096 },
            copies: vec![CopyKeys::new(&seed, [192, 0, 2, 1].into(), &sender, &recipient, &fingerprint, &fingerprint)],
            envelope: None,
            is_excepted: false,
        }
    };
    group.bench_function("keys", |bencher| bencher.iter(&mut dot));
    group.bench_function("keys, decide, accept, take", |bencher| {
        bencher.iter(|| {
            let Decision::Deliver(delivery) = ledger.decide(&dot()) else { panic!("it is new") };
            let claim = delivery.claim.unwrap().accepted();
            claim.took();
        });
    });
    group.finish();
}

fn throttle_key(number: u128) -> ThrottleKey {
    let exact = number.wrapping_mul(SPREAD);
    ThrottleKey { exact, coarse: exact }
}

fn address(text: &str) -> Address {
    parse_address(text.as_bytes()).unwrap()
}

/// An odd factor: makes distinct keys of distinct numbers, spread like hashes.
const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
const ENTRIES: usize = 1_000_000;
const HEADER: &str = "Received: from a.example (a.example [192.0.2.1])\r\n  by b.example with ESMTP id 1; now\r\n\
                      DKIM-Signature: v=1; a=rsa-sha256; d=sillyplace.com;\r\n\tb=abc\r\nFrom: <a@sillyplace.com>\r\n\
                      Date: Wed, 25 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@sillyplace.com>\r\nSubject: news\r\n\
                      To: <joe@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n";
const MEGABYTE: usize = 1_000_000;
/// Octets of one read.
const READ: usize = 64 * 1024;

criterion_group!(benches, commands, data, replies, lists, throttles, messages, ledgers);
criterion_main!(benches);

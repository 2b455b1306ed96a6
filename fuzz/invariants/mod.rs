//! What must hold for any input: the bodies of the fuzz targets, which `tests/corpus.rs` runs over the committed corpora
//! too. They panic where it does not hold; the program knows nothing of them.

mod ends;
mod lists;
mod log;
mod message;
mod operation;
#[cfg(test)]
mod properties;
mod queue;
mod run_script;
mod stage;
mod submissions;

use std::path::Path;

use bytes::Bytes;
use bytes::BytesMut;
use portcullis::config;
use portcullis::config::checked::ControlValues;
use portcullis::smtp::command;
use portcullis::smtp::command::Command;
use portcullis::smtp::data::BareNewline;
use portcullis::smtp::data::DataDecoder;
use portcullis::smtp::data::DataFault;
use portcullis::smtp::data::DataStatus;
use portcullis::smtp::data::Dots;
use portcullis::smtp::line::LineEnd;
use portcullis::smtp::line::LineFault;
use portcullis::smtp::line::LineReader;
use portcullis::smtp::line::MAX_COMMAND_LINE;
use portcullis::smtp::reply_reader::BackendReply;
use portcullis::smtp::reply_reader::ReplyFault;
use portcullis::smtp::reply_reader::ReplyReader;

use self::ends::Fate;
pub use self::lists::list;
pub use self::lists::tcprules;
pub use self::log::log;
pub use self::message::message;
use self::operation::Operation;
use self::operation::Options;
pub use self::queue::queue;
pub use self::run_script::run_script;
use self::stage::Stage;

/// A client's command lines: the same lines wherever the network cuts them, and what is written again from a parse is
/// one line that parses to the same.
pub fn command(input: &[u8]) {
    for end in [LineEnd::Crlf, LineEnd::AnyLf] {
        let lines = lines(input, end, input.len());
        for cut in CUTS {
            assert_eq!(lines, self::lines(input, end, cut), "cut to {cut}");
        }
        for line in lines.iter().flatten() {
            match command::parse(line) {
                Ok(Command::Mail(mail)) => {
                    // Without its SMTPUTF8 an 8-bit address is refused, as it is where a backend does not offer that.
                    written_again(&mail.wire(|_| true), b"MAIL FROM:<");
                    written_again(&mail.wire(|name| name == "SMTPUTF8"), b"MAIL FROM:<");
                }
                Ok(Command::Rcpt(rcpt)) => {
                    written_again(&rcpt.wire(|_| true), b"RCPT TO:<");
                    written_again(&rcpt.wire(|_| false), b"RCPT TO:<");
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// A message as the client sends it: the same wherever the network cuts it, canonical, and counted right. Whatever other
/// servers would have made of it, they agree about the end of what we pass on.
pub fn data(input: &[u8]) {
    for mode in [BareNewline::Normalize, BareNewline::Reject] {
        for lf_dot_lf_ends in [false, true] {
            let decoder = |dots| DataDecoder::new(mode, lf_dot_lf_ends, dots);
            let whole = decode(input, decoder(Dots::Stuffed), input.len());
            let plain = decode(input, decoder(Dots::Plain), input.len());
            for cut in CUTS {
                assert_eq!(whole, decode(input, decoder(Dots::Stuffed), cut), "cut to {cut}");
                assert_eq!(plain, decode(input, decoder(Dots::Plain), cut), "plain, cut to {cut}");
            }
            canonical(&whole);
            let lines = whole.text.split_inclusive(|octet| *octet == b'\n');
            let unstuffed = lines.map(|line| line.strip_prefix(b".").unwrap_or(line)).collect::<Vec<_>>().concat();
            assert_eq!(plain, Decoded { text: unstuffed, ..whole }, "plain is stuffed without the stuffing");
        }
    }
}

/// A backend's replies: the same wherever the network cuts them, bounded, and clean.
pub fn reply(input: &[u8]) {
    let whole = replies(input, input.len());
    for cut in CUTS {
        assert_eq!(whole, replies(input, cut), "cut to {cut}");
    }
    for reply in whole.into_iter().flatten() {
        let BackendReply { code, lines } = &reply;
        assert!((200..600).contains(code), "code {code}");
        assert!(lines.len() <= 100, "{} lines", lines.len());
        assert!(lines.iter().all(|line| line.len() <= 500 && !line.contains(char::is_control)), "{lines:?}");
        let mut written = BytesMut::new();
        reply.write(&mut written);
        assert_eq!(replies(&written, written.len()), [Ok(reply)], "what we relay reads as what we read");
    }
}

/// A configuration file: faults with a place, or values; nothing else.
pub fn config(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match config::parse(Path::new("fuzz.toml"), text) {
        Ok(loaded) => drop(loaded.config.complete(&ControlValues::default())),
        Err(faults) => assert!(!faults.is_empty(), "refused without a fault"),
    }
}

/// A whole session, and whatever happens to it, a line of text each (`operation`). What must hold stands in `stage`.
pub fn session(input: &[u8]) {
    let mut lines = input.split(|octet| *octet == b'\n').peekable();
    let mut stage = Stage::new(Options::read(lines.peek().copied().unwrap_or_default()));
    for operation in lines.filter_map(Operation::read) {
        stage.operate(operation);
    }
    stage.end();
}

/// Lengths of the pieces that the same input is cut into.
const CUTS: [usize; 5] = [1, 2, 3, 7, 64];

fn pieces(input: &[u8], cut: usize) -> impl Iterator<Item = &[u8]> {
    input.chunks(cut.max(1))
}

fn lines(input: &[u8], end: LineEnd, cut: usize) -> Vec<Result<Bytes, LineFault>> {
    let (mut reader, mut waiting, mut lines) = (LineReader::default(), BytesMut::new(), Vec::new());
    for piece in pieces(input, cut) {
        waiting.extend_from_slice(piece);
        while let Some(line) = reader.next(&mut waiting, MAX_COMMAND_LINE, end) {
            assert!(line.as_ref().is_ok_and(|line| line.len() < MAX_COMMAND_LINE) || line.is_err(), "a line too long");
            lines.push(line);
        }
        assert!(waiting.len() <= MAX_COMMAND_LINE, "{} octets stay", waiting.len());
    }
    lines
}

/// One CRLF at the end, nothing inside that could end or cut a line, and the same once more.
fn written_again(wire: &[u8], prefix: &[u8]) {
    assert!(wire.starts_with(prefix), "{wire:?}");
    let text = wire.strip_suffix(b"\r\n").expect("a command ends with CRLF");
    assert!(!text.iter().any(u8::is_ascii_control), "{wire:?}");
    let again = match command::parse(text) {
        Ok(Command::Mail(mail)) => mail.wire(|_| true),
        Ok(Command::Rcpt(rcpt)) => rcpt.wire(|_| true),
        other => panic!("{:?} reads as {other:?}", String::from_utf8_lossy(wire)),
    };
    assert_eq!(again, wire);
}

#[derive(Debug, PartialEq)]
struct Decoded {
    status: DataStatus,
    fault: Option<DataFault>,
    size: u64,
    lines: u64,
    dots: u64,
    text: Vec<u8>,
    left: usize,
}

fn decode(input: &[u8], mut decoder: DataDecoder, cut: usize) -> Decoded {
    let (mut waiting, mut text, mut fed, mut status) = (BytesMut::new(), Vec::new(), 0, DataStatus::More);
    for piece in pieces(input, cut) {
        waiting.extend_from_slice(piece);
        fed += piece.len();
        status = decoder.decode(&mut waiting, &mut |octets: Bytes| text.extend_from_slice(&octets));
        if status != DataStatus::More {
            break;
        }
    }
    // What was not looked at is left for the next command, whether it has arrived yet or not.
    let left = waiting.len() + input.len() - fed;
    let (size, lines, dots) = (decoder.size(), decoder.lines(), decoder.dots());
    Decoded { status, fault: decoder.fault(), size, lines, dots, text, left }
}

fn canonical(decoded: &Decoded) {
    let text = &decoded.text;
    let line_ends = text.windows(2).filter(|pair| pair == b"\r\n").count();
    assert_eq!(text.iter().filter(|octet| **octet == b'\r').count(), line_ends, "a stray CR");
    assert_eq!(text.iter().filter(|octet| **octet == b'\n').count(), line_ends, "a bare LF");
    assert!(!text.contains(&0), "a NUL");
    if decoded.status != DataStatus::End || decoded.fault.is_some() {
        // The connection ends here, or more comes: nobody may have seen an end in what went out so far.
        for (server, fate) in ends::SERVERS {
            assert_eq!(fate(text), Fate::Continues, "{server} would end the message here");
        }
        return;
    }
    assert!(text.is_empty() || text.ends_with(b"\r\n"), "the last line is whole");
    let mut sent = text.clone();
    sent.extend_from_slice(b".\r\n");
    for (server, fate) in ends::SERVERS {
        assert_eq!(fate(&sent), Fate::Ends(sent.len()), "{server} would end the message elsewhere");
    }
    let stuffed = text.split(|octet| *octet == b'\n').filter(|line| line.starts_with(b".")).count();
    assert_eq!((decoded.size, decoded.dots), ((text.len() - stuffed) as u64, stuffed as u64));
    assert_eq!(decoded.lines, line_ends as u64);
}

fn replies(input: &[u8], cut: usize) -> Vec<Result<BackendReply, ReplyFault>> {
    let (mut reader, mut waiting, mut replies) = (ReplyReader::default(), BytesMut::new(), Vec::new());
    for piece in pieces(input, cut) {
        waiting.extend_from_slice(piece);
        while let Some(reply) = reader.next(&mut waiting) {
            let is_fault = reply.is_err();
            replies.push(reply);
            if is_fault {
                // The connection is given up.
                return replies;
            }
        }
    }
    replies
}

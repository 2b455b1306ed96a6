//! The embedded backend: a small SMTP server of our own at the other end of a pipe, which delivers into a Maildir. So a
//! session knows one kind of backend only.
//!
//! Its one client is our own session: lines are rebuilt, bodies canonical (RFC 5321 2.3.8), so it judges no address. It
//! must not be bound to a socket. Deviations: EHLO is not demanded, and there is one file a message, not one a
//! recipient.

mod body;
mod delivery;

use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::LazyLock;

use bytes::BufMut;
use bytes::Bytes;
use bytes::BytesMut;
use jiff::Timestamp;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::DuplexStream;

use crate::backend::maildir::body::BodyDecoder;
use crate::backend::maildir::delivery::Delivery;
use crate::smtp::received::Received;
use crate::smtp::reply::Offer;

/// The extensions in the answer to EHLO below.
pub(super) fn offer() -> Arc<Offer> {
    static OFFER: LazyLock<Arc<Offer>> = LazyLock::new(|| {
        let (size, none) = (Some(0), Offer::NONE);
        Arc::new(Offer { size, eight_bit_mime: true, pipelining: true, smtputf8: true, enhanced: true, ..none })
    });
    OFFER.clone()
}

/// Serves one session on `stream` until it quits or hangs up. A message that was not ended with its final dot, or not
/// answered with 250, leaves no file behind.
///
/// `client`, `host` (its name by DNS, when it was looked up) and `helo` go into the Received line, with `hostname` as
/// our own name.
pub(super) async fn serve(
    stream: DuplexStream,
    maildir: PathBuf,
    hostname: String,
    client: SocketAddr,
    host: Option<String>,
    helo: String,
) {
    let (input, output, client) = (BytesMut::new(), BytesMut::new(), client.ip());
    let (sender, recipients) = (None, Vec::new());
    let mut server = Server { stream, input, output, maildir, hostname, client, host, helo, sender, recipients };
    if let Err(error) = server.run().await {
        tracing::debug!(%error, "maildir session ended early");
    }
}

struct Server {
    stream: DuplexStream,
    input: BytesMut,
    /// Replies that wait until there is nothing left to read (RFC 2920 3.2).
    output: BytesMut,
    maildir: PathBuf,
    hostname: String,
    client: IpAddr,
    host: Option<String>,
    helo: String,
    sender: Option<Bytes>,
    recipients: Vec<Bytes>,
}

impl Server {
    async fn run(&mut self) -> io::Result<()> {
        self.output.put_slice(format!("220 {} ESMTP\r\n", self.hostname).as_bytes());
        while let Some(line) = self.line().await? {
            let verb = line.split(|octet| *octet == b' ').next().unwrap_or_default().to_ascii_uppercase();
            match verb.as_slice() {
                b"EHLO" | b"HELO" => self.hello(),
                b"MAIL" => self.mail(&line),
                b"RCPT" => self.rcpt(&line),
                b"DATA" if self.sender.is_none() || self.recipients.is_empty() => self.say(NOT_NOW),
                b"DATA" => self.data().await?,
                b"RSET" => {
                    self.forget();
                    self.say(DONE);
                }
                b"NOOP" => self.say(DONE),
                b"QUIT" => {
                    self.say(BYE);
                    return self.send().await;
                }
                _ => self.say(UNKNOWN),
            }
        }
        Ok(())
    }

    fn hello(&mut self) {
        self.forget();
        self.output.put_slice(format!("250-{}\r\n", self.hostname).as_bytes());
        self.say("250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 0");
    }

    fn mail(&mut self, line: &Bytes) {
        match (&self.sender, path(line)) {
            (Some(_), _) => self.say(NOT_NOW),
            (None, None) => self.say(SYNTAX),
            (None, Some(sender)) => {
                self.sender = Some(sender);
                self.say(SENDER_OK);
            }
        }
    }

    fn rcpt(&mut self, line: &Bytes) {
        match path(line) {
            _ if self.sender.is_none() => self.say(NOT_NOW),
            _ if self.recipients.len() >= MAX_RECIPIENTS => self.say(TOO_MANY),
            None => self.say(SYNTAX),
            Some(recipient) => {
                self.recipients.push(recipient);
                self.say(RECIPIENT_OK);
            }
        }
    }

    async fn data(&mut self) -> io::Result<()> {
        self.say(GO_ON);
        let now = now();
        let mut delivery = Delivery::new(self.maildir.clone(), &self.hostname, now);
        self.put_trace(delivery.text(), now);
        self.forget();
        let mut decoder = BodyDecoder::default();
        while !decoder.decode(&mut self.input, delivery.text()) {
            if delivery.is_due() {
                delivery = delivery.write().await?;
            }
            if !self.receive().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        match delivery.deliver().await {
            Ok(name) => self.say(&format!("250 2.0.0 Kept as {name}")),
            Err(error) => {
                tracing::warn!(maildir = %self.maildir.display(), %error, "a message could not be kept");
                let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                self.say(if full { NO_ROOM } else { FAILED });
            }
        }
        Ok(())
    }

    /// The trace fields of final delivery (RFC 5321 section 4.4), with the LF line ends of a Maildir.
    fn put_trace(&self, text: &mut Vec<u8>, now: Timestamp) {
        text.extend([b"Return-Path: <", self.sender.as_deref().unwrap_or_default(), b">\n"].concat());
        for recipient in &self.recipients {
            text.extend([b"Delivered-To: ", recipient.as_ref(), b"\n"].concat());
        }
        let received = Received {
            helo: &self.helo,
            host: self.host.as_deref(),
            client: self.client,
            hostname: &self.hostname,
            protocol: "ESMTP",
            id: None,
            recipient: None,
            smtputf8: true,
            wall: now,
        };
        text.extend(received.field("\n").into_bytes());
    }

    fn forget(&mut self) {
        self.sender = None;
        self.recipients.clear();
    }

    fn say(&mut self, reply: &str) {
        self.output.put_slice(reply.as_bytes());
        self.output.put_slice(b"\r\n");
    }

    /// The next command line without its line end; `None` when the client has hung up.
    async fn line(&mut self) -> io::Result<Option<Bytes>> {
        let mut scanned = 0;
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.input[scanned..]) {
                let line = self.input.split_to(scanned + end + 1).freeze();
                return Ok(Some(line.slice(..line.trim_ascii_end().len())));
            }
            scanned = self.input.len();
            if scanned > MAX_LINE {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "overlong command line"));
            }
            if !self.receive().await? {
                return Ok(None);
            }
        }
    }

    /// More input, after all replies were sent; false when there is none.
    async fn receive(&mut self) -> io::Result<bool> {
        self.send().await?;
        self.input.reserve(READ);
        Ok(self.stream.read_buf(&mut self.input).await? > 0)
    }

    async fn send(&mut self) -> io::Result<()> {
        self.stream.write_all_buf(&mut self.output).await
    }
}

#[expect(clippy::disallowed_methods, reason = "a server of its own, which dates what it delivers")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// The path between `<` and its `>`, which is not one inside a quoted local part.
fn path(line: &Bytes) -> Option<Bytes> {
    let start = memchr::memchr(b'<', line)? + 1;
    let mut quoted = false;
    let mut octets = line.iter().enumerate().skip(start);
    while let Some((at, octet)) = octets.next() {
        match octet {
            b'>' if !quoted => return Some(line.slice(start..at)),
            b'"' => quoted = !quoted,
            b'\\' => _ = octets.next(),
            _ => {}
        }
    }
    None
}

const BYE: &str = "221 2.0.0 Bye";
const DONE: &str = "250 2.0.0 OK";
const FAILED: &str = "451 4.3.0 The message could not be kept";
const GO_ON: &str = "354 End your message with a period";
const NOT_NOW: &str = "503 5.5.1 Not now";
const NO_ROOM: &str = "452 4.3.1 No room for the message";
const RECIPIENT_OK: &str = "250 2.1.5 Recipient OK";
const SENDER_OK: &str = "250 2.1.0 Sender OK";
const SYNTAX: &str = "501 5.5.4 Address expected in <>";
const TOO_MANY: &str = "452 4.5.3 Too many recipients";
const UNKNOWN: &str = "500 5.5.1 Unknown command";

/// Octets of a command line: twice what our session lets through.
const MAX_LINE: usize = 4096;

/// A second bound; the session has its own, configured one.
const MAX_RECIPIENTS: usize = 100_000;

/// Octets asked of the pipe at a time.
const READ: usize = 64 * 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
mod tests {
    use std::path::Path;

    use tokio::task::JoinHandle;

    use super::*;

    const OPENING: &str = "EHLO client.example\r\nMAIL FROM:<a@b.example> SIZE=9\r\nRCPT TO:<c@d.example>\r\nDATA\r\n";

    /// The other end of a server's pipe.
    fn start(maildir: &Path) -> (DuplexStream, JoinHandle<()>) {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let client = "192.0.2.1:4000".parse().unwrap();
        let host = Some("host.example".to_owned());
        let serving = serve(theirs, maildir.into(), "mx.example".into(), client, host, "client.example".into());
        (ours, tokio::spawn(serving))
    }

    /// Plays `wire`, hangs up, and gives all replies.
    async fn play(maildir: &Path, wire: &[u8]) -> String {
        let (ours, serving) = start(maildir);
        let (mut reader, mut writer) = tokio::io::split(ours);
        let mut replies = String::new();
        let write = async {
            writer.write_all(wire).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let (read, ()) = tokio::join!(reader.read_to_string(&mut replies), write);
        read.unwrap();
        serving.await.unwrap();
        replies
    }

    /// The messages in `new`, each with its date taken out, in order.
    fn messages(maildir: &Path) -> Vec<String> {
        let Ok(files) = std::fs::read_dir(maildir.join("new")) else { return Vec::new() };
        let mut messages: Vec<String> = files
            .map(|file| {
                let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
                let (before, after) = text.split_once("ESMTP; ").unwrap();
                let (date, after) = after.split_once('\n').unwrap();
                assert!(date.ends_with(" +0000") && jiff::fmt::rfc2822::parse(date).is_ok(), "{date}");
                format!("{before}ESMTP; DATE\n{after}")
            })
            .collect();
        messages.sort();
        messages
    }

    fn remains_in_tmp(maildir: &Path) -> usize {
        std::fs::read_dir(maildir.join("tmp")).map_or(0, Iterator::count)
    }

    fn codes(replies: &str) -> Vec<&str> {
        replies.lines().filter(|line| line.get(3..4) == Some(" ")).map(|line| &line[..3]).collect()
    }

    const TRACE: &str = "Return-Path: <a@b.example>\nDelivered-To: c@d.example\n\
        Received: from client.example (host.example [192.0.2.1])\n  by mx.example\n  with ESMTP; DATE\n";

    #[tokio::test]
    async fn a_message_arrives_octet_for_octet() {
        let maildir = tempfile::tempdir().unwrap();
        let body = "Subject: x\r\n\r\n..a dot\r\n...\r\n..\r\n\r\nend.\r\n.\r\n";
        let replies = play(maildir.path(), format!("{OPENING}{body}QUIT\r\n").as_bytes()).await;
        assert_eq!(codes(&replies), ["220", "250", "250", "250", "354", "250", "221"], "{replies}");
        assert_eq!(messages(maildir.path()), [format!("{TRACE}Subject: x\n\n.a dot\n..\n.\n\nend.\n")]);
        let name = std::fs::read_dir(maildir.path().join("new")).unwrap().next().unwrap().unwrap().file_name();
        assert!(replies.contains(&format!("250 2.0.0 Kept as {}\r\n", name.to_str().unwrap())), "{replies}");
    }

    #[tokio::test]
    async fn two_messages_in_one_session_and_two_recipients_in_one_file() {
        let maildir = tempfile::tempdir().unwrap();
        let second = "MAIL FROM:<>\r\nRCPT TO:<\"a>\\\"b\"@d.example>\r\nRCPT TO:<e@d.example>\r\nDATA\r\ntwo\r\n.\r\n";
        let replies = play(maildir.path(), format!("{OPENING}one\r\n.\r\n{second}").as_bytes()).await;
        assert_eq!(codes(&replies)[6..], ["250", "250", "250", "354", "250"], "{replies}");
        let (before, after) = TRACE.split_once("Received").unwrap();
        let two = "Return-Path: <>\nDelivered-To: \"a>\\\"b\"@d.example\nDelivered-To: e@d.example\n";
        assert_eq!(
            messages(maildir.path()),
            [format!("{two}Received{after}two\n"), format!("{before}Received{after}one\n")]
        );
    }

    #[tokio::test]
    async fn a_large_message_arrives_whole() {
        let maildir = tempfile::tempdir().unwrap();
        let lines: String = (0..60_000).map(|line| format!("line {line} of a large message\r\n")).collect();
        play(maildir.path(), format!("{OPENING}{lines}.\r\n").as_bytes()).await;
        let messages = messages(maildir.path());
        assert_eq!(messages.len(), 1);
        assert!(messages[0] == format!("{TRACE}{}", lines.replace('\r', "")));
        assert_eq!(remains_in_tmp(maildir.path()), 0);
    }

    #[tokio::test]
    async fn cut_before_the_final_dot_nothing_remains() {
        // The large one has reached its file when the client goes.
        for lines in [0, 1, 40_000] {
            for end in ["", "\r", ".", ".\r"] {
                let maildir = tempfile::tempdir().unwrap();
                let body = "nothing but text\r\n".repeat(lines);
                let replies = play(maildir.path(), format!("{OPENING}{body}{end}").as_bytes()).await;
                assert_eq!(codes(&replies).last(), Some(&"354"), "{lines} lines and {end:?}");
                assert_eq!((messages(maildir.path()).len(), remains_in_tmp(maildir.path())), (0, 0));
            }
        }
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_is_451_and_the_session_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let maildir = folder.path().join("mail");
        std::fs::write(&maildir, "no folder").unwrap();
        let body = "text\r\n".repeat(100_000);
        let replies = play(&maildir, format!("{OPENING}{body}.\r\nNOOP\r\n").as_bytes()).await;
        assert_eq!(codes(&replies)[4..], ["354", "451", "250"], "{replies}");
    }

    #[tokio::test]
    async fn commands_out_of_order() {
        let rows = [
            ("RCPT before MAIL", "RCPT TO:<a@b>\r\n", "503"),
            ("DATA before RCPT", "MAIL FROM:<>\r\nDATA\r\n", "503"),
            ("a second MAIL", "MAIL FROM:<>\r\nMAIL FROM:<>\r\n", "503"),
            ("RSET forgets the sender", "MAIL FROM:<>\r\nRSET\r\nRCPT TO:<a@b>\r\n", "503"),
            ("EHLO forgets the sender", "MAIL FROM:<>\r\nEHLO a\r\nRCPT TO:<a@b>\r\n", "503"),
            ("no path", "MAIL FROM:a@b\r\n", "501"),
            ("a path without end", "MAIL FROM:<\"a>\r\n", "501"),
            ("an unknown command", "ETRN a\r\n", "500"),
            ("lower case", "noop\r\n", "250"),
        ];
        let maildir = tempfile::tempdir().unwrap();
        for (what, wire, code) in rows {
            let replies = play(maildir.path(), wire.as_bytes()).await;
            assert_eq!(codes(&replies).last(), Some(&code), "{what}: {replies}");
        }
    }

    #[tokio::test]
    async fn the_offer() {
        let maildir = tempfile::tempdir().unwrap();
        let replies = play(maildir.path(), b"EHLO client.example\r\n").await;
        let offer = "250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 0\r\n";
        assert_eq!(replies, format!("220 mx.example ESMTP\r\n250-mx.example\r\n{offer}"));
    }

    #[tokio::test]
    async fn an_endless_command_line_ends_the_session() {
        let maildir = tempfile::tempdir().unwrap();
        let (mut ours, serving) = start(maildir.path());
        ours.write_all(&[b'x'; MAX_LINE + 1]).await.unwrap();
        serving.await.unwrap();
    }
}

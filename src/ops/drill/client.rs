//! The newsletter host of the incident: one copy, and how it was answered. Reads and writes have a time limit.

use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;

/// One try.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copy {
    /// Octets of the message.
    pub(super) size: usize,
    /// How often it was delivered and forwarded before.
    pub(super) hops: usize,
    /// Hears the acknowledgement, and says QUIT.
    pub(super) takes: bool,
}

/// The last reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Accepted,
    Rejected,
    Deferred,
}

/// Sends it; tells also the octets of the body that crossed the wire.
pub(super) fn send(address: SocketAddr, copy: Copy) -> io::Result<(Outcome, u64)> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut stream = BufReader::new(stream);
    let mail = format!("MAIL FROM:<{SENDER}> SIZE={}\r\n", copy.size);
    let rcpt = format!("RCPT TO:<{RECIPIENT}>\r\n");
    for command in ["", "EHLO news.sillyplace.example\r\n", &mail, &rcpt, "DATA\r\n"] {
        stream.get_mut().write_all(command.as_bytes())?;
        let code = reply(&mut stream)?;
        if code >= 400 {
            return Ok((outcome(code), 0));
        }
    }
    write_message(stream.get_mut(), copy)?;
    let code = reply(&mut stream)?;
    if copy.takes {
        stream.get_mut().write_all(b"QUIT\r\n")?;
        reply(&mut stream)?;
    }
    Ok((outcome(code), copy.size as u64))
}

fn write_message(stream: &mut TcpStream, copy: Copy) -> io::Result<()> {
    let mut header = format!("Delivered-To: {RECIPIENT}\r\n").repeat(copy.hops);
    header.push_str(
        "From: <newsletter@sillyplace.example>\r\nSubject: News\r\nDate: Mon, 23 Nov 2026 00:58:45 +0000\r\n",
    );
    header.push_str("Message-ID: <34mb@sillyplace.example>\r\n\r\n");
    stream.write_all(header.as_bytes())?;
    let line = format!("{}\r\n", "x".repeat(74));
    let block = line.repeat(BLOCK / line.len());
    let mut left = copy.size.saturating_sub(header.len());
    while left > 0 {
        let part = left.min(block.len()) / line.len() * line.len();
        if part == 0 {
            break;
        }
        stream.write_all(&block.as_bytes()[..part])?;
        left -= part;
    }
    stream.write_all(b".\r\n")
}

/// A reply of any number of lines; its code.
fn reply(stream: &mut BufReader<TcpStream>) -> io::Result<u16> {
    loop {
        let mut line = String::new();
        if io::Read::take(&mut *stream, LONGEST_LINE).read_line(&mut line)? < 4 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line.as_bytes()[3] != b'-' {
            return line[..3].parse().map_err(|_| io::ErrorKind::InvalidData.into());
        }
    }
}

fn outcome(code: u16) -> Outcome {
    match code {
        ..400 => Outcome::Accepted,
        400..500 => Outcome::Deferred,
        500.. => Outcome::Rejected,
    }
}

const SENDER: &str = "newsletter@sillyplace.example";
const RECIPIENT: &str = "drill@example.org";
const PATIENCE: Duration = Duration::from_secs(60);
const BLOCK: usize = 256 * 1024;
const LONGEST_LINE: u64 = 4096;

//! A client of the drill: one connection, one message, and one way to end. Reads and writes have a time limit. It must not
//! know what the answers are good for.

use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;

/// One message and how it is sent.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    /// As the client says it: `EHLO news.example`.
    pub(super) hello: &'static str,
    /// What stands behind `MAIL FROM:`, the brackets included where there are some.
    pub(super) sender: &'static str,
    /// What stands behind each `RCPT TO:`.
    pub(super) recipients: Vec<String>,
    /// SIZE is declared.
    pub(super) declares: bool,
    /// All but the final dot, with CRLF line ends; no line begins with a dot.
    pub(super) text: String,
    pub(super) end: End,
}

/// How the client ends behind its dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It reads the reply, says QUIT and reads that reply too.
    Quit,
    /// It reads the reply, says QUIT and closes (qmail-remote).
    QuitAndClose,
    /// It says QUIT behind the dot, reads the reply and closes (Postfix).
    QuitBehindDot,
    /// The same, and it ends its side before it reads (Exim).
    QuitAndShutDown,
    /// It reads the reply and closes without a word.
    Close,
    /// It closes when the reply is there, and has not read it: a reset.
    CloseUnread,
}

/// The last reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Accepted,
    Rejected,
    Deferred,
}

/// Sends it; tells also the octets of the body that crossed the wire.
pub(super) fn send(address: SocketAddr, letter: &Letter) -> io::Result<(Outcome, u64)> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut stream = BufReader::new(stream);
    let size = if letter.declares { format!(" SIZE={}", letter.text.len()) } else { String::new() };
    let mail = format!("MAIL FROM:{}{size}", letter.sender);
    let rcpts = letter.recipients.iter().map(|recipient| format!("RCPT TO:{recipient}"));
    let commands = [String::new(), letter.hello.to_owned(), mail].into_iter().chain(rcpts).chain(["DATA".to_owned()]);
    for command in commands {
        if !command.is_empty() {
            stream.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
        }
        let code = reply(&mut stream)?;
        if code >= 400 {
            stream.get_mut().write_all(b"QUIT\r\n")?;
            let _ = reply(&mut stream);
            return Ok((outcome(code), 0));
        }
    }
    let octets = letter.text.len() as u64;
    Ok((outcome(end(&mut stream, letter)?), octets))
}

/// The message, its dot, and what follows; the code of its reply.
fn end(stream: &mut BufReader<TcpStream>, letter: &Letter) -> io::Result<u16> {
    stream.get_mut().write_all(letter.text.as_bytes())?;
    let last: &[u8] = match letter.end {
        End::QuitBehindDot | End::QuitAndShutDown => b".\r\nQUIT\r\n",
        _ => b".\r\n",
    };
    stream.get_mut().write_all(last)?;
    if letter.end == End::QuitAndShutDown {
        stream.get_ref().shutdown(Shutdown::Write)?;
    }
    if letter.end == End::CloseUnread {
        let mut code = [0; 3];
        while stream.get_ref().peek(&mut code)? < code.len() {}
        return number(&code);
    }
    let code = reply(stream)?;
    match quit(stream, letter.end) {
        // A throttle may have ended the connection behind its refusal.
        Err(_) if code >= 400 => Ok(code),
        quit => quit.map(|()| code),
    }
}

fn quit(stream: &mut BufReader<TcpStream>, end: End) -> io::Result<()> {
    if matches!(end, End::Quit | End::QuitAndClose) {
        stream.get_mut().write_all(b"QUIT\r\n")?;
    }
    if end == End::Quit {
        reply(stream)?;
    }
    Ok(())
}

/// A reply of any number of lines; its code.
fn reply(stream: &mut BufReader<TcpStream>) -> io::Result<u16> {
    loop {
        let mut line = String::new();
        if io::Read::take(&mut *stream, LONGEST_LINE).read_line(&mut line)? < 4 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line.as_bytes()[3] != b'-' {
            return number(&line.as_bytes()[..3]);
        }
    }
}

fn number(code: &[u8]) -> io::Result<u16> {
    let text = str::from_utf8(code).map_err(|_| io::ErrorKind::InvalidData)?;
    text.parse().map_err(|_| io::ErrorKind::InvalidData.into())
}

fn outcome(code: u16) -> Outcome {
    match code {
        ..400 => Outcome::Accepted,
        400..500 => Outcome::Deferred,
        500.. => Outcome::Rejected,
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
const LONGEST_LINE: u64 = 4096;

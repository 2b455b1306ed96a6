//! A client of the drill: one connection, one message, and one way to end. Reads and writes have a time limit. It must
//! not judge the replies.

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
    /// The greeting, such as `EHLO news.example`.
    pub(super) hello: &'static str,
    /// The text after `MAIL FROM:`, including the brackets if any.
    pub(super) sender: &'static str,
    /// The text after each `RCPT TO:`.
    pub(super) recipients: Vec<String>,
    /// Whether SIZE is declared.
    pub(super) declares: bool,
    /// The message without the final dot, with CRLF line ends; no line begins with a dot.
    pub(super) text: String,
    pub(super) end: End,
}

/// How the client ends after the final dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Read the reply, send QUIT and read its reply too.
    Quit,
    /// Read the reply, send QUIT and close (qmail-remote).
    QuitAndClose,
    /// Send QUIT right after the dot, read the reply and close (Postfix).
    QuitBehindDot,
    /// Send QUIT right after the dot, shut down the sending side, then read the reply (Exim).
    QuitAndShutDown,
    /// Read the reply and close without QUIT.
    Close,
    /// Close with the reply unread: a reset.
    CloseUnread,
}

/// The last reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Accepted,
    Rejected,
    Deferred,
}

/// Sends the message. Gives the outcome and the octets of the body that were sent.
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

/// Sends message, dot and ending; gives the code of the reply to the dot.
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
        // A throttle may have closed the connection after its refusal.
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

/// Reads a reply of any number of lines; gives its code.
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

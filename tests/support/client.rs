//! An SMTP client that says exactly what it is told, from any loopback address.
#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests; each uses its part")]

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpStream;

use tokio::net::TcpSocket;

use crate::proxy::host::LONG;

#[derive(Debug)]
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects from 127.0.0.1, reads the greeting and sends EHLO.
    pub(crate) fn new(to: SocketAddr) -> Self {
        Self::from(Ipv4Addr::LOCALHOST, to)
    }

    /// Connects from `ip`, reads the greeting and sends EHLO.
    pub(crate) fn from(ip: Ipv4Addr, to: SocketAddr) -> Self {
        let mut client = Self::silent(ip, to);
        expect("220", &client.reply());
        expect("250", &client.command("EHLO client.example.net"));
        client
    }

    /// Connects, and reads or sends nothing.
    pub(crate) fn silent(ip: Ipv4Addr, to: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let stream = runtime.block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((ip, 0).into()).unwrap();
            socket.connect(to).await.unwrap().into_std().unwrap()
        });
        stream.set_nonblocking(false).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let stream = self.stream.into_inner();
        stream.set_nonblocking(true).unwrap();
        runtime.block_on(async { tokio::net::TcpStream::from_std(stream).unwrap().set_zero_linger().unwrap() });
    }

    pub(crate) fn port(&self) -> u16 {
        self.stream.get_ref().local_addr().unwrap().port()
    }

    pub(crate) fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(octets.as_ref()).unwrap();
    }

    /// Reads one reply, its lines joined by `|`; empty when the connection was closed.
    pub(crate) fn reply(&mut self) -> String {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            let more = line.as_bytes().get(3) == Some(&b'-');
            lines.push(line.trim_end().to_owned());
            if !more {
                return lines.join("|");
            }
        }
    }

    pub(crate) fn command(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n"));
        self.reply()
    }

    /// Sends MAIL, RCPT and DATA, up to the 354.
    pub(crate) fn begin(&mut self, sender: &str, recipient: &str) {
        expect("250", &self.command(&format!("MAIL FROM:<{sender}>")));
        expect("250", &self.command(&format!("RCPT TO:<{recipient}>")));
        expect("354", &self.command("DATA"));
    }

    /// Sends a whole message; gives the reply to its dot.
    pub(crate) fn deliver(&mut self, sender: &str, recipient: &str, message: &str) -> String {
        self.begin(sender, recipient);
        self.send(message);
        self.command(".")
    }
}

#[track_caller]
pub(crate) fn expect(code: &str, reply: &str) {
    assert!(reply.starts_with(code), "expected {code}, got: {reply}");
}

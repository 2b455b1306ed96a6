//! qmail-remote's way: HELO, no SIZE, one connection for each recipient, no pipelining; after the reply to the dot
//! QUIT, and it closes without waiting for the 221 ("waiting for remote side is just too ridiculous").

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::proxy::Client;
use crate::ways::FROM;
use crate::ways::Network;
use crate::ways::Sender;
use crate::ways::TO;

pub(crate) struct QmailRemote {
    proxy: SocketAddr,
    said: String,
}

impl QmailRemote {
    pub(crate) fn new(network: &Network) -> Self {
        Self { proxy: network.proxy, said: String::new() }
    }

    /// Sends the letter, and ends at the first unexpected reply, as the original does.
    fn deliver(&mut self, letter: &Path) {
        let text = fs::read_to_string(letter).unwrap();
        let mut client = Client::connect(self.proxy);
        let (mail, recipient) = (format!("MAIL FROM:<{FROM}>"), format!("RCPT TO:<{TO}>"));
        let body = format!("{}\r\n.", text.trim_end().replace('\n', "\r\n"));
        let mut replies = vec![client.reply()];
        for (line, code) in [("HELO client.example", "2"), (&mail, "2"), (&recipient, "2"), ("DATA", "2"), (&body, "3")]
        {
            // The code expected of the reply before it.
            if !replies.last().unwrap().starts_with(code) {
                break;
            }
            replies.push(client.say(line));
        }
        self.said += &(replies.join("\n") + "\n");
        client.send("QUIT\r\n");
    }
}

impl Sender for QmailRemote {
    fn send(&mut self, letter: &Path) {
        self.deliver(letter);
    }

    fn waiting(&self) -> usize {
        0
    }

    fn log(&self) -> String {
        self.said.clone()
    }
}

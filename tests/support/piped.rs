//! A script's way, as with `printf … | nc HOST 25`: sends everything at once, shuts down its sending side, then reads
//! to the end. Some send QUIT, some leave it to the end of their input.

use std::fs;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::path::Path;

use crate::proxy::Client;
use crate::ways::FROM;
use crate::ways::Network;
use crate::ways::Sender;
use crate::ways::TO;

pub(crate) struct Piped {
    proxy: SocketAddr,
    end: &'static str,
    said: String,
}

impl Piped {
    /// A client; `end` is the input after the dot.
    pub(crate) fn new(network: &Network, end: &'static str) -> Self {
        Self { proxy: network.proxy, end, said: String::new() }
    }
}

impl Sender for Piped {
    fn send(&mut self, letter: &Path) {
        let text = fs::read_to_string(letter).unwrap().replace('\n', "\r\n");
        let head = format!("HELO client.example\r\nMAIL FROM:<{FROM}>\r\nRCPT TO:<{TO}>\r\nDATA\r\n");
        let mut client = Client::connect(self.proxy);
        client.send(&[&head, &*text, ".\r\n", self.end].concat());
        // The input has ended; the proxy may be gone by now.
        let _ = client.stream().shutdown(Shutdown::Write);
        self.said += &client.rest();
    }

    fn waiting(&self) -> usize {
        0
    }

    fn log(&self) -> String {
        self.said.clone()
    }
}

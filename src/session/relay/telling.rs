//! What is said to the backend and by it, for operators that follow the session. It must not show a secret, nor an octet
//! of a message.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::session::conversation::masked;
use crate::session::io::Line;
use crate::session::io::Output;
use crate::session::io::Side;
use crate::session::relay::Relay;
use crate::session::request::Request;
use crate::smtp::reply_reader::BackendReply;

impl Relay {
    /// Tells from now on what is said, or no longer.
    pub(in crate::session) fn follow(&mut self, followed: bool) {
        self.followed = followed;
    }

    /// Says a command that has no secret in it.
    pub(super) fn say(&self, command: Bytes, out: &mut VecDeque<Output>) {
        if self.followed {
            out.push_back(Output::Said(Line::new(Side::ToBackend, first_line(&command))));
        }
        out.push_back(Output::Backend(command));
    }

    /// Says a request; behind BDAT octets of the message may follow.
    pub(super) fn say_request(&self, request: &Request, out: &mut VecDeque<Output>) {
        let wire = request.wire(self.offer());
        match request {
            Request::Auth(line) if self.followed => {
                let text = if line.starts_with(b"AUTH ") { b"AUTH ****" } else { masked(line) };
                out.push_back(Output::Said(Line::new(Side::ToBackend, text)));
                out.push_back(Output::Backend(wire));
            }
            _ => self.say(wire, out),
        }
    }

    /// Tells of a reply.
    pub(super) fn tell_reply(&self, reply: &BackendReply, out: &mut VecDeque<Output>) {
        if self.followed {
            out.extend(Line::of_reply(Side::FromBackend, &reply.line()).map(Output::Said));
        }
    }

    /// Tells of a message's beginning, with its octets where they are known, or its end.
    pub(super) fn tell_message(&self, text: impl FnOnce() -> String, out: &mut VecDeque<Output>) {
        if self.followed {
            out.push_back(Output::Said(Line::event(&text())));
        }
    }
}

/// The first line of octets, without its end.
fn first_line(octets: &[u8]) -> &[u8] {
    let line = octets.split(|octet| *octet == b'\n').next().unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

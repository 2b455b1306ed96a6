//! Replies to the client: ours are signed here, those of the backend are filled in where a command waits for them. It must
//! not know what they say.

use bytes::Bytes;

use crate::session::Session;
use crate::session::io::Now;
use crate::session::io::Output;
use crate::smtp::reply::Reply;

impl Session {
    /// Replies to the last command.
    pub(super) fn reply(&mut self, reply: &Reply) {
        self.replies.push(reply, &self.id);
    }

    /// Fills in the backend's reply to the first command that waits for one.
    pub(super) fn fill_reply(&mut self, line: Bytes, now: Now) {
        self.patience.wait_from(now.monotonic);
        self.replies.fill(line);
        self.resume_parked(now);
    }

    /// Adds an output that must not overtake the replies before it.
    pub(super) fn after_replies(&mut self, output: Output) {
        if let Some(octets) = self.replies.take() {
            self.tell_replies(&octets);
            self.output.push_back(Output::Client(octets));
        }
        self.output.push_back(output);
    }
}

//! Replies to the client: ours are signed here, those of the backend are filled in where a command waits for them. It must
//! not know what they say.

use bytes::Bytes;

use crate::session::Session;
use crate::session::io::Now;
use crate::session::io::Output;
use crate::smtp::reply::Reply;

impl Session {
    /// A reply of ours to the command that came last.
    pub(super) fn reply(&mut self, reply: &Reply) {
        self.replies.push(reply, &self.id);
    }

    /// The reply of the backend that the first command waits for.
    pub(super) fn fill_reply(&mut self, line: Bytes, now: Now) {
        self.patience.wait_from(now.monotonic);
        self.replies.fill(line);
        self.resume_parked(now);
    }

    /// An output that must not overtake what the client is told before it.
    pub(super) fn after_replies(&mut self, output: Output) {
        self.output.extend(self.replies.take().map(Output::Client));
        self.output.push_back(output);
    }
}

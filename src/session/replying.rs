//! Replies to the client, in the order of its commands: behind one that waits for the backend they queue. It must not know
//! what they say.

use bytes::Bytes;
use bytes::BytesMut;

use crate::session::Session;
use crate::session::io::Now;
use crate::session::io::Output;
use crate::session::state::Slot;
use crate::smtp::reply::Reply;

impl Session {
    /// Replies go out in the order of the commands; behind one that waits for the backend they queue.
    pub(super) fn reply(&mut self, reply: &Reply) {
        if self.slots.is_empty() {
            reply.write(&self.id, &mut self.client_out);
        } else {
            let mut line = BytesMut::new();
            reply.write(&self.id, &mut line);
            self.slots.push_back(Slot::Ready(line.freeze()));
        }
    }

    /// The reply that the first waiting slot waited for; then all that are ready behind it go out.
    pub(super) fn fill_slot(&mut self, line: Bytes, now: Now) {
        self.since = now.monotonic;
        if let Some(slot) = self.slots.iter_mut().find(|slot| matches!(slot, Slot::Awaited)) {
            *slot = Slot::Ready(line);
        }
        while let Some(Slot::Ready(_)) = self.slots.front() {
            if let Some(Slot::Ready(line)) = self.slots.pop_front() {
                self.client_out.extend_from_slice(&line);
            }
        }
        self.resume_parked(now);
    }

    /// An output that must not overtake what the client is told before it.
    pub(super) fn after_replies(&mut self, output: Output) {
        if !self.client_out.is_empty() {
            let told = std::mem::take(&mut self.client_out).freeze();
            self.output.push_back(Output::Client(told));
        }
        self.output.push_back(output);
    }
}

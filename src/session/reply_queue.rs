//! Replies to the client, in the order of its commands: behind one that waits for the backend, the others queue. It
//! must not know what they say.

use std::collections::VecDeque;

use bytes::Bytes;
use bytes::BytesMut;

use crate::smtp::reply::Reply;
use crate::smtp::reply::Signature;

/// The replies that are due.
#[derive(Debug, Default)]
pub(super) struct ReplyQueue {
    /// The replies from the first that waits for the backend on.
    slots: VecDeque<Slot>,
    /// Octets that may go out.
    ready: BytesMut,
}

#[derive(Debug)]
enum Slot {
    Ready(Bytes),
    /// The backend's reply to a MAIL or RCPT.
    Awaited,
}

impl ReplyQueue {
    /// Queues a reply of ours to the last command.
    #[inline]
    pub(super) fn push(&mut self, reply: &Reply, signature: &Signature) {
        self.write(|out| reply.write(signature, out));
    }

    /// Queues a reply to the last command, as `write` writes it.
    #[inline]
    pub(super) fn write(&mut self, write: impl FnOnce(&mut BytesMut)) {
        if self.slots.is_empty() {
            return write(&mut self.ready);
        }
        let mut line = BytesMut::new();
        write(&mut line);
        self.slots.push_back(Slot::Ready(line.freeze()));
    }

    /// Queues an empty slot for the backend's reply to the last command.
    pub(super) fn push_awaited(&mut self) {
        self.slots.push_back(Slot::Awaited);
    }

    /// Fills the first empty slot; then all replies that are ready behind it may go out.
    pub(super) fn fill(&mut self, line: Bytes) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| matches!(slot, Slot::Awaited)) {
            *slot = Slot::Ready(line);
        }
        while let Some(Slot::Ready(line)) = self.slots.pop_front_if(|slot| matches!(slot, Slot::Ready(_))) {
            self.say(line);
        }
    }

    /// Queues the whole reply to the last command.
    pub(super) fn push_line(&mut self, line: Bytes) {
        if self.slots.is_empty() {
            self.say(line);
        } else {
            self.slots.push_back(Slot::Ready(line));
        }
    }

    /// Lets a whole reply go out. Alone it is not copied.
    fn say(&mut self, line: Bytes) {
        if self.ready.is_empty() {
            self.ready = line.into();
        } else {
            self.ready.extend_from_slice(&line);
        }
    }

    /// Number of replies that the backend still owes.
    pub(super) fn awaited(&self) -> usize {
        self.slots.iter().filter(|slot| matches!(slot, Slot::Awaited)).count()
    }

    /// Number of commands whose replies have not gone out.
    pub(super) fn outstanding(&self) -> usize {
        self.slots.len()
    }

    /// Whether no command waits for its reply.
    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        self.slots.is_empty()
    }

    /// Forgets the commands that wait: they get no reply of their own.
    pub(super) fn forget(&mut self) {
        self.slots.clear();
    }

    /// Gives this reply to each command that waits for the backend.
    pub(super) fn settle(&mut self, reply: &Reply, signature: &Signature) {
        for slot in std::mem::take(&mut self.slots) {
            match slot {
                Slot::Ready(line) => self.ready.extend_from_slice(&line),
                Slot::Awaited => reply.write(signature, &mut self.ready),
            }
        }
    }

    /// Whether octets may go out.
    #[inline]
    pub(super) fn has_octets(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The octets that may go out, if there are any.
    #[inline]
    pub(super) fn take(&mut self) -> Option<Bytes> {
        self.has_octets().then(|| std::mem::take(&mut self.ready).freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    fn taken(queue: &mut ReplyQueue) -> String {
        queue.take().map_or_else(String::new, |octets| String::from_utf8(octets.to_vec()).unwrap())
    }

    #[test]
    fn replies_go_out_in_the_order_of_the_commands() {
        let mut queue = ReplyQueue::default();
        queue.write(|out| out.extend_from_slice(b"1"));
        queue.push_awaited();
        queue.write(|out| out.extend_from_slice(b"3"));
        queue.push_awaited();
        queue.write(|out| out.extend_from_slice(b"5"));
        assert_eq!((taken(&mut queue), queue.awaited(), queue.outstanding()), ("1".into(), 2, 4));
        queue.fill(line("2"));
        assert_eq!((taken(&mut queue), queue.awaited(), queue.is_settled()), ("23".into(), 1, false));
        queue.fill(line("4"));
        assert_eq!((taken(&mut queue), queue.is_settled(), queue.has_octets()), ("45".into(), true, false));
    }

    #[test]
    fn what_nobody_waited_for_is_dropped() {
        let mut queue = ReplyQueue::default();
        queue.fill(line("spare"));
        assert_eq!(queue.take(), None);
    }

    #[test]
    fn each_command_that_waits_has_a_reply_at_the_end() {
        let mut queue = ReplyQueue::default();
        queue.push_awaited();
        queue.write(|out| out.extend_from_slice(b"250 ready\r\n"));
        queue.push_awaited();
        let signature = Signature { session: "S".into(), contact: "".into() };
        queue.settle(&crate::policy::replies::shutting_down(), &signature);
        let end = "421 4.3.2 Shutting down, try again later [S]\r\n";
        assert_eq!(taken(&mut queue), format!("{end}250 ready\r\n{end}"));
    }
}

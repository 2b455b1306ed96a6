//! The octets that a session can use now, and the outputs that are due. It must not rule on anything.

use std::collections::VecDeque;

use bytes::BytesMut;

use crate::session::Session;
use crate::session::io::Now;
use crate::session::state::State;

impl Session {
    /// Uses what can be used of the client's octets now. False: nothing came of it.
    pub(super) fn feed(&mut self, input: &mut BytesMut, ended: bool, now: Now) -> bool {
        let before = input.len();
        if before > 0 && self.wants_input() {
            while self.step(input, now) {}
        }
        if ended && self.wants_input() && self.replies.is_settled() {
            self.client_left(now);
        }
        before != input.len() || self.has_output() || self.is_over()
    }

    /// Takes one step with the client's octets. False: nothing can be done before something else happens.
    fn step(&mut self, input: &mut BytesMut, now: Now) -> bool {
        match &self.state {
            State::Auth { waiting: false } => self.auth_line(input, now),
            State::Body(_) => self.body(input, now),
            State::Command => self.command(input, now),
            State::Delay { .. } => self.talks_early(input, now),
            _ => false,
        }
    }

    /// Keeps no room for outputs while the session waits between transactions.
    pub(super) fn rest(&mut self) {
        if self.transaction.is_none() && self.output.capacity() > 0 {
            self.output = VecDeque::new();
        }
    }

    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty() || self.replies.has_octets()
    }

    /// Whether octets of the client can be used now; otherwise they stay in the buffer.
    pub fn wants_input(&self) -> bool {
        match &self.state {
            State::Auth { waiting } => !waiting,
            State::Body(_) => true,
            State::Command => !self.input.is_parked() && self.replies.outstanding() < MAX_OUTSTANDING,
            State::Delay { .. } => true,
            _ => false,
        }
    }
}

/// Commands whose replies may be outstanding at once (RFC 2920): a bound on a pipelining client's queue.
const MAX_OUTSTANDING: usize = 100;

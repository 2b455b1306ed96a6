//! The octets that a session can use now, and the outputs that are due. It must not rule on anything.

use std::collections::VecDeque;

use bytes::BytesMut;

use crate::session::Session;
use crate::session::io::Now;
use crate::session::io::Output;
use crate::session::state::State;

impl Session {
    /// Takes one step with the client's octets. False: nothing can be done before something else happens.
    pub(super) fn take(&mut self, input: &mut BytesMut, now: Now) -> bool {
        match &self.state {
            State::Auth { waiting: false } => self.auth_line(input, now),
            State::Body(_) => self.body(input, now),
            State::Command => self.command(input, now),
            State::Delay { .. } => self.talks_early(input, now),
            _ => false,
        }
    }

    /// The output that is due first.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.output.pop_front() {
            return Some(output);
        }
        // Between transactions a session keeps no room for outputs.
        if self.transaction.is_none() {
            self.output = VecDeque::new();
        }
        self.replies.take().map(Output::Client)
    }

    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty() || self.replies.has_octets()
    }

    /// Whether octets of the client can be used now; otherwise they stay in the buffer.
    pub(super) fn wants_input(&self) -> bool {
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

//! The outcome of a message, a recipient, a command or a connection: the reply to the client, and the values for the
//! record. It must not send either.

use std::sync::Arc;

use bytes::Bytes;
use bytes::BytesMut;

use crate::policy::verdict::Reason;
use crate::policy::verdict::Ruling;
use crate::policy::verdict::Verdict;
use crate::smtp::reply::Reply;
use crate::smtp::reply::Signature;
use crate::smtp::reply_reader::BackendReply;

/// The outcome of a message, a recipient, a command or a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// The whole reply, as it goes out to the client.
    pub(super) line: Bytes,
    /// The reply's code; `None`: the client was told nothing.
    pub(super) code: Option<u16>,
    pub(super) verdict: Option<Verdict>,
    pub(super) reason: Option<Reason>,
    pub(super) rule: Option<Arc<str>>,
    /// The backend's reply.
    pub(super) backend: Option<String>,
}

impl Outcome {
    /// The outcome by one of our own replies.
    pub(super) fn ours(reply: &Reply, reason: Reason, signature: &Signature) -> Self {
        let mut line = BytesMut::new();
        reply.write(signature, &mut line);
        Self { line: line.freeze(), code: Some(reply.code), reason: Some(reason), ..Self::default() }
    }

    /// Whether the backend has accepted the message, for all of its recipients.
    pub(super) fn is_passed_on(&self) -> bool {
        self.code.is_some_and(|code| code < 400) && self.verdict.is_none()
    }

    /// The outcome by a ruling.
    pub(super) fn ruled(ruling: &Ruling, signature: &Signature) -> Self {
        Self { rule: ruling.rule.clone(), ..Self::ours(&ruling.reply, ruling.reason, signature) }
    }

    /// The outcome by the backend's reply, relayed as it is.
    pub(super) fn backend(reply: &BackendReply) -> Self {
        let reason = match reply.code {
            400..500 => Some(Reason::BackendDeferred),
            500.. => Some(Reason::BackendRejected),
            _ => None,
        };
        let (line, code, backend) = (reply.line(), Some(reply.code), Some(reply.text()));
        Self { line, code, reason, backend, ..Self::default() }
    }
}

//! The last word on a message, a recipient, a command or a connection: what the client is told, and what the record says. It
//! must not tell anybody.

use std::sync::Arc;

use bytes::Bytes;
use bytes::BytesMut;

use crate::policy::verdict::Reason;
use crate::policy::verdict::Ruling;
use crate::policy::verdict::Verdict;
use crate::smtp::reply::Reply;
use crate::smtp::reply::Signature;
use crate::smtp::reply_reader::BackendReply;

/// The last word on a message, a recipient or a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// For the client, whole, as it goes out.
    pub(super) line: Bytes,
    /// None: nobody was told anything.
    pub(super) code: Option<u16>,
    pub(super) verdict: Option<Verdict>,
    pub(super) reason: Option<Reason>,
    pub(super) rule: Option<Arc<str>>,
    /// The backend's own words.
    pub(super) backend: Option<String>,
}

impl Outcome {
    /// By one of our own replies.
    pub(super) fn ours(reply: &Reply, reason: Reason, signature: &Signature) -> Self {
        let mut line = BytesMut::new();
        reply.write(signature, &mut line);
        Self { line: line.freeze(), code: Some(reply.code), reason: Some(reason), ..Self::default() }
    }

    /// By a ruling.
    pub(super) fn ruled(ruling: &Ruling, signature: &Signature) -> Self {
        Self { rule: ruling.rule.clone(), ..Self::ours(&ruling.reply, ruling.reason, signature) }
    }

    /// By the backend, relayed as it is.
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

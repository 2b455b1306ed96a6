//! The DATA stream (placeholder, being written).

/// Line ends that are not CRLF inside a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BareNewline {
    /// A bare LF becomes CRLF, a stray CR a space (as Postfix does since 3.9).
    Normalize,
    /// 554 5.5.2 and close.
    Reject,
}

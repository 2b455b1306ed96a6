//! The subject that is counted, as far as a stage knows it. It must not say which of its values make up a key: the
//! parts do that.

use std::net::IpAddr;

use crate::smtp::address::Address;
use crate::smtp::address::ReversePath;

/// The values known of the subject that is counted.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// The name in EHLO or HELO; empty before it.
    pub helo: &'a [u8],
    /// The reverse-path; `None` before MAIL.
    pub sender: Option<&'a ReversePath>,
    /// The forward-path; `None` before RCPT.
    pub recipient: Option<&'a Address>,
    /// Whether RELAYCLIENT is set.
    pub relay_client: bool,
    /// Whether the backend said 235 to AUTH.
    pub authenticated: bool,
    /// The name in AUTH; `None` before it, or where it cannot be read.
    pub user: Option<&'a [u8]>,
}

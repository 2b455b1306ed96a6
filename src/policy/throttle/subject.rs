//! The one who is counted, as far as a stage knows them. It must not say what of it makes up a key: the parts do that.

use std::net::IpAddr;

use crate::smtp::address::Address;
use crate::smtp::address::ReversePath;

/// What is known of the one who is counted.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// The name in EHLO or HELO; empty before it.
    pub helo: &'a [u8],
    /// The reverse-path; none before MAIL.
    pub sender: Option<&'a ReversePath>,
    /// The forward-path; none before RCPT.
    pub recipient: Option<&'a Address>,
    /// RELAYCLIENT is set.
    pub relay_client: bool,
    /// The backend said 235 to AUTH.
    pub authenticated: bool,
    /// The name in AUTH; none before it, or where it cannot be read.
    pub user: Option<&'a [u8]>,
}

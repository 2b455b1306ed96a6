//! The parts that a throttle's key is made of, and their names. It must not put octets of a client into a key.

use std::fmt;

use crate::policy::net;
use crate::policy::throttle::key::KeyHash;
use crate::policy::throttle::subject::Subject;
use crate::smtp::address::Address;

/// A part of a key (`per`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// One client, as `net::client` has it.
    Client,
    /// One client network, as `net::client_net` has it.
    ClientNet,
    /// The name in EHLO or HELO.
    Helo,
    /// The forward-path.
    Recipient,
    /// The forward-path's domain.
    RecipientDomain,
    /// The reverse-path.
    Sender,
    /// The reverse-path's domain.
    SenderDomain,
    /// The name in AUTH.
    User,
}

impl Part {
    /// The word in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::ClientNet => "client-net",
            Self::Helo => "helo",
            Self::Recipient => "recipient",
            Self::RecipientDomain => "recipient-domain",
            Self::Sender => "sender",
            Self::SenderDomain => "sender-domain",
            Self::User => "user",
        }
    }

    /// Adds the part to a key. `None` where it is not known yet.
    pub(super) fn add(self, subject: &Subject<'_>, hash: &mut KeyHash) -> Option<()> {
        match self {
            Self::Client => hash.add_client(subject.client),
            Self::ClientNet => hash.add_client_net(subject.client),
            Self::Helo if subject.helo.is_empty() => return None,
            Self::Helo => hash.add_folded(subject.helo),
            Self::Recipient => hash.add(subject.recipient?.folded()),
            Self::RecipientDomain => hash.add(domain(subject.recipient?)),
            // The null sender has a key too: an empty address, which no other sender has.
            Self::Sender => hash.add(subject.sender?.address().map(Address::folded).unwrap_or_default()),
            // An address without a domain is of the host itself, and not the null sender.
            Self::SenderDomain => hash.add(subject.sender?.address().map(domain).unwrap_or_default()),
            Self::User => hash.add_folded(subject.user?),
        }
        Some(())
    }

    /// The part as people write it. `None` where it is not known yet.
    pub(super) fn label(self, subject: &Subject<'_>) -> Option<String> {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        Some(match self {
            Self::Client => net::client_label(subject.client),
            Self::ClientNet => net::client_net(subject.client).to_string(),
            Self::Helo => text(&subject.helo.to_ascii_lowercase()),
            Self::Recipient => text(subject.recipient?.folded()),
            Self::RecipientDomain => format!("@{}", text(subject.recipient?.domain().unwrap_or_default())),
            Self::Sender => subject.sender?.address().map_or("<>".to_owned(), |address| text(address.folded())),
            Self::SenderDomain => subject
                .sender?
                .address()
                .map_or("<>".to_owned(), |address| format!("@{}", text(address.domain().unwrap_or_default()))),
            Self::User => text(&subject.user?.to_ascii_lowercase()),
        })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The domain of an address; none, or an empty one, is a key of its own.
fn domain(address: &Address) -> &[u8] {
    address.domain().filter(|domain| !domain.is_empty()).unwrap_or(b"@")
}

//! What makes two messages the same: BLAKE3 over the canonical text as it goes to the backend, without the fields that
//! are written anew on the way or for every try. The strong fingerprint is of all the rest, the weak one leaves out Date
//! and Message-ID too. It is keyed, so that nobody outside can look for two messages that meet.

use blake3::Hasher;

/// Of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprints {
    /// All but what the way adds.
    pub strong: [u8; 32],
    /// The same without Date and Message-ID.
    pub weak: [u8; 32],
}

/// Fingerprints in the making.
#[derive(Debug)]
pub(super) struct Hashes {
    strong: Hasher,
    weak: Hasher,
    /// Hashed once for both.
    body: Hasher,
}

/// Which fingerprints a field goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Both,
    Neither,
    StrongOnly,
}

impl Hashes {
    pub(super) fn new(key: &[u8; 32]) -> Box<Self> {
        let hasher = || Hasher::new_keyed(key);
        Box::new(Self { strong: hasher(), weak: hasher(), body: hasher() })
    }

    pub(super) fn header(&mut self, kind: Kind, octets: &[u8]) {
        if kind != Kind::Neither {
            self.strong.update(octets);
        }
        if kind == Kind::Both {
            self.weak.update(octets);
        }
    }

    pub(super) fn body(&mut self, octets: &[u8]) {
        self.body.update(octets);
    }

    /// The body's digest has a fixed length, so that no octet can move between header and body unseen.
    pub(super) fn finish(mut self) -> Fingerprints {
        let body = self.body.finalize();
        self.strong.update(body.as_bytes());
        self.weak.update(body.as_bytes());
        Fingerprints { strong: self.strong.finalize().into(), weak: self.weak.finalize().into() }
    }
}

impl Kind {
    pub(super) fn of(name: &[u8]) -> Self {
        let is = |field: &&str| name.eq_ignore_ascii_case(field.as_bytes());
        match () {
            () if WRITTEN_ANEW.iter().any(&is) => Self::Neither,
            () if name.len() > 4 && name[..4].eq_ignore_ascii_case(b"arc-") => Self::Neither,
            () if is(&"date") || is(&"message-id") => Self::StrongOnly,
            () => Self::Both,
        }
    }
}

/// And ARC-*: added on the way, or signed anew for every try.
const WRITTEN_ANEW: [&str; 8] = [
    "authentication-results",
    "delivered-to",
    "dkim-signature",
    "domainkey-signature",
    "received",
    "received-spf",
    "return-path",
    "x-received",
];

//! Fingerprints, by which two messages are the same: BLAKE3 over the canonical text as it is held, header and
//! all, without the fields that senders sign anew for each try. The strong fingerprint is of all the rest: Received
//! and Delivered-To too, because they decide what the backend does with the message. The weak one leaves out Received,
//! Date and Message-ID; by it a storm of messages that are made anew each time is seen, and it must refuse nothing.
//! Both are keyed, so that nobody outside can look for two messages that meet.
//!
//! Hashed are two streams, so that no octet is hashed twice. `text` is the header without what the weak one leaves out, its
//! length, and the body: its digest is the weak fingerprint. `dated` is the fields that only the strong one has, each behind
//! its place in `text`, and the weak fingerprint: its digest is the strong one. A place is eight octets that begin with 0,
//! which no message has that may pass, so that no octet can move from one part to another unseen.

use std::fmt;

use blake3::Hasher;
use blake3::KEY_LEN;

/// The fingerprints of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprints {
    /// The hash of all but the fields that are signed anew for each try.
    pub strong: [u8; 32],
    /// The hash that also leaves out Received, Date and Message-ID.
    pub weak: [u8; 32],
}

/// Fingerprints in the making.
#[derive(Debug)]
pub(super) struct Hashes {
    text: Digest,
    dated: Digest,
    /// Octets of the header in `text`.
    header: u64,
    in_body: bool,
    kind: Kind,
}

/// The fingerprints that a field goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Both,
    Neither,
    StrongOnly,
}

impl Hashes {
    pub(super) fn new(key: &[u8; KEY_LEN]) -> Self {
        let (text, dated) = (Digest::new(key, TEXT), Digest::new(key, DATED));
        Self { text, dated, header: 0, in_body: false, kind: Kind::Both }
    }

    /// Begins a field of this name.
    pub(super) fn begin(&mut self, name: &[u8]) {
        self.kind = Kind::of(name);
        if self.kind == Kind::StrongOnly {
            self.dated.update(&self.header.to_be_bytes());
        }
    }

    pub(super) fn header(&mut self, octets: &[u8]) {
        match self.kind {
            Kind::Both => {
                self.text.update(octets);
                self.header += octets.len() as u64;
            }
            Kind::Neither => {}
            Kind::StrongOnly => self.dated.update(octets),
        }
    }

    pub(super) fn body(&mut self, octets: &[u8]) {
        if !std::mem::replace(&mut self.in_body, true) {
            self.text.update(&self.header.to_be_bytes());
        }
        self.text.update(octets);
    }

    pub(super) fn finish(mut self) -> Fingerprints {
        let weak = self.text.finish();
        self.dated.update(&weak);
        Fingerprints { strong: self.dated.finish(), weak }
    }
}

/// A hash that gathers short pieces: a small message is hashed at once, without a `Hasher` of 2 KB, and a large one at
/// full width.
struct Digest {
    key: [u8; KEY_LEN],
    waiting: Vec<u8>,
    hasher: Option<Box<Hasher>>,
}

impl Digest {
    /// `expected`: octets that most messages do not exceed.
    fn new(key: &[u8; KEY_LEN], expected: usize) -> Self {
        Self { key: *key, waiting: Vec::with_capacity(expected), hasher: None }
    }

    fn update(&mut self, octets: &[u8]) {
        if self.waiting.len() + octets.len() <= GATHERED {
            self.waiting.extend_from_slice(octets);
            return;
        }
        let hasher = self.hasher.get_or_insert_with(|| Box::new(Hasher::new_keyed(&self.key)));
        // Whole blocks only: BLAKE3 hashes as many chunks at once as stand at a multiple of their number.
        let (fill, octets) = octets.split_at(GATHERED - self.waiting.len());
        self.waiting.extend_from_slice(fill);
        hasher.update(&self.waiting);
        self.waiting.clear();
        let (blocks, rest) = octets.split_at(octets.len() - octets.len() % GATHERED);
        hasher.update(blocks);
        self.waiting.extend_from_slice(rest);
    }

    fn finish(self) -> [u8; 32] {
        match self.hasher {
            None => blake3::keyed_hash(&self.key, &self.waiting).into(),
            Some(mut hasher) => hasher.update(&self.waiting).finalize().into(),
        }
    }
}

/// Shows neither the key nor the message.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digest").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl Kind {
    fn of(name: &[u8]) -> Self {
        let is = |field: &&str| name.eq_ignore_ascii_case(field.as_bytes());
        match () {
            () if SIGNED_ANEW.iter().any(&is) => Self::Neither,
            () if name.len() > 4 && name[..4].eq_ignore_ascii_case(b"arc-") => Self::Neither,
            () if MADE_ANEW.iter().any(&is) => Self::StrongOnly,
            () => Self::Both,
        }
    }
}

/// Fields that are signed anew for every try, beside ARC-*.
const SIGNED_ANEW: [&str; 3] = ["dkim-signature", "domainkey-signature", "x-google-dkim-signature"];
/// Fields that a sender makes anew with each message, beside signatures.
const MADE_ANEW: [&str; 3] = ["date", "message-id", "received"];
const TEXT: usize = 8 * 1024;
const DATED: usize = 1024;
/// Octets that are hashed at once: sixteen chunks of BLAKE3, the most that its widest code takes.
const GATHERED: usize = 16 * 1024;

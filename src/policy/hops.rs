//! Loops: the number of times that a message has been somewhere, told by its Received and Delivered-To fields. Own hops
//! are those that were written here, for the same recipient. It must not look for the fields: `message` does.
//!
//! mailfront writes no `for` clause into Received, so behind it our own hops are told by Delivered-To alone.

use crate::policy::replies;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Ruling;
use crate::policy::virtualdomains::VirtualDomains;
use crate::smtp::address;
use crate::smtp::address::Address;

/// The limits `message.max_hops` and `message.own_hops`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopRules {
    /// Most Received fields, and Delivered-To fields, of one message.
    pub max: u32,
    /// Most of them that are our own for the recipient.
    pub own: u32,
}

/// The hops counted in one header.
#[derive(Debug)]
pub struct Hops {
    received: u32,
    delivered_to: u32,
    hostname: Vec<u8>,
    own: Vec<OwnHops>,
}

#[derive(Debug)]
struct OwnHops {
    recipient: Vec<u8>,
    /// The recipient in Delivered-To, where qmail's virtualdomains has a prefix for it.
    rewritten: Option<Vec<u8>>,
    received: u32,
    delivered_to: u32,
}

impl Hops {
    /// A count of no hops yet.
    pub fn new<'a>(
        hostname: &str,
        virtual_domains: &VirtualDomains,
        recipients: impl Iterator<Item = &'a Address>,
    ) -> Self {
        let own = |recipient: &Address| OwnHops {
            recipient: recipient.folded().to_vec(),
            rewritten: virtual_domains.rewritten(recipient),
            received: 0,
            delivered_to: 0,
        };
        let hostname = hostname.to_ascii_lowercase().into_bytes();
        Self { received: 0, delivered_to: 0, hostname, own: recipients.map(own).collect() }
    }

    /// Counts a Delivered-To field. Of two users one may be called as the other with a prefix: mary-joe is not joe.
    pub(super) fn delivered_to(&mut self, value: &[u8]) {
        self.delivered_to = self.delivered_to.saturating_add(1);
        if self.delivered_to > MOST_COMPARED {
            return;
        }
        let value = address::fold(value.trim_ascii());
        for own in &mut self.own {
            own.delivered_to += u32::from(value == own.recipient || own.rewritten.as_ref() == Some(&value));
        }
    }

    /// Counts a Received field (RFC 5321 section 4.4): ours when our name follows `by`, and the recipient `for`.
    pub(super) fn received(&mut self, value: &[u8]) {
        self.received = self.received.saturating_add(1);
        if self.received > MOST_COMPARED {
            return;
        }
        if !has_behind(value, b"by", &self.hostname) {
            return;
        }
        for own in &mut self.own {
            own.received += u32::from(has_behind(value, b"for", &own.recipient));
        }
    }

    /// The refusal of a message that goes round in a circle: for all of its recipients, or it is delivered.
    pub fn ruling(&self, rules: HopRules) -> Option<Ruling> {
        let ruling = |reply, rule| Some(Ruling::new(reply, Reason::Loop).by(rule));
        let hops = self.received.max(self.delivered_to);
        if hops > rules.max {
            return ruling(replies::too_many_hops(hops, rules.max), "message.max_hops");
        }
        // One delivery may have written both.
        let least = self.own.iter().map(|own| own.received.max(own.delivered_to)).min()?;
        if least > rules.own {
            return ruling(replies::mail_loop(least, rules.own), "message.own_hops");
        }
        None
    }
}

/// Whether a Received field has this word, which is in lower case, behind the keyword.
fn has_behind(value: &[u8], keyword: &[u8], word: &[u8]) -> bool {
    let words = value.split(|octet| octet.is_ascii_whitespace() || b";()<>".contains(octet));
    let mut words = words.filter(|word| !word.is_empty()).peekable();
    while let Some(first) = words.next() {
        let is_word =
            |next: &&[u8]| next.eq_ignore_ascii_case(word) || (!next.is_ascii() && address::fold(*next) == word);
        if first.eq_ignore_ascii_case(keyword) && words.peek().is_some_and(is_word) {
            return true;
        }
    }
    false
}

impl Default for HopRules {
    fn default() -> Self {
        Self { max: 50, own: 3 }
    }
}

/// Fields of one kind that are compared; a loop is seen long before.
const MOST_COMPARED: u32 = 1000;

//! Rulings: pure functions from words and lists to a verdict. The order in which they are called is the session's. It must
//! not do I/O, read a clock or log; counting is the caller's.

pub mod addresses;
pub mod block;
pub mod client;
pub mod environment;
pub mod familiar;
pub mod fingerprint;
pub mod hops;
pub mod known;
pub mod list;
pub mod local;
pub mod message;
pub mod net;
pub mod repeat;
pub mod replies;
pub mod size;
pub mod throttle;
pub mod verdict;
pub mod virtualdomains;

use std::net::IpAddr;
use std::sync::Arc;

use crate::policy::client::ClientRules;
use crate::policy::environment::Environment;
use crate::policy::environment::Variables;
use crate::policy::hops::HopRules;
use crate::policy::known::Existence;
use crate::policy::known::KnownRecipients;
use crate::policy::known::Source;
use crate::policy::list::AddressList;
use crate::policy::local::LocalDomains;
use crate::policy::repeat::RepeatRules;
use crate::policy::size::Limit;
use crate::policy::size::SizeRules;
use crate::policy::throttle::Throttle;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Ruling;
use crate::policy::virtualdomains::VirtualDomains;
use crate::smtp::address::Address;
use crate::smtp::address::ReversePath;

/// All lists and limits as they stood at one moment.
#[derive(Debug, Default)]
pub struct Policy {
    /// Blocked senders: control/badmailfrom and `senders.blocked`.
    pub senders: Vec<AddressList>,
    /// Blocked recipients: control/badrcptto and `recipients.blocked`.
    pub recipients: Vec<AddressList>,
    /// The local domains of rcpthosts; `None` leaves the question to the backend.
    pub local: Option<LocalDomains>,
    /// The recipients that exist, by `recipients.known`.
    pub known: KnownRecipients,
    /// Whether a recipient may have a route in it (`recipients.routing`).
    pub routing: bool,
    /// The rules of tcprules.
    pub clients: ClientRules,
    /// The variables that every backend is started with.
    pub variables: Arc<Variables>,
    /// The limits of size.
    pub size: SizeRules,
    /// The throttles, in the order of the file.
    pub throttles: Vec<Throttle>,
    /// The rules about repeats.
    pub repeat: RepeatRules,
    /// The limits of hops.
    pub hops: HopRules,
    /// The prefixes of control/virtualdomains, which Delivered-To has.
    pub virtual_domains: VirtualDomains,
}

impl Policy {
    /// The environment of this client's backend, by its rule in tcprules.
    pub fn client(&self, client: IpAddr, host: Option<&str>) -> Environment {
        let rule = self.clients.find(client, host, None).map(|(_, rule)| rule.clone());
        Environment::new(self.variables.clone(), rule)
    }

    /// The refusal of this client's mail, if its rule denies it.
    pub fn denied(environment: &Environment, client: IpAddr) -> Option<Ruling> {
        let rule = environment.rule().filter(|rule| rule.deny)?;
        Some(Ruling::new(replies::blocked_client(client), Reason::BlockedClient).by(&rule.location))
    }

    /// The refusal of a sender on a list. The null sender is on none: a bounce must have a way back (RFC 5321 section
    /// 4.5.5).
    pub fn sender(&self, sender: &ReversePath) -> Option<Ruling> {
        let address = sender.address()?;
        let location = self.senders.iter().find_map(|list| list.find(address))?;
        Some(Ruling::new(replies::blocked_sender(sender), Reason::BlockedSender).by(location))
    }

    /// The refusal of a declared size over the limit.
    pub fn declared_size(declared: Option<u64>, limit: Limit) -> Option<Ruling> {
        let declared = declared?;
        let limit = limit.announced().filter(|limit| declared > limit.octets)?;
        Some(Ruling::new(replies::oversize(declared, limit.octets), Reason::OversizeDeclared).by(limit.rule))
    }

    /// The recipient's cap in wire octets, or the refusal of a declared size that is over it.
    ///
    /// # Errors
    /// The refusal.
    pub fn capped_size(&self, recipient: &Address, declared: Option<u64>) -> Result<Option<u64>, Ruling> {
        let Some(cap) = self.size.cap(recipient).filter(|cap| cap.limit > 0) else { return Ok(None) };
        match declared.filter(|declared| *declared > cap.limit) {
            None => Ok(Some(cap.limit)),
            Some(declared) => {
                let reply = replies::oversize_for(recipient, declared, cap.limit);
                Err(Ruling::new(reply, Reason::OversizeDeclared).by("size.recipients"))
            }
        }
    }

    /// The refusal of one more recipient than `accepted`, where that is too many.
    pub fn recipient_count(accepted: usize, limit: u32) -> Option<Ruling> {
        let full = accepted >= usize::try_from(limit).unwrap_or(usize::MAX);
        full.then(|| {
            Ruling::new(replies::too_many_recipients(limit), Reason::TooManyRecipients).by("server.max_recipients")
        })
    }

    /// The cap of a recipient after those whose `first` has this cap. One recipient's cap never costs another the mail:
    /// where caps differ and the size is not known to fit the smaller one, the later recipient has to come in a
    /// transaction of its own.
    ///
    /// # Errors
    /// The refusal.
    pub fn cap_beside(
        &self,
        recipient: &Address,
        declared: Option<u64>,
        first: Option<Option<u64>>,
    ) -> Result<Option<u64>, Ruling> {
        let cap = self.capped_size(recipient, declared)?;
        let Some(first) = first.filter(|first| *first != cap) else { return Ok(cap) };
        let smaller = first.into_iter().chain(cap).min();
        let fits = declared.is_some_and(|declared| smaller.is_some_and(|smaller| declared <= smaller));
        let ruling =
            || Ruling::new(replies::different_limit(recipient), Reason::TooManyRecipients).by("size.recipients");
        if fits { Ok(cap) } else { Err(ruling()) }
    }

    /// The refusal of a recipient that is on a list, has a route in it, is not local, or does not exist. `relay` exempts
    /// from all but the first, as in qmail, mailfront and the validrcptto patch.
    pub fn recipient(&self, recipient: &Address, relay: bool) -> Option<Ruling> {
        if let Some(location) = self.recipients.iter().find_map(|list| list.find(recipient)) {
            return Some(Ruling::new(replies::blocked_recipient(recipient), Reason::BlockedRecipient).by(location));
        }
        if relay {
            return None;
        }
        // The backend may rewrite it to its last host, and trust us.
        if !self.routing && recipient.has_route() {
            return Some(Ruling::new(replies::routed(recipient), Reason::NotLocal).by("recipients.routing"));
        }
        // A recipient without a domain is `Postmaster`, or local by definition (qmail's addrallowed).
        let domain = recipient.domain()?;
        if self.local.as_ref().is_some_and(|local| local.find(domain).is_none()) {
            return Some(Ruling::new(replies::not_local(recipient), Reason::NotLocal).by("rcpthosts"));
        }
        match self.known.find(recipient, self.local.as_ref()) {
            Existence::Known(_) => None,
            Existence::Unknown(rule) => {
                Some(Ruling::new(replies::unknown_recipient(recipient), Reason::UnknownRecipient).by(rule))
            }
        }
    }

    /// What says that a recipient exists: the line of a list, or a rule; `None` where it is not looked up, or not known.
    pub fn known_by(&self, recipient: &Address) -> Option<String> {
        match self.known.find(recipient, self.local.as_ref()) {
            Existence::Known(Source::Entry(location)) => Some(location.to_string()),
            Existence::Known(Source::Always(rule)) => Some(rule.to_owned()),
            Existence::Known(Source::Unasked) | Existence::Unknown(_) => None,
        }
    }
}

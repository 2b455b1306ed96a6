//! The limits of a message's size. Two measures: wire octets (CRLF line ends, RFC 1870), which `size.limit`, caps and
//! the backend's SIZE count, and stored octets (LF line ends), which qmail's databytes counts. 0 means no limit in
//! both. It must not count a message itself.

use crate::policy::environment::Environment;
use crate::policy::list::AddressList;
use crate::smtp::address::Address;
use crate::smtp::reply::Offer;

/// The limits of `[size]` and control/databytes.
#[derive(Debug, Default)]
pub struct SizeRules {
    /// `size.limit` in wire octets, when it is set.
    pub limit: Option<u64>,
    /// control/databytes in stored octets, when there is one.
    pub databytes: Option<u64>,
    /// The caps of `[[size.recipients]]` in the order of the file: the first that matches counts.
    pub caps: Vec<Cap>,
}

/// One cap of `[[size.recipients]]`.
#[derive(Debug)]
pub struct Cap {
    /// The recipients that have this cap.
    pub recipients: AddressList,
    /// The cap in wire octets; 0 for none.
    pub limit: u64,
}

/// The limits of one message; the smaller of each measure that is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    wire: Option<Bound>,
    stored: Option<Bound>,
}

/// A number of octets, and its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The number of octets, never 0.
    pub octets: u64,
    /// The key, control file or variable that sets it.
    pub rule: &'static str,
    /// Whether it counts stored octets.
    pub stored: bool,
}

impl SizeRules {
    /// Our own limits for a client with this environment: a key that is set, then DATABYTES, then control/databytes,
    /// then the default.
    pub fn ours(&self, environment: &Environment) -> Limit {
        if let Some(limit) = self.limit {
            return Limit { wire: bound(limit, "size.limit"), stored: None };
        }
        let of_environment = environment.get(b"DATABYTES").map(|value| (leading_digits(value), "DATABYTES"));
        match of_environment.or(self.databytes.map(|octets| (octets, "control/databytes"))) {
            Some((octets, rule)) => {
                Limit { wire: None, stored: bound(octets, rule).map(|bound| Bound { stored: true, ..bound }) }
            }
            None => Limit { wire: bound(DEFAULT_LIMIT, "size.limit (default)"), stored: None },
        }
    }

    /// The cap of this recipient.
    pub fn cap(&self, recipient: &Address) -> Option<&Cap> {
        self.caps.iter().find(|cap| cap.recipients.find(recipient).is_some())
    }
}

impl Limit {
    /// The limits together with the backend's SIZE. A SIZE that only repeats our databytes is that limit and counts
    /// stored octets: mailfront announces DATABYTES as SIZE but counts LF line ends (RFC 1870 would count CRLF).
    #[must_use]
    pub fn with_backend(self, offer: &Offer) -> Self {
        match offer.size.and_then(|size| bound(size, "the backend's SIZE")) {
            Some(size) if self.stored.is_some_and(|stored| stored.octets == size.octets) => self,
            Some(size) => self.with(size),
            None => self,
        }
    }

    /// The limits together with a recipient's cap in wire octets; 0 is none.
    #[must_use]
    pub fn with_cap(self, octets: u64) -> Self {
        bound(octets, "size.recipients").map_or(self, |cap| self.with(cap))
    }

    fn with(self, other: Bound) -> Self {
        let wire = self.wire.filter(|own| own.octets <= other.octets).or(Some(other));
        Self { wire, ..self }
    }

    /// The limit that EHLO announces and a declared SIZE is held against; `None` is no limit.
    pub fn announced(self) -> Option<Bound> {
        self.wire.into_iter().chain(self.stored).min_by_key(|bound| bound.octets)
    }

    /// The limit that a message of this size exceeds, if there is one.
    pub fn exceeded(self, wire: u64, stored: u64) -> Option<Bound> {
        let over = |limit: Option<Bound>, size| limit.filter(|limit| size > limit.octets);
        over(self.wire, wire).or(over(self.stored, stored))
    }
}

fn bound(octets: u64, rule: &'static str) -> Option<Bound> {
    (octets > 0).then_some(Bound { octets, rule, stored: false })
}

/// The number that qmail's control_readint and scan_ulong would read: the digits at its beginning, none being 0.
fn leading_digits(value: &[u8]) -> u64 {
    value
        .iter()
        .take_while(|octet| octet.is_ascii_digit())
        .fold(0_u64, |number, digit| number.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
}

/// `size.limit` when neither the key nor databytes is set: 25 MB.
const DEFAULT_LIMIT: u64 = 25_000_000;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policy::environment::Variables;

    fn octets(bound: Option<Bound>) -> Option<u64> {
        bound.map(|bound| bound.octets)
    }

    fn environment(databytes: Option<&str>) -> Environment {
        let pairs = databytes.map(|value| (b"DATABYTES".to_vec(), value.as_bytes().to_vec()));
        Environment::new(Arc::new(Variables::new(pairs)), None)
    }

    #[test]
    fn a_key_that_is_set_then_the_environment_then_the_control_file_then_the_default() {
        let rows = [
            ("nothing is set", None, None, None, Some(DEFAULT_LIMIT)),
            ("control/databytes", None, None, Some(1000), Some(1000)),
            ("control/databytes of 0 is no limit", None, None, Some(0), None),
            ("the environment rules over the control file", None, Some("2000"), Some(1000), Some(2000)),
            ("an environment of 0 takes the limit away", None, Some("0"), Some(1000), None),
            ("an empty one too, as qmail-smtpd has it", None, Some(""), Some(1000), None),
            ("the key rules over all", Some(3000), Some("2000"), Some(1000), Some(3000)),
            ("a key of 0 is none of ours", Some(0), Some("2000"), Some(1000), None),
            ("a number that does not fit saturates", None, Some("99999999999999999999999"), None, Some(u64::MAX)),
        ];
        for (what, limit, in_environment, databytes, expected) in rows {
            let rules = SizeRules { limit, databytes, caps: Vec::new() };
            assert_eq!(octets(rules.ours(&environment(in_environment)).announced()), expected, "{what}");
        }
    }

    #[test]
    fn databytes_counts_lf_line_ends_and_the_key_counts_crlf() {
        let stored = SizeRules { databytes: Some(1000), ..SizeRules::default() }.ours(&environment(None));
        assert_eq!(octets(stored.exceeded(1010, 1000)), None);
        assert_eq!(octets(stored.exceeded(1011, 1001)), Some(1000));
        let wire = SizeRules { limit: Some(1000), ..SizeRules::default() }.ours(&environment(None));
        assert_eq!(octets(wire.exceeded(1000, 990)), None);
        assert_eq!(octets(wire.exceeded(1001, 991)), Some(1000));
    }

    #[test]
    fn the_smallest_counts_and_zero_of_the_backend_is_no_limit() {
        let offer = |size| Offer { size, ..Offer::default() };
        let stored = SizeRules { databytes: Some(1000), ..SizeRules::default() }.ours(&environment(None));
        assert_eq!(stored.with_backend(&offer(Some(0))), stored);
        assert_eq!(stored.with_backend(&offer(None)), stored);
        assert_eq!(
            octets(stored.with_backend(&offer(Some(1000))).exceeded(1010, 1000)),
            None,
            "the same limit, said again"
        );
        assert_eq!(octets(stored.with_backend(&offer(Some(900))).exceeded(901, 890)), Some(900));
        assert_eq!(octets(stored.with_backend(&offer(Some(5000))).with_cap(700).announced()), Some(700));
    }
}

//! Envelope addresses: RFC 5321 4.1.2 read with nom, kept twice. The wire form goes to the backend; the folded form is
//! compared by lists and throttles, so that no spelling of a blocked address slips through. It must not judge anything.
//!
//! Deviations from the RFC: dots may stand anywhere in a local part, hyphens anywhere in a label, empty labels, `_` and a
//! trailing dot in a domain are tolerated, and an address may lack its domain, because people and their devices have such
//! addresses and qmail and Postfix take them; `\x` outside of quotes (RFC 821) is read, because qmail unescapes it; a source
//! route may name address literals, and a literal may be empty; the limits of 64 and 256 octets are not enforced, only qmail's 899. Blanks and comments
//! between the brackets are faults.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use idna::AsciiDenyList;
use memchr::memchr2;
use memchr::memchr3;
use memchr::memrchr;
use nom::IResult;
use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::tag;
use nom::bytes::complete::take_till;
use nom::bytes::complete::take_while;
use nom::bytes::complete::take_while_m_n;
use nom::bytes::complete::take_while1;
use nom::character::complete::char;
use nom::combinator::all_consuming;
use nom::combinator::map;
use nom::combinator::map_opt;
use nom::combinator::opt;
use nom::combinator::recognize;
use nom::combinator::value;
use nom::combinator::verify;
use nom::multi::many0_count;
use nom::multi::many1_count;
use nom::multi::separated_list1;
use nom::sequence::delimited;
use nom::sequence::preceded;
use nom::sequence::separated_pair;
use nom::sequence::terminated;

/// A mailbox of the envelope; without a domain it is `Postmaster`'s, or that of the backend's own host. Two addresses are
/// equal when they are spelled alike; to compare mailboxes compare [`Address::folded`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    wire: Box<str>,
    folded: Box<[u8]>,
    /// Where the last `@` of the folded form stands.
    at: Option<usize>,
}

impl Address {
    /// The address as it goes to the backend, without the brackets: no source route, the local part octet for octet as
    /// the client wrote it, the domain without its trailing dot.
    pub fn wire(&self) -> &[u8] {
        self.wire.as_bytes()
    }

    /// The same as text.
    pub fn as_str(&self) -> &str {
        &self.wire
    }

    /// The address as it is matched: quotes and backslashes removed, ASCII letters in lower case, the domain as
    /// A-labels (RFC 5890).
    pub fn folded(&self) -> &[u8] {
        &self.folded
    }

    /// The address as qmail-queue takes it: quotes and backslashes removed, letters as the client wrote them.
    pub fn unquoted(&self) -> Vec<u8> {
        let wire = self.wire();
        let Some(at) = self.at.and(memrchr(b'@', wire)) else { return wire.to_vec() };
        let mut unquoted = Vec::with_capacity(wire.len());
        unquote(&wire[..at], &mut unquoted);
        unquoted.extend_from_slice(&wire[at..]);
        unquoted
    }

    /// The domain of the folded form; `None` for `Postmaster`, and other addresses without one.
    pub fn domain(&self) -> Option<&[u8]> {
        Some(&self.folded[self.at? + 1..])
    }

    /// Whether the local part names another host (`a%b`, `b!a`, and a quoted or escaped `@`), to which a server that
    /// rewrites such addresses would send the mail on.
    pub fn has_route(&self) -> bool {
        let local = self.at.map_or(&*self.folded, |at| &self.folded[..at]);
        memchr3(b'%', b'!', b'@', local).is_some()
    }

    /// Whether the address needs no SMTPUTF8 (RFC 6531).
    pub fn is_ascii(&self) -> bool {
        self.wire.is_ascii()
    }

    /// An address with a domain; `None` when it is too long or not UTF-8 (RFC 6531 3.3 knows no other eight-bit text).
    fn new(local: &[u8], domain: &[u8]) -> Option<Self> {
        let wire = [local, b"@", domain].concat();
        let mut unquoted = Vec::with_capacity(wire.len());
        unquote(local, &mut unquoted);
        unquoted.push(b'@');
        unquoted.extend_from_slice(domain);
        Self::of(wire, unquoted)
    }

    /// An address of a `local` part alone, which must have no `@` in any spelling, or it would be taken for one with a
    /// domain.
    fn without_domain(local: &[u8]) -> Option<Self> {
        Self::of(local.to_vec(), local.to_vec())
    }

    fn of(wire: Vec<u8>, unquoted: Vec<u8>) -> Option<Self> {
        if wire.len() > MAX_ADDRESS {
            return None;
        }
        let wire = String::from_utf8(wire).ok()?;
        let folded = fold(unquoted);
        Some(Self { wire: wire.into(), at: memrchr(b'@', &folded), folded: folded.into() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.wire)
    }
}

/// Folds an address without quotes, or `@domain`, as [`Address::folded`] does, and entries of lists alike.
pub fn fold(address: impl Into<Vec<u8>>) -> Vec<u8> {
    let mut folded = address.into();
    folded.make_ascii_lowercase();
    let domain = memrchr(b'@', &folded).map_or(folded.len(), |at| at + 1);
    if !folded[domain..].is_ascii() {
        let labels = fold_domain(&folded[domain..]);
        folded.truncate(domain);
        folded.extend_from_slice(&labels);
    }
    folded
}

/// The entry of a list without its trailing dot: `a@b.` names the same mailbox as `a@b`.
pub fn without_trailing_dot(entry: &[u8]) -> &[u8] {
    match entry.strip_suffix(b".") {
        Some(shorter) if memrchr(b'@', shorter).is_some_and(|at| at + 1 < shorter.len()) => shorter,
        _ => entry,
    }
}

/// Folds a domain, which may have a dot in front, as [`Address::domain`] has it.
pub fn fold_domain(domain: &[u8]) -> Vec<u8> {
    if domain.is_ascii() {
        return domain.to_ascii_lowercase();
    }
    match str::from_utf8(domain).map(a_labels) {
        Ok(Cow::Owned(labels)) => labels.into_bytes(),
        _ => domain.to_ascii_lowercase(),
    }
}

/// A domain as A-labels (RFC 5891), so that `bücher.example` and `xn--bcher-kva.example` are the same. An ASCII domain,
/// or one that cannot be converted, stays as it is.
pub fn a_labels(domain: &str) -> Cow<'_, str> {
    if domain.is_ascii() {
        return Cow::Borrowed(domain);
    }
    // Signs that only look like an at sign or a bracket must not become one.
    let labels = idna::domain_to_ascii_cow(domain.as_bytes(), AsciiDenyList::URL);
    labels.map_or(Cow::Borrowed(domain), |labels| Cow::Owned(labels.into_owned()))
}

/// RFC 5321's reverse-path, to which failure notices go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`, the sender of failure notices (RFC 5321 4.5.5).
    Null,
    /// An address: `<a@b>`.
    Address(Address),
}

impl ReversePath {
    /// The address, unless it is the null sender.
    pub fn address(&self) -> Option<&Address> {
        match self {
            Self::Null => None,
            Self::Address(address) => Some(address),
        }
    }

    /// The path in its brackets.
    pub fn text(&self) -> String {
        ["<", self.address().map_or("", Address::as_str), ">"].concat()
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Address(address) => write!(f, "<{address}>"),
        }
    }
}

/// The reason why a text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressFault {
    /// The text has not the syntax of RFC 5321.
    Syntax,
    /// The text has more than [`MAX_ADDRESS`] octets.
    TooLong,
}

impl fmt::Display for AddressFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax => f.write_str("not an address: write local@domain"),
            Self::TooLong => write!(f, "longer than {MAX_ADDRESS} octets"),
        }
    }
}

impl Error for AddressFault {}

/// Reads `a@b` or `a`, without brackets and source route, as lists and the command line write it.
///
/// # Errors
/// [`AddressFault`] when the text is anything else.
pub fn parse_address(text: &[u8]) -> Result<Address, AddressFault> {
    let (_, address) =
        all_consuming(alt((mailbox, local_alone))).parse(text).map_err(|_| match text.len() > MAX_ADDRESS {
            true => AddressFault::TooLong,
            false => AddressFault::Syntax,
        })?;
    Ok(address)
}

/// Reads `<>` or a [`path`].
///
/// # Errors
/// nom's, when the input does not begin with one.
pub fn reverse_path(input: &[u8]) -> IResult<&[u8], ReversePath> {
    alt((value(ReversePath::Null, tag("<>")), map(path, ReversePath::Address))).parse(input)
}

/// Reads `<local@domain>` or `<local>`, such as `<Postmaster>` (RFC 5321 4.1.1.3); a source route is read and dropped
/// (RFC 5321 appendix C).
///
/// # Errors
/// nom's, when the input does not begin with one.
pub fn path(input: &[u8]) -> IResult<&[u8], Address> {
    let address = alt((preceded(opt(source_route), mailbox), local_alone));
    delimited(char('<'), address, char('>')).parse(input)
}

/// Reads an address without its brackets, as devices write it into MAIL and RCPT: one word with no quotes, escapes or
/// route. With an equals sign and no domain it is a parameter whose path is missing.
///
/// # Errors
/// nom's, when the input does not begin with one.
pub fn bare_path(input: &[u8]) -> IResult<&[u8], Address> {
    let mailbox = map_opt(separated_pair(plain_local, char('@'), host), |(local, domain)| Address::new(local, domain));
    let alone = verify(local_alone, |address: &Address| !address.wire().contains(&b'='));
    alt((mailbox, alone)).parse(input)
}

fn source_route(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let host = verify(host, |host: &[u8]| !host.is_empty());
    recognize(terminated(separated_list1(char(','), preceded(char('@'), host)), char(':'))).parse(input)
}

fn mailbox(input: &[u8]) -> IResult<&[u8], Address> {
    let parts = separated_pair(alt((quoted_string, dot_string)), char('@'), host);
    map_opt(parts, |(local, domain)| Address::new(local, domain)).parse(input)
}

/// Reads a plain local part alone: quoted or escaped it could have an `@`.
fn local_alone(input: &[u8]) -> IResult<&[u8], Address> {
    map_opt(plain_local, Address::without_domain).parse(input)
}

fn plain_local(input: &[u8]) -> IResult<&[u8], &[u8]> {
    take_while1(|octet| is_atext(octet) || octet == b'.').parse(input)
}

/// Reads a local part without quotes. Dots may stand anywhere: telephone companies gave out `a..b` and `b.` for
/// decades.
fn dot_string(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let quoted_pair = |input| quoted_pair(input, |octet| octet.is_ascii_graphic());
    recognize(many1_count(alt((plain_local, quoted_pair)))).parse(input)
}

fn quoted_string(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let quoted_pair = |input| quoted_pair(input, |octet| octet == b' ' || octet.is_ascii_graphic());
    let content = many0_count(alt((take_while1(is_qtext), quoted_pair)));
    recognize(delimited(char('"'), content, char('"'))).parse(input)
}

fn quoted_pair(input: &[u8], may_follow: impl Fn(u8) -> bool) -> IResult<&[u8], &[u8]> {
    recognize(preceded(char('\\'), take_while_m_n(1, 1, may_follow))).parse(input)
}

/// Reads a domain without its trailing dot, or an address literal. A host that does not know its name writes no domain,
/// or none before the dot: labels may be empty, but not the last, which would be another spelling of the domain before
/// it.
fn host(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let text = take_while(|octet| is_label_octet(octet) || octet == b'.');
    let domain = map_opt(text, |text: &[u8]| match text.strip_suffix(b".") {
        Some(domain) => (!domain.is_empty() && !domain.ends_with(b".")).then_some(domain),
        None => Some(text),
    });
    alt((address_literal, domain)).parse(input)
}

/// Reads an address literal. An empty one is qmail's: `#@[]` is the sender of its double bounces.
fn address_literal(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let text = verify(take_till(|octet| octet == b']'), |text: &[u8]| text.is_empty() || is_ip(text));
    recognize(delimited(char('['), text, char(']'))).parse(input)
}

/// Whether a text is an IP address of RFC 5321 4.1.3. The general form, `[tag:text]`, has no registered tag and is not
/// read.
fn is_ip(text: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(text) else { return false };
    match text.split_at_checked(IPV6_TAG.len()) {
        Some((tag, ip)) if tag.eq_ignore_ascii_case(IPV6_TAG) => ip.parse::<Ipv6Addr>().is_ok(),
        _ => text.parse::<Ipv4Addr>().is_ok(),
    }
}

fn is_atext(octet: u8) -> bool {
    ATEXT[usize::from(octet)]
}

/// RFC 5321 4.1.2's Atom and RFC 6531 3.3's additions: every octet of an address is looked up here.
const ATEXT: [bool; 256] = {
    let (mut table, mut octet) = ([false; 256], 0);
    while octet < 256 {
        table[octet] = octet >= 128 || (octet as u8).is_ascii_alphanumeric();
        octet += 1;
    }
    let (others, mut at) = (b"!#$%&'*+-/=?^_`{|}~", 0);
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
};

fn is_qtext(octet: u8) -> bool {
    !octet.is_ascii_control() && octet != b'"' && octet != b'\\'
}

fn is_label_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_' || !octet.is_ascii()
}

/// Adds a local part as it is meant: as in qmail's addrparse, quotes go and the octet after a backslash stays.
fn unquote(local: &[u8], plain: &mut Vec<u8>) {
    if memchr2(b'"', b'\\', local).is_none() {
        return plain.extend_from_slice(local);
    }
    let mut octets = local.iter();
    while let Some(&octet) = octets.next() {
        match octet {
            b'"' => {}
            b'\\' => plain.extend(octets.next()),
            _ => plain.push(octet),
        }
    }
}

/// Octets of the longest address that is read; qmail's addrparse takes as many.
pub const MAX_ADDRESS: usize = 899;

const IPV6_TAG: &str = "IPv6:";

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_blocked_address_fold_alike() {
        for (sentence, spelling) in SPELLINGS {
            let address = whole_path(spelling.as_bytes()).unwrap_or_else(|| panic!("{sentence}: {spelling}"));
            assert_eq!(text(address.folded()), "newsletter@sillyplace.com", "{sentence}: {spelling}");
            assert_eq!(address.domain(), Some(&b"sillyplace.com"[..]), "{sentence}: {spelling}");
        }
        assert!(SPELLINGS.len() >= 40);
    }

    const SPELLINGS: [(&str, &str); 44] = [
        ("plain", "<newsletter@sillyplace.com>"),
        ("upper case domain", "<newsletter@SILLYPLACE.COM>"),
        ("upper case local part", "<NEWSLETTER@sillyplace.com>"),
        ("all upper case", "<NEWSLETTER@SILLYPLACE.COM>"),
        ("first letters", "<Newsletter@Sillyplace.Com>"),
        ("mixed case", "<nEwSlEtTeR@sIlLyPlAcE.cOm>"),
        ("trailing dot", "<newsletter@sillyplace.com.>"),
        ("trailing dot, upper case", "<NEWSLETTER@SILLYPLACE.COM.>"),
        ("quotes", "<\"newsletter\"@sillyplace.com>"),
        ("quotes, upper case", "<\"NEWSLETTER\"@sillyplace.com>"),
        ("quotes, trailing dot", "<\"newsletter\"@sillyplace.com.>"),
        ("quotes, mixed case, trailing dot", "<\"NewsLetter\"@SillyPlace.com.>"),
        ("first letter escaped in quotes", "<\"\\newsletter\"@sillyplace.com>"),
        ("middle letter escaped in quotes", "<\"news\\letter\"@sillyplace.com>"),
        ("last letter escaped in quotes", "<\"newslette\\r\"@sillyplace.com>"),
        ("every letter escaped in quotes", "<\"\\n\\e\\w\\s\\l\\e\\t\\t\\e\\r\"@sillyplace.com>"),
        ("two letters escaped, upper case", "<\"\\NEWS\\LETTER\"@sillyplace.com>"),
        ("escape in quotes, trailing dot", "<\"news\\letter\"@sillyplace.com.>"),
        ("escape in quotes, upper case, trailing dot", "<\"NEWS\\LETTER\"@SILLYPLACE.COM.>"),
        ("first letter escaped without quotes", "<\\newsletter@sillyplace.com>"),
        ("middle letter escaped without quotes", "<news\\letter@sillyplace.com>"),
        ("last letter escaped without quotes", "<newslette\\r@sillyplace.com>"),
        ("every letter escaped without quotes", "<\\n\\e\\w\\s\\l\\e\\t\\t\\e\\r@sillyplace.com>"),
        ("escape without quotes, upper case", "<NEWS\\LETTER@sillyplace.com>"),
        ("escape without quotes, trailing dot", "<news\\letter@sillyplace.com.>"),
        ("route of one host", "<@relay.example:newsletter@sillyplace.com>"),
        ("route of two hosts", "<@a.example,@b.example:newsletter@sillyplace.com>"),
        ("route of three hosts", "<@a.example,@b.example,@c.example:newsletter@sillyplace.com>"),
        ("route through itself", "<@sillyplace.com:newsletter@sillyplace.com>"),
        ("route with a trailing dot", "<@relay.example.:newsletter@sillyplace.com>"),
        ("route of one label", "<@localhost:newsletter@sillyplace.com>"),
        ("route by IPv4 literal", "<@[192.0.2.1]:newsletter@sillyplace.com>"),
        ("route by IPv6 literal, which has colons", "<@[IPv6:2001:db8::1]:newsletter@sillyplace.com>"),
        ("route by IPv6 literal, tag in lower case", "<@[ipv6:::1]:newsletter@sillyplace.com>"),
        ("route by IPv6 literal then host", "<@[IPv6:2001:db8::1],@b.example:newsletter@sillyplace.com>"),
        ("route by host then IPv6 literal", "<@a.example,@[IPv6:::ffff:192.0.2.1]:newsletter@sillyplace.com>"),
        ("route, upper case", "<@RELAY.EXAMPLE:NEWSLETTER@SILLYPLACE.COM>"),
        ("route, quotes", "<@relay.example:\"newsletter\"@sillyplace.com>"),
        ("route, escape in quotes", "<@relay.example:\"news\\letter\"@sillyplace.com>"),
        ("route, escape without quotes", "<@relay.example:news\\letter@sillyplace.com>"),
        ("route, trailing dot", "<@relay.example:newsletter@sillyplace.com.>"),
        ("IPv6 route, quotes", "<@[IPv6:2001:db8::1]:\"newsletter\"@sillyplace.com>"),
        ("IPv6 route, quotes, escape", "<@[IPv6:2001:db8::1]:\"\\newsletter\"@sillyplace.com>"),
        (
            "all of it",
            "<@A.example.,@[IPv6:2001:DB8::1],@[192.0.2.1]:\"\\N\\e\\W\\s\\L\\e\\T\\t\\E\\r\"@SillyPlace.COM.>",
        ),
    ];

    #[test]
    fn what_is_no_path() {
        for (sentence, path) in FAULTS {
            assert_eq!(whole_path(path), None, "{sentence}");
        }
    }

    const FAULTS: [(&str, &[u8]); 51] = [
        ("nothing", b""),
        ("no brackets", b"newsletter@sillyplace.com"),
        ("no closing bracket", b"<newsletter@sillyplace.com"),
        ("no opening bracket", b"newsletter@sillyplace.com>"),
        ("double brackets", b"<<newsletter@sillyplace.com>>"),
        ("a second closing bracket", b"<newsletter@sillyplace.com>>"),
        ("the null path is not a path", b"<>"),
        ("a blank only", b"< >"),
        ("blank in front", b"< newsletter@sillyplace.com>"),
        ("blank behind", b"<newsletter@sillyplace.com >"),
        ("blank before the at sign", b"<newsletter @sillyplace.com>"),
        ("blank after the at sign", b"<newsletter@ sillyplace.com>"),
        ("blank inside the local part", b"<news letter@sillyplace.com>"),
        ("blank inside the domain", b"<newsletter@silly place.com>"),
        ("blank between quotes and at sign", b"<\"newsletter\" @sillyplace.com>"),
        ("escaped blank without quotes", b"<news\\ letter@sillyplace.com>"),
        ("tab in front", b"<\tnewsletter@sillyplace.com>"),
        ("tab behind", b"<newsletter@sillyplace.com\t>"),
        ("tab in quotes", b"<\"news\tletter\"@sillyplace.com>"),
        ("escaped tab in quotes", b"<\"news\\\tletter\"@sillyplace.com>"),
        ("NUL behind", b"<newsletter@sillyplace.com\0>"),
        ("NUL in the local part", b"<newsletter\0@sillyplace.com>"),
        ("NUL in quotes", b"<\"newsletter\0\"@sillyplace.com>"),
        ("CR in quotes", b"<\"news\rletter\"@sillyplace.com>"),
        ("DEL", b"<newsletter\x7f@sillyplace.com>"),
        ("comment in front", b"<(c)newsletter@sillyplace.com>"),
        ("comment before the at sign", b"<newsletter(c)@sillyplace.com>"),
        ("comment behind", b"<newsletter@sillyplace.com(c)>"),
        ("a backslash that escapes nothing", b"<newsletter\\@sillyplace.com>"),
        ("a backslash at the end of quotes", b"<\"newsletter\\\"@sillyplace.com>"),
        ("quotes around a part", b"<news\"letter\"@sillyplace.com>"),
        ("quotes around a word", b"<\"news\".letter@sillyplace.com>"),
        ("an open quote", b"<\"newsletter@sillyplace.com>"),
        ("quotes around everything", b"<\"newsletter@sillyplace.com\">"),
        ("no domain, in quotes", b"<\"newsletter\">"),
        ("no domain, escaped", b"<news\\letter>"),
        ("no domain, an escaped at sign", b"<newsletter\\@sillyplace.com>"),
        ("no domain behind a route", b"<@a.example:newsletter>"),
        ("a dot for a domain", b"<newsletter@.>"),
        ("no local part", b"<@sillyplace.com>"),
        ("an empty host in a route", b"<@:newsletter@sillyplace.com>"),
        ("an empty domain, quotes around all", b"<\"newsletter@\">"),
        ("a route to nowhere", b"<@sillyplace.com:>"),
        ("two routes", b"<@a.example:@b.example:newsletter@sillyplace.com>"),
        ("a blank in the route", b"<@a.example, @b.example:newsletter@sillyplace.com>"),
        ("an empty route", b"<:newsletter@sillyplace.com>"),
        ("two at signs", b"<newsletter@evil@sillyplace.com>"),
        ("two trailing dots", b"<newsletter@sillyplace.com..>"),
        ("a literal that is no address", b"<a@[300.0.2.1]>"),
        ("IPv6 without its tag", b"<a@[2001:db8::1]>"),
        ("eight-bit text that is not UTF-8", b"<caf\xe9@sillyplace.com>"),
    ];

    #[test]
    fn wire_folded_domain() {
        for (sentence, path, wire, folded, domain) in READ {
            let address = whole_path(path.as_bytes()).unwrap_or_else(|| panic!("{sentence}"));
            assert_eq!(text(address.wire()), wire, "{sentence}");
            assert_eq!(address.to_string(), wire, "{sentence}");
            assert_eq!(text(address.folded()), folded, "{sentence}");
            assert_eq!(text(address.domain().unwrap()), domain, "{sentence}");
            assert_eq!(address.is_ascii(), wire.is_ascii(), "{sentence}");
        }
    }

    const READ: [(&str, &str, &str, &str, &str); 35] = [
        ("a route is dropped", "<@a.example:B@C.example>", "B@C.example", "b@c.example", "c.example"),
        ("quotes go on", "<\"a b\"@x.example>", "\"a b\"@x.example", "a b@x.example", "x.example"),
        ("a colon in quotes", "<\"a:b\"@x.example>", "\"a:b\"@x.example", "a:b@x.example", "x.example"),
        (
            "route, colon in quotes",
            "<@r.example:\"@a:b\"@x.example>",
            "\"@a:b\"@x.example",
            "@a:b@x.example",
            "x.example",
        ),
        ("an at sign in quotes", "<\"a@b\"@x.example>", "\"a@b\"@x.example", "a@b@x.example", "x.example"),
        ("a bracket in quotes", "<\"a>b\"@x.example>", "\"a>b\"@x.example", "a>b@x.example", "x.example"),
        ("an escaped quote", "<\"a\\\"b\"@x.example>", "\"a\\\"b\"@x.example", "a\"b@x.example", "x.example"),
        ("an escaped backslash", "<\"a\\\\\"@x.example>", "\"a\\\\\"@x.example", "a\\@x.example", "x.example"),
        ("an escaped at sign", "<a\\@b@x.example>", "a\\@b@x.example", "a@b@x.example", "x.example"),
        ("an escaped bracket", "<a\\>b@x.example>", "a\\>b@x.example", "a>b@x.example", "x.example"),
        ("an escape goes on", "<news\\letter@x>", "news\\letter@x", "newsletter@x", "x"),
        ("empty quotes", "<\"\"@x.example>", "\"\"@x.example", "@x.example", "x.example"),
        ("a trailing dot goes", "<a@X.example.>", "a@X.example", "a@x.example", "x.example"),
        ("an IPv4 literal", "<a@[192.0.2.1]>", "a@[192.0.2.1]", "a@[192.0.2.1]", "[192.0.2.1]"),
        ("an IPv6 literal", "<a@[IPv6:2001:DB8::1]>", "a@[IPv6:2001:DB8::1]", "a@[ipv6:2001:db8::1]", {
            "[ipv6:2001:db8::1]"
        }),
        ("the sender of qmail's double bounces", "<#@[]>", "#@[]", "#@[]", "[]"),
        ("an underscore", "<a@_x.example>", "a@_x.example", "a@_x.example", "_x.example"),
        ("a hyphen at a label's end", "<a@Cabinet-.example>", "a@Cabinet-.example", "a@cabinet-.example", {
            "cabinet-.example"
        }),
        ("a hyphen at its start", "<a@-x.example>", "a@-x.example", "a@-x.example", "-x.example"),
        ("an empty domain", "<Root@>", "Root@", "root@", ""),
        ("no name before the dot", "<root@.LAN>", "root@.LAN", "root@.lan", ".lan"),
        ("an empty label", "<root@nas..lan.>", "root@nas..lan", "root@nas..lan", "nas..lan"),
        ("two dots", "<Try..this..0511@d.example>", "Try..this..0511@d.example", "try..this..0511@d.example", {
            "d.example"
        }),
        ("a dot at the end", "<b.@x.example>", "b.@x.example", "b.@x.example", "x.example"),
        ("a dot in front", "<.c@x.example>", ".c@x.example", ".c@x.example", "x.example"),
        ("dots behind a route", "<@r.example:.b.@x>", ".b.@x", ".b.@x", "x"),
        ("an escaped dot", "<a\\..b@x>", "a\\..b@x", "a..b@x", "x"),
        ("quotes around dots", "<\"a..b\"@x>", "\"a..b\"@x", "a..b@x", "x"),
        ("every special of an atom", "<!#$%&'*+-/=?^_`{|}~@x>", "!#$%&'*+-/=?^_`{|}~@x", "!#$%&'*+-/=?^_`{|}~@x", "x"),
        (
            "UTF-8 keeps its case in a local part",
            "<CAFÉ@xn--MLL-hoa.example>",
            "CAFÉ@xn--MLL-hoa.example",
            "cafÉ@xn--mll-hoa.example",
            "xn--mll-hoa.example",
        ),
        ("a U-label", "<a@MÜLL.example.>", "a@MÜLL.example", "a@xn--mll-hoa.example", "xn--mll-hoa.example"),
        ("wide letters", "<a@ｂ．example>", "a@ｂ．example", "a@b.example", "b.example"),
        ("a wide at sign is none", "<a@b＠c.example>", "a@b＠c.example", "a@b＠c.example", "b＠c.example"),
        ("what is no IDN", "<a@-é-.X>", "a@-é-.X", "a@xn-----bja.x", "xn-----bja.x"),
        ("a lone mark", "<a@\u{301}.X>", "a@\u{301}.X", "a@\u{301}.x", "\u{301}.x"),
    ];

    #[test]
    fn a_u_label_and_its_a_label_are_one_domain() {
        let rows = [
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.Example", "XN--BCHER-KVA.example"),
            (".bücher.example", ".xn--bcher-kva.example"),
            ("faß.example", "xn--fa-hia.example"),
            ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
            ("b\u{fc}cher.example", "bu\u{308}cher.example"),
            ("plain.example", "PLAIN.example"),
        ];
        for (one, other) in rows {
            assert_eq!(text(&fold_domain(one.as_bytes())), text(&fold_domain(other.as_bytes())), "{one}");
            let address = |domain| fold(format!("Ä@{domain}"));
            assert_eq!(text(&address(one)), text(&address(other)), "{one}");
        }
        assert_eq!(fold_domain(b"B\xfccher.example"), b"b\xfccher.example", "Latin-1 is compared as it is");
    }

    #[test]
    fn reverse_paths() {
        let (rest, null) = reverse_path(b"<> SIZE=1").unwrap();
        assert_eq!((rest, &null, null.address()), (&b" SIZE=1"[..], &ReversePath::Null, None));
        assert_eq!(null.to_string(), "<>");
        let (_, sender) = reverse_path(b"<@r.example:a@b.>").unwrap();
        assert_eq!(sender.to_string(), "<a@b>");
        let (_, sender) = reverse_path(b"<Root>").unwrap();
        assert_eq!((sender.to_string(), sender.address().and_then(Address::domain)), ("<Root>".to_owned(), None));
    }

    #[test]
    fn an_address_needs_no_domain() {
        let rows = [
            ("Postmaster", "PostMaster"),
            ("a user of the host", "root"),
            ("with dots", "a..b."),
            ("of UUCP", "elsewhere!joe"),
            ("percent", "joe%elsewhere.example"),
            ("UTF-8", "Käthe"),
        ];
        for (sentence, wire) in rows {
            let address = whole_path(format!("<{wire}>").as_bytes()).unwrap_or_else(|| panic!("{sentence}"));
            let folded = wire.to_ascii_lowercase();
            assert_eq!((address.wire(), address.folded()), (wire.as_bytes(), folded.as_bytes()), "{sentence}");
            assert_eq!(address.domain(), None, "{sentence}");
            assert_eq!(parse_address(wire.as_bytes()), Ok(address), "{sentence}");
        }
    }

    #[test]
    fn an_address_without_brackets_is_one_plain_word() {
        let rows = [
            ("an address", "A.@b.example", Some("A.@b.example")),
            ("a trailing dot", "a@b.example.", Some("a@b.example")),
            ("an address literal", "a@[192.0.2.1]", Some("a@[192.0.2.1]")),
            ("no domain", "root", Some("root")),
            ("an equals sign and a domain", "prvs=1234=a@b.example", Some("prvs=1234=a@b.example")),
            ("a parameter", "SIZE=5", None),
            ("nothing", "", None),
            ("quotes", "\"a\"@b.example", None),
            ("an escape", "\\a@b.example", None),
            ("a route", "@r.example:a@b.example", None),
            ("brackets", "<a@b.example>", None),
            ("no local part", "@b.example", None),
            ("two at signs", "a@b@c", None),
        ];
        for (sentence, word, expected) in rows {
            let address = all_consuming(bare_path).parse(word.as_bytes()).ok().map(|(_, address)| address.to_string());
            assert_eq!(address.as_deref(), expected, "{sentence}");
        }
    }

    #[test]
    fn plain_addresses() {
        let longest = format!("{}@b", "a".repeat(MAX_ADDRESS - 2));
        let rows = [
            ("an address", "A@b", Ok("a@b")),
            ("brackets", "<a@b>", Err(AddressFault::Syntax)),
            ("a route", "@r:a@b", Err(AddressFault::Syntax)),
            ("text behind", "a@b c", Err(AddressFault::Syntax)),
            ("no domain", "A", Ok("a")),
            ("an empty domain", "A@", Ok("a@")),
            ("a dot for a domain", "a@.", Err(AddressFault::Syntax)),
            ("the longest", &longest, Ok(&*longest)),
            ("too long by one", &format!("a{longest}"), Err(AddressFault::TooLong)),
        ];
        for (sentence, text, expected) in rows {
            let folded = parse_address(text.as_bytes()).map(|address| self::text(address.folded()).to_owned());
            assert_eq!(folded, expected.map(str::to_owned), "{sentence}");
        }
    }

    proptest! {
        #[test]
        fn wire_read_again_is_itself(path in any_path()) {
            let address = whole_path(path.as_bytes()).unwrap();
            prop_assert_eq!(parse_address(address.wire()), Ok(address.clone()));
            let bracketed = format!("<{address}>");
            prop_assert_eq!(whole_path(bracketed.as_bytes()), Some(address));
        }

        #[test]
        fn what_near_misses_give_reads_again(path in "<[@a\"\\\\ .:,>(\\[\\]é]{0,12}(@[a.\\[\\]@]{1,4})?>") {
            if let Some(address) = whole_path(path.as_bytes()) {
                prop_assert_eq!(address.domain().is_some(), address.wire().contains(&b'@'));
                prop_assert_eq!(parse_address(address.wire()), Ok(address));
            }
        }

        #[test]
        fn what_is_folded_stays(local in "\\PC{0,8}", domain in "(\\PC|[a-zA-Z.-]){0,20}") {
            let folded = fold(format!("{local}@{domain}"));
            prop_assert_eq!(fold(folded.clone()), folded);
            let domain = fold_domain(domain.as_bytes());
            prop_assert_eq!(fold_domain(&domain), domain);
        }

        #[test]
        fn without_brackets_it_is_the_same(word in "[@a\"\\\\ .:,=(\\[\\]é]{0,12}(@[a.\\[\\]@]{1,4})?") {
            if let Ok((_, address)) = all_consuming(bare_path).parse(word.as_bytes()) {
                prop_assert_eq!(whole_path(format!("<{word}>").as_bytes()), Some(address));
            }
        }

        #[test]
        fn no_octets_panic(octets in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = (path(&octets), reverse_path(&octets), bare_path(&octets), parse_address(&octets));
        }
    }

    fn any_path() -> impl Strategy<Value = String> {
        let local =
            prop_oneof!["[a-zA-Z0-9!#$%é+.-]{1,8}(\\.[a-z]{1,4}){0,2}", "\"([ !#-\\[\\]-~ü]|\\\\[ -~]){0,8}\"", {
                "(\\\\[!-~]|[a-z]){1,5}"
            }];
        let host = prop_oneof![
            "[a-z0-9_-]{1,5}(\\.[A-Zé-]{1,5}){0,2}\\.?",
            any::<Ipv4Addr>().prop_map(|ip| format!("[{ip}]")),
            any::<Ipv6Addr>().prop_map(|ip| format!("[IPv6:{ip}]")),
        ];
        let route = proptest::collection::vec(host.clone().prop_map(|host| format!("@{host}")), 0..3);
        (route, local, host).prop_map(|(route, local, host)| match route.join(",") {
            route if route.is_empty() => format!("<{local}@{host}>"),
            route => format!("<{route}:{local}@{host}>"),
        })
    }

    fn whole_path(octets: &[u8]) -> Option<Address> {
        all_consuming(path).parse(octets).ok().map(|(_, address)| address)
    }

    fn text(octets: &[u8]) -> &str {
        str::from_utf8(octets).unwrap()
    }
}

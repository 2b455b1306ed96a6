//! Parameters of MAIL and RCPT (RFC 5321 4.1.2, esmtp-param): read, and written again. It must not know what any of
//! them means; only the form of those of RFC 3461 stands here too.
//!
//! Deviation from the RFC: more than one blank before a parameter is tolerated.

use bytes::BufMut;
use bytes::BytesMut;
use nom::IResult;
use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::tag;
use nom::bytes::complete::take_while;
use nom::bytes::complete::take_while_m_n;
use nom::bytes::complete::take_while1;
use nom::character::complete::char;
use nom::character::complete::space1;
use nom::combinator::eof;
use nom::combinator::map;
use nom::combinator::map_res;
use nom::combinator::opt;
use nom::combinator::peek;
use nom::combinator::recognize;
use nom::error::Error;
use nom::sequence::pair;
use nom::sequence::preceded;
use nom::sequence::terminated;

/// `NAME` or `NAME=value` behind a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The name, in upper case.
    pub name: String,
    /// The value, as it was written.
    pub value: Option<String>,
}

impl Parameter {
    /// A parameter with a value; `name` must be in upper case.
    pub(crate) fn new(name: &str, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: Some(value.into()) }
    }

    /// Writes the parameter behind a command, when `keep` says so of its name.
    pub(crate) fn write(&self, line: &mut BytesMut, keep: impl Fn(&str) -> bool) {
        if !keep(&self.name) {
            return;
        }
        line.put_u8(b' ');
        line.put_slice(self.name.as_bytes());
        if let Some(value) = &self.value {
            line.put_u8(b'=');
            line.put_slice(value.as_bytes());
        }
    }
}

/// Reads all parameters behind a path. Each name may stand once: servers disagree about which of two counts.
///
/// # Errors
/// The name of the first parameter that is broken, doubled, or one too many.
pub(crate) fn parameters(input: &[u8]) -> Result<Vec<Parameter>, String> {
    let mut one_each: Vec<Parameter> = Vec::new();
    let mut input = input;
    while !input.is_empty() {
        let (rest, parameter) = preceded(space1, before_blank(parameter))
            .parse(input)
            .map_err(|_: nom::Err<Error<&[u8]>>| name_of_broken(input, &one_each))?;
        if one_each.len() == MAX_PARAMETERS || one_each.iter().any(|earlier| earlier.name == parameter.name) {
            return Err(parameter.name);
        }
        one_each.push(parameter);
        input = rest;
    }
    Ok(one_each)
}

/// The output of `parser`, where a blank or nothing follows: `<a@b>SIZE=1` is no path with a parameter.
pub(crate) fn before_blank<'a, Out>(
    parser: impl Parser<&'a [u8], Output = Out, Error = Error<&'a [u8]>>,
) -> impl Parser<&'a [u8], Output = Out, Error = Error<&'a [u8]>> {
    terminated(parser, peek(alt((eof, tag(" ")))))
}

/// A keyword as it is compared; octets that are not UTF-8 are replaced.
pub(crate) fn upper_case(text: &[u8]) -> String {
    String::from_utf8_lossy(text).to_ascii_uppercase()
}

/// Reads a parameter: RFC 5321 4.1.2's esmtp-param, with RFC 6531 3.3's UTF-8 in values.
fn parameter(input: &[u8]) -> IResult<&[u8], Parameter> {
    let name = recognize(pair(
        take_while_m_n(1, 1, |octet: u8| octet.is_ascii_alphanumeric()),
        take_while(|octet: u8| octet.is_ascii_alphanumeric() || octet == b'-'),
    ));
    let text = take_while1(|octet: u8| (octet.is_ascii_graphic() || !octet.is_ascii()) && octet != b'=');
    let value = opt(preceded(char('='), map_res(text, str::from_utf8)));
    map(pair(name, value), |(name, value)| Parameter { name: upper_case(name), value: value.map(str::to_owned) })
        .parse(input)
}

/// The name of a parameter that is broken. `SIZE =5` is a parameter and a word without a name: the fault is the
/// parameter's.
fn name_of_broken(input: &[u8], earlier: &[Parameter]) -> String {
    let word = input.trim_ascii_start().split(|&octet| octet == b' ').next().unwrap_or_default();
    match (word.split(|&octet| octet == b'=').next(), earlier.last()) {
        (Some([]), Some(last)) if last.value.is_none() => last.name.clone(),
        (Some([]) | None, _) => upper_case(word),
        (Some(name), _) => upper_case(name),
    }
}

/// Whether a parameter of RFC 3461 has a value of its form: RET, ENVID, NOTIFY and ORCPT (with RFC 6533's types). Of ORCPT
/// only the type is looked at, because many a client writes the plain address behind it.
pub(crate) fn is_dsn_value(name: &str, value: Option<&str>) -> bool {
    let Some(value) = value else { return false };
    let is_one_of = |word: &str, words: &[&str]| words.iter().any(|known| word.eq_ignore_ascii_case(known));
    match name {
        "RET" => is_one_of(value, &["FULL", "HDRS"]),
        "ENVID" => value.len() <= MAX_ENVID && is_xtext(value),
        "NOTIFY" => {
            let events = &["SUCCESS", "FAILURE", "DELAY"];
            is_one_of(value, &["NEVER"]) || value.split(',').all(|word| is_one_of(word, events))
        }
        "ORCPT" => value.split_once(';').is_some_and(|(kind, address)| !kind.is_empty() && !address.is_empty()),
        _ => true,
    }
}

/// Whether a text is xtext (RFC 3461 section 4), with hexadecimal digits in either case.
fn is_xtext(text: &str) -> bool {
    let mut parts = text.split('+');
    let is_plain = |part: &str| part.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'=');
    let is_hex = |part: &str| part.len() >= 2 && part.bytes().take(2).all(|octet| octet.is_ascii_hexdigit());
    parts.next().is_some_and(is_plain) && parts.all(|part| is_hex(part) && is_plain(part))
}

/// Characters of an envelope id, as xtext (RFC 3461 section 4.4).
const MAX_ENVID: usize = 100;

/// Most parameters of a command: more than all extensions together have.
pub(crate) const MAX_PARAMETERS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_path() {
        let rows = [
            ("nothing", "", Ok("")),
            ("a name", " smtputf8", Ok(" SMTPUTF8")),
            ("a name and a value", " Ret=Full", Ok(" RET=Full")),
            ("signs in a value", " X-1=<a@b>+;:,", Ok(" X-1=<a@b>+;:,")),
            ("many blanks", "   A   B=1", Ok(" A B=1")),
            ("UTF-8 in a value", " ORCPT=utf-8;é", Ok(" ORCPT=utf-8;é")),
            ("no blank", "A", Err("A")),
            ("no value", " A= B", Err("A")),
            ("no name", " =1", Err("=1")),
            ("no name behind a value", " A=1 =2", Err("=2")),
            ("a blank before the equals sign", " A =1", Err("A")),
            ("a hyphen first", " -A", Err("-A")),
            ("two equal signs", " A=b=c", Err("A")),
            ("twice", " A=1 a=1", Err("A")),
            ("an underscore", " A B_C=1", Err("B_C")),
        ];
        for (sentence, text, expected) in rows {
            let written = parameters(text.as_bytes()).map(|parameters| {
                let mut line = BytesMut::new();
                parameters.iter().for_each(|parameter| parameter.write(&mut line, |_| true));
                line
            });
            assert_eq!(written, expected.map(BytesMut::from).map_err(str::to_owned), "{sentence}");
        }
        assert_eq!(parameters(b" A=\xff"), Err("A".to_owned()), "eight-bit text that is not UTF-8");
    }

    #[test]
    fn values_of_dsn() {
        let long = "x".repeat(MAX_ENVID);
        let rows = [
            ("RET", "full", true),
            ("RET", "FULL,HDRS", false),
            ("ENVID", "QQ314159", true),
            ("ENVID", "<a+2Bb+3d@x>", true),
            ("ENVID", "a+b", false),
            ("ENVID", "a+", false),
            ("ENVID", "ä", false),
            ("ENVID", &long, true),
            ("ENVID", &format!("{long}x"), false),
            ("NOTIFY", "never", true),
            ("NOTIFY", "SUCCESS,Failure,DELAY", true),
            ("NOTIFY", "NEVER,DELAY", false),
            ("NOTIFY", "FOO", false),
            ("NOTIFY", "DELAY,", false),
            ("ORCPT", "rfc822;joe+2Btag@x.example", true),
            ("ORCPT", "rfc822;joe+tag@x.example", true),
            ("ORCPT", "utf-8;jö@x.example", true),
            ("ORCPT", "joe@x.example", false),
            ("ORCPT", ";joe@x.example", false),
            ("ORCPT", "rfc822;", false),
        ];
        for (name, value, expected) in rows {
            assert_eq!(is_dsn_value(name, Some(value)), expected, "{name}={value}");
        }
        assert!(!is_dsn_value("NOTIFY", None));
    }
}

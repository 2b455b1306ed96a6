//! Commands: a line of the client (RFC 5321 4.1.1, 1870, 3030, 4954, 6152, 6531) becomes a value, and MAIL and RCPT are
//! written again from the value, so that the backend reads what we judged. It must not know the session's state:
//! whether a command may come now, and whether a parameter was offered, is the session's to say.
//!
//! Deviations from the RFC: white space at the end of a line, blanks after the colon of MAIL and RCPT, an address without its
//! brackets where no bracket stands in the line at all, and more than one blank before a parameter are tolerated. Control
//! octets are refused wherever they stand, also in quoted strings.

use bytes::BufMut;
use bytes::Bytes;
use bytes::BytesMut;
use memchr::memchr2;
use nom::IResult;
use nom::Parser;
use nom::bytes::complete::tag_no_case;
use nom::bytes::complete::take_till1;
use nom::bytes::complete::take_while_m_n;
use nom::bytes::complete::take_while1;
use nom::character::complete::char;
use nom::character::complete::space0;
use nom::combinator::all_consuming;
use nom::combinator::map;
use nom::combinator::opt;
use nom::sequence::pair;
use nom::sequence::preceded;
use nom::sequence::terminated;

use crate::smtp::address::Address;
use crate::smtp::address::ReversePath;
use crate::smtp::address::bare_path;
use crate::smtp::address::path;
use crate::smtp::address::reverse_path;
pub use crate::smtp::parameter::Parameter;
use crate::smtp::parameter::before_blank;
use crate::smtp::parameter::is_dsn_value;
use crate::smtp::parameter::parameters;
use crate::smtp::parameter::upper_case;

/// Reads one line, without its line end.
///
/// # Errors
/// [`CommandFault`] when the line is no command, or a command that is not written as the RFC has it.
pub fn parse(line: &[u8]) -> Result<Command, CommandFault> {
    if is_tls_hello(line) {
        return Ok(Command::TlsHello);
    }
    let end = line.iter().rposition(|&octet| octet != b' ' && octet != b'\t').map_or(0, |last| last + 1);
    let line = &line[..end];
    // All octets are looked at, without an early end: sixteen at a time.
    if line.iter().fold(false, |any, octet| any | octet.is_ascii_control()) {
        return Err(CommandFault::ControlOctet);
    }
    let (arguments, word) = word(line).map_err(|_| CommandFault::Syntax)?;
    match VERBS.iter().find(|Verb(verb, _)| word.eq_ignore_ascii_case(verb.as_bytes())) {
        Some(Verb(_, command)) => command(arguments),
        None if is_http(word, arguments) => Ok(Command::Http),
        None if word.iter().all(u8::is_ascii_alphabetic) => Ok(Command::Unknown),
        None => Err(CommandFault::Syntax),
    }
}

/// Whether these are the first octets of a TLS handshake (RFC 8446 5.1). It may hold no line end for long, so a reader
/// that waits for a line should ask this too.
pub fn is_tls_hello(octets: &[u8]) -> bool {
    octets.starts_with(TLS_HELLO)
}

/// The record type of a handshake, and the major version.
pub const TLS_HELLO: &[u8] = &[0x16, 0x03];

/// A command of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// AUTH (RFC 4954). Holds a secret: not to be logged.
    Auth {
        /// The mechanism, in upper case.
        mechanism: String,
        /// The initial response as it was written: base64, or `=` for an empty one.
        initial: Option<Bytes>,
    },
    /// BDAT (RFC 3030); octets that are not commands will follow.
    Bdat,
    /// DATA (RFC 5321 4.1.1.4).
    Data,
    /// EHLO with the client's name: one word.
    Ehlo(Bytes),
    /// EXPN (RFC 5321 4.1.1.7).
    Expn,
    /// HELO with the client's name: one word.
    Helo(Bytes),
    /// HELP (RFC 5321 4.1.1.8).
    Help,
    /// HTTP, or header lines: somebody makes a browser talk to us.
    Http,
    /// MAIL (RFC 5321 4.1.1.2).
    Mail(Mail),
    /// NOOP (RFC 5321 4.1.1.9).
    Noop,
    /// QUIT (RFC 5321 4.1.1.10).
    Quit,
    /// RCPT (RFC 5321 4.1.1.3).
    Rcpt(Rcpt),
    /// RSET (RFC 5321 4.1.1.5).
    Rset,
    /// STARTTLS (RFC 3207).
    StartTls,
    /// A TLS handshake that the client begins without STARTTLS.
    TlsHello,
    /// A word that is no command we know.
    Unknown,
    /// A command of SMTP that we shall never serve, nor let through.
    Unsupported(&'static str),
    /// VRFY (RFC 5321 4.1.1.6).
    Vrfy,
}

/// MAIL: the sender and the parameters about the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The reverse-path, to which failure notices go.
    pub sender: ReversePath,
    /// Octets of the message with CRLF line ends (RFC 1870). A number that does not fit is `u64::MAX`.
    pub size: Option<u64>,
    /// The value of `BODY=` (RFC 6152, 3030).
    pub body: Option<Body>,
    /// Whether SMTPUTF8 stands there (RFC 6531).
    pub smtputf8: bool,
    /// The value of `AUTH=` (RFC 4954 5), as it was written: xtext or `<>`.
    pub auth: Option<String>,
    /// All other parameters, in the client's order.
    pub others: Vec<Parameter>,
}

impl Mail {
    /// The command line for the backend, with CRLF. A parameter is written when `keep` says so of its name.
    pub fn wire(&self, keep: impl Fn(&str) -> bool) -> Bytes {
        let sender = self.sender.address().map_or(b"".as_slice(), Address::wire);
        let mut line = path_line("MAIL FROM:<", sender);
        let own = [
            self.size.map(|size| Parameter::new("SIZE", size.to_string())),
            self.body.map(|body| Parameter::new("BODY", body.as_str())),
            self.smtputf8.then(|| Parameter { name: "SMTPUTF8".into(), value: None }),
            self.auth.as_deref().map(|auth| Parameter::new("AUTH", auth)),
        ];
        for parameter in own.iter().flatten().chain(&self.others) {
            parameter.write(&mut line, &keep);
        }
        line.put_slice(b"\r\n");
        line.freeze()
    }

    fn take(&mut self, Parameter { name, value }: Parameter) -> Result<(), CommandFault> {
        match (name.as_str(), value) {
            ("SIZE", Some(value)) if value.bytes().all(|octet| octet.is_ascii_digit()) => {
                self.size = Some(value.parse().unwrap_or(u64::MAX));
            }
            ("BODY", Some(value)) => self.body = Some(Body::parse(&value).ok_or(CommandFault::BadParameter(name))?),
            ("SMTPUTF8", None) => self.smtputf8 = true,
            ("AUTH", Some(value)) => self.auth = Some(value),
            ("SIZE" | "BODY" | "SMTPUTF8" | "AUTH", _) => return Err(CommandFault::BadParameter(name)),
            ("RET" | "ENVID", value) if !is_dsn_value(&name, value.as_deref()) => {
                return Err(CommandFault::BadParameter(name));
            }
            (_, value) => self.others.push(Parameter { name, value }),
        }
        Ok(())
    }
}

/// The client's declaration of the message's octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// `7BIT` (RFC 6152).
    SevenBit,
    /// `8BITMIME` (RFC 6152).
    EightBitMime,
    /// `BINARYMIME` (RFC 3030); only BDAT can carry it.
    BinaryMime,
}

impl Body {
    /// The value of `BODY=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SevenBit => "7BIT",
            Self::EightBitMime => "8BITMIME",
            Self::BinaryMime => "BINARYMIME",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::SevenBit, Self::EightBitMime, Self::BinaryMime]
            .into_iter()
            .find(|body| text.eq_ignore_ascii_case(body.as_str()))
    }
}

/// RCPT: one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rcpt {
    /// The forward-path, which may come without a domain.
    pub recipient: Address,
    /// The parameters, in the client's order.
    pub parameters: Vec<Parameter>,
}

impl Rcpt {
    /// Whether recipient and parameters need no SMTPUTF8. MAIL has said whether they may.
    pub fn is_ascii(&self) -> bool {
        let mut values = self.parameters.iter().filter_map(|parameter| parameter.value.as_deref());
        self.recipient.is_ascii() && values.all(str::is_ascii)
    }

    /// The command line for the backend, with CRLF. A parameter is written when `keep` says so of its name.
    pub fn wire(&self, keep: impl Fn(&str) -> bool) -> Bytes {
        let mut line = path_line("RCPT TO:<", self.recipient.wire());
        for parameter in &self.parameters {
            parameter.write(&mut line, &keep);
        }
        line.put_slice(b"\r\n");
        line.freeze()
    }
}

/// The beginning of a command line, up to its path, with room for the usual parameters.
fn path_line(words: &str, path: &[u8]) -> BytesMut {
    let mut line = BytesMut::with_capacity(words.len() + path.len() + USUAL_PARAMETERS);
    line.put_slice(words.as_bytes());
    line.put_slice(path);
    line.put_u8(b'>');
    line
}

/// The reason why a line is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandFault {
    /// An octet below 32, or 127: C programs behind us disagree about them.
    ControlOctet,
    /// The line is no command at all.
    Syntax,
    /// An argument is missing or is not of this form.
    Argument(&'static str),
    /// The command takes no argument.
    NoArgumentAllowed,
    /// The argument of MAIL is no reverse-path.
    SenderSyntax,
    /// The argument of RCPT is no forward-path.
    RecipientSyntax,
    /// Eight-bit text in MAIL without SMTPUTF8 (RFC 6531 3.5).
    NonAscii,
    /// A parameter, by name, stands twice, or has no value that it may have.
    BadParameter(String),
    /// A parameter, by name, was not offered; said by the session only.
    UnknownParameter(String),
}

fn word(line: &[u8]) -> IResult<&[u8], &[u8]> {
    terminated(take_till1(|octet| octet == b' '), opt(char(' '))).parse(line)
}

fn auth(arguments: &[u8]) -> Result<Command, CommandFault> {
    let (_, (mechanism, initial)) = all_consuming(pair(mechanism, opt(preceded(char(' '), initial_response))))
        .parse(arguments)
        .map_err(|_| CommandFault::Argument("AUTH mechanism [initial-response]"))?;
    Ok(Command::Auth { mechanism: upper_case(mechanism), initial: initial.map(Bytes::copy_from_slice) })
}

/// Reads the name of a mechanism (RFC 4422 3.1: sasl-mech).
fn mechanism(input: &[u8]) -> IResult<&[u8], &[u8]> {
    take_while_m_n(1, 20, |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_').parse(input)
}

fn initial_response(input: &[u8]) -> IResult<&[u8], &[u8]> {
    take_while1(|octet: u8| octet.is_ascii_alphanumeric() || b"+/=".contains(&octet)).parse(input)
}

fn ehlo(arguments: &[u8]) -> Result<Command, CommandFault> {
    Ok(Command::Ehlo(client_name(arguments)))
}

fn helo(arguments: &[u8]) -> Result<Command, CommandFault> {
    Ok(Command::Helo(client_name(arguments)))
}

/// The first word, whatever it is: a client's name for itself is too often no domain to insist on it, and a device
/// without a name says none. A name longer than a domain can be is cut, as it is for logs and traces only.
fn client_name(arguments: &[u8]) -> Bytes {
    let word = arguments.trim_ascii_start().split(|&octet| octet == b' ').next().unwrap_or_default();
    Bytes::copy_from_slice(&word[..word.len().min(MAX_CLIENT_NAME)])
}

fn mail(arguments: &[u8]) -> Result<Command, CommandFault> {
    let (input, _) = behind_colon("FROM:", arguments).map_err(|_| CommandFault::Argument("MAIL FROM:<address>"))?;
    let (input, sender) = match has_brackets(input) {
        true => before_blank(reverse_path).parse(input),
        false => before_blank(map(bare_path, ReversePath::Address)).parse(input),
    }
    .map_err(|_| CommandFault::SenderSyntax)?;
    let mut mail = Mail { sender, size: None, body: None, smtputf8: false, auth: None, others: Vec::new() };
    for parameter in parameters(input).map_err(CommandFault::BadParameter)? {
        mail.take(parameter)?;
    }
    if !mail.smtputf8 && !arguments.is_ascii() {
        return Err(CommandFault::NonAscii);
    }
    Ok(Command::Mail(mail))
}

fn rcpt(arguments: &[u8]) -> Result<Command, CommandFault> {
    let (input, _) = behind_colon("TO:", arguments).map_err(|_| CommandFault::Argument("RCPT TO:<address>"))?;
    let (input, recipient) = match has_brackets(input) {
        true => before_blank(path).parse(input),
        false => before_blank(bare_path).parse(input),
    }
    .map_err(|_| CommandFault::RecipientSyntax)?;
    let parameters = parameters(input).map_err(CommandFault::BadParameter)?;
    let is_dsn = |parameter: &&Parameter| matches!(parameter.name.as_str(), "NOTIFY" | "ORCPT");
    let is_bad = |parameter: &&Parameter| !is_dsn_value(&parameter.name, parameter.value.as_deref());
    match parameters.iter().filter(is_dsn).find(is_bad) {
        Some(bad) => Err(CommandFault::BadParameter(bad.name.clone())),
        None => Ok(Command::Rcpt(Rcpt { recipient, parameters })),
    }
}

fn vrfy(arguments: &[u8]) -> Result<Command, CommandFault> {
    if arguments.is_empty() { Err(CommandFault::Argument("VRFY address")) } else { Ok(Command::Vrfy) }
}

fn alone(command: Command, arguments: &[u8]) -> Result<Command, CommandFault> {
    if arguments.is_empty() { Ok(command) } else { Err(CommandFault::NoArgumentAllowed) }
}

fn behind_colon<'a>(keyword: &str, input: &'a [u8]) -> IResult<&'a [u8], &'a [u8]> {
    terminated(tag_no_case(keyword), space0).parse(input)
}

/// Whether a bracket stands anywhere in the line: servers disagree then about which of its words is the address.
fn has_brackets(input: &[u8]) -> bool {
    memchr2(b'<', b'>', input).is_some()
}

/// Whether a line is a request line or a header line. To go on reading would run a message out of the body of a POST.
fn is_http(word: &[u8], arguments: &[u8]) -> bool {
    let is_method = HTTP_METHODS.iter().any(|method| word.eq_ignore_ascii_case(method.as_bytes()));
    let names_version = arguments.rsplit(|&octet| octet == b' ').next().is_some_and(|last| last.starts_with(b"HTTP/"));
    is_method || names_version || header_name(word).is_ok()
}

fn header_name(word: &[u8]) -> IResult<&[u8], &[u8]> {
    let name = take_while1(|octet: u8| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_');
    terminated(name, char(':')).parse(word)
}

struct Verb(&'static str, fn(&[u8]) -> Result<Command, CommandFault>);

const VERBS: [Verb; 24] = [
    Verb("AUTH", auth),
    Verb("BDAT", |_| Ok(Command::Bdat)),
    Verb("DATA", |arguments| alone(Command::Data, arguments)),
    Verb("EHLO", ehlo),
    Verb("EXPN", |_| Ok(Command::Expn)),
    Verb("HELO", helo),
    Verb("HELP", |_| Ok(Command::Help)),
    Verb("MAIL", mail),
    Verb("NOOP", |_| Ok(Command::Noop)),
    Verb("QUIT", |arguments| alone(Command::Quit, arguments)),
    Verb("RCPT", rcpt),
    Verb("RSET", |arguments| alone(Command::Rset, arguments)),
    Verb("STARTTLS", |arguments| alone(Command::StartTls, arguments)),
    Verb("VRFY", vrfy),
    // Commands that move mail or trust in ways that the policy does not see.
    Verb("ATRN", |_| Ok(Command::Unsupported("ATRN"))),
    Verb("BURL", |_| Ok(Command::Unsupported("BURL"))),
    Verb("ETRN", |_| Ok(Command::Unsupported("ETRN"))),
    Verb("PROXY", |_| Ok(Command::Unsupported("PROXY"))),
    Verb("SAML", |_| Ok(Command::Unsupported("SAML"))),
    Verb("SEND", |_| Ok(Command::Unsupported("SEND"))),
    Verb("SOML", |_| Ok(Command::Unsupported("SOML"))),
    Verb("TURN", |_| Ok(Command::Unsupported("TURN"))),
    Verb("XCLIENT", |_| Ok(Command::Unsupported("XCLIENT"))),
    Verb("XFORWARD", |_| Ok(Command::Unsupported("XFORWARD"))),
];

const HTTP_METHODS: [&str; 10] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PRI", "PUT", "TRACE"];

/// Octets of the longest domain (RFC 5321 4.5.3.1.2).
const MAX_CLIENT_NAME: usize = 255;
/// Octets of the parameters of a usual MAIL, SIZE and BODY, and its line end.
const USUAL_PARAMETERS: usize = 40;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;
    use proptest::string::string_regex;

    use super::*;
    use crate::smtp::address::parse_address;
    use crate::smtp::parameter::MAX_PARAMETERS;

    #[test]
    fn words() {
        let unknown = Ok(Command::Unknown);
        check(&[
            ("an empty line", "", Err(CommandFault::Syntax)),
            ("blanks only", "  ", Err(CommandFault::Syntax)),
            ("a blank in front", " NOOP", Err(CommandFault::Syntax)),
            ("an unknown word", "XYZZY", unknown.clone()),
            ("an unknown word with arguments", "XYZZY <a@b>", unknown.clone()),
            ("a longer word than a verb", "MAILS FROM:<a@b>", unknown.clone()),
            ("a shorter word than a verb", "MAI FROM:<a@b>", unknown),
            ("signs", "<a@b>", Err(CommandFault::Syntax)),
            ("a verb glued to signs", "NOOP.", Err(CommandFault::Syntax)),
            ("eight-bit text for a verb", "NÖÖP", Err(CommandFault::Syntax)),
            ("lower case", "quit", Ok(Command::Quit)),
            ("mixed case", "qUiT", Ok(Command::Quit)),
            ("white space behind", "QUIT \t ", Ok(Command::Quit)),
            ("a CR behind", "QUIT\r", Err(CommandFault::ControlOctet)),
            ("a TLS handshake", "\x16\x03\x01\x02", Ok(Command::TlsHello)),
            ("another control octet in front", "\x16\x02", Err(CommandFault::ControlOctet)),
            ("NUL behind a verb", "NOOP\0", Err(CommandFault::ControlOctet)),
        ]);
    }

    #[test]
    fn commands_without_a_path() {
        let no_argument = Err(CommandFault::NoArgumentAllowed);
        check(&[
            ("quit takes nothing", "QUIT now", no_argument.clone()),
            ("data", "DATA", Ok(Command::Data)),
            ("data with blanks behind", "DATA  ", Ok(Command::Data)),
            ("data takes nothing", "DATA now", no_argument.clone()),
            ("reset", "RSET", Ok(Command::Rset)),
            ("reset takes nothing", "RSET now", no_argument.clone()),
            ("starttls", "STARTTLS", Ok(Command::StartTls)),
            ("starttls takes nothing", "STARTTLS 1.3", no_argument),
            ("noop", "NOOP", Ok(Command::Noop)),
            ("noop takes a string", "NOOP there are many", Ok(Command::Noop)),
            ("help", "HELP", Ok(Command::Help)),
            ("help on something", "HELP mail", Ok(Command::Help)),
            ("vrfy", "VRFY someone", Ok(Command::Vrfy)),
            ("vrfy wants an address", "VRFY", Err(CommandFault::Argument("VRFY address"))),
            ("expn", "EXPN list", Ok(Command::Expn)),
            ("bdat", "BDAT 86 LAST", Ok(Command::Bdat)),
            ("etrn", "ETRN example.com", Ok(Command::Unsupported("ETRN"))),
            ("turn", "TURN", Ok(Command::Unsupported("TURN"))),
            ("xclient", "xclient ADDR=127.0.0.1", Ok(Command::Unsupported("XCLIENT"))),
            ("xforward", "XFORWARD NAME=x", Ok(Command::Unsupported("XFORWARD"))),
            ("proxy", "PROXY TCP4 192.0.2.1 192.0.2.2 1 25", Ok(Command::Unsupported("PROXY"))),
            ("burl", "BURL imap://x LAST", Ok(Command::Unsupported("BURL"))),
            ("send", "SEND FROM:<a@b>", Ok(Command::Unsupported("SEND"))),
            ("soml", "SOML FROM:<a@b>", Ok(Command::Unsupported("SOML"))),
            ("saml", "SAML FROM:<a@b>", Ok(Command::Unsupported("SAML"))),
        ]);
    }

    #[test]
    fn client_names() {
        let name = |text: &'static str| Bytes::from(text);
        check(&[
            ("ehlo", "EHLO mx.example", Ok(Command::Ehlo(name("mx.example")))),
            ("ehlo keeps case", "ehlo MX.example ", Ok(Command::Ehlo(name("MX.example")))),
            ("ehlo by literal", "EHLO [IPv6:::1]", Ok(Command::Ehlo(name("[IPv6:::1]")))),
            ("ehlo in eight bits", "EHLO büro-pc", Ok(Command::Ehlo(name("büro-pc")))),
            ("ehlo without a name", "EHLO", Ok(Command::Ehlo(name("")))),
            ("ehlo with a blank for a name", "EHLO ", Ok(Command::Ehlo(name("")))),
            ("ehlo with two words", "EHLO Bob's PC", Ok(Command::Ehlo(name("Bob's")))),
            ("a literal and a word", "EHLO [192.0.2.7] office-pc", Ok(Command::Ehlo(name("[192.0.2.7]")))),
            ("helo with many words", "HELO  my host  name", Ok(Command::Helo(name("my")))),
            ("ehlo with escape", "EHLO \x1b[2J", Err(CommandFault::ControlOctet)),
            ("helo", "HELO mx.example", Ok(Command::Helo(name("mx.example")))),
            ("helo without a name", "HELO", Ok(Command::Helo(name("")))),
        ]);
        let long = format!("EHLO {}", "a".repeat(MAX_CLIENT_NAME + 1));
        assert_eq!(parse(long.as_bytes()), Ok(Command::Ehlo("a".repeat(MAX_CLIENT_NAME).into())));
    }

    #[test]
    fn authentication() {
        let auth = |mechanism: &str, initial: Option<&'static str>| {
            Ok(Command::Auth { mechanism: mechanism.into(), initial: initial.map(Bytes::from) })
        };
        let auth_form = Err(CommandFault::Argument("AUTH mechanism [initial-response]"));
        check(&[
            ("auth", "AUTH login", auth("LOGIN", None)),
            ("auth with initial response", "AUTH PLAIN AGEAYg==", auth("PLAIN", Some("AGEAYg=="))),
            ("auth with empty initial response", "AUTH EXTERNAL =", auth("EXTERNAL", Some("="))),
            ("auth without mechanism", "AUTH", auth_form.clone()),
            ("auth that is not base64", "AUTH PLAIN a:b", auth_form.clone()),
            ("auth with three words", "AUTH PLAIN AGEA Yg==", auth_form),
        ]);
    }

    fn check(rows: &[(&str, &str, Result<Command, CommandFault>)]) {
        for (sentence, line, expected) in rows {
            assert_eq!(parse(line.as_bytes()), *expected, "{sentence}");
        }
    }

    #[test]
    fn http_and_header_lines() {
        let rows = [
            ("a request", "GET / HTTP/1.1", true),
            ("a POST", "POST / HTTP/1.1", true),
            ("a method alone", "HEAD", true),
            ("a method in lower case", "get /", true),
            ("a tunnel", "CONNECT mx.example:25 HTTP/1.1", true),
            ("the preface of HTTP/2", "PRI * HTTP/2.0", true),
            ("a method we do not know", "PROPFIND / HTTP/1.1", true),
            ("a header line", "Host: mx.example", true),
            ("a header line with a hyphen", "Content-Type: text/plain", true),
            ("a header line without a blank", "Subject:x", true),
            ("a header line without a value", "Cookie:", true),
            ("a verb for a header", "MAIL: FROM:<a@b>", true),
            ("a verb glued to a path is no header", "MAIL<a:b>", false),
            ("no header name", ": x", false),
            ("a verb that talks of HTTP", "NOOP HTTP/1.1", false),
        ];
        for (sentence, line, is_http) in rows {
            assert_eq!(parse(line.as_bytes()) == Ok(Command::Http), is_http, "{sentence}");
        }
    }

    #[test]
    fn mail_lines_that_are_taken() {
        let rows = [
            ("plain", "MAIL FROM:<a@b>", "MAIL FROM:<a@b>"),
            ("lower case", "mail from:<A@b>", "MAIL FROM:<A@b>"),
            ("a blank after the colon", "MAIL FROM: <a@b>", "MAIL FROM:<a@b>"),
            ("many blanks after the colon", "MAIL FROM:   <a@b>", "MAIL FROM:<a@b>"),
            ("white space behind", "MAIL FROM:<a@b> \t", "MAIL FROM:<a@b>"),
            ("the null sender", "MAIL FROM:<>", "MAIL FROM:<>"),
            ("the null sender with a parameter", "MAIL FROM:<> SIZE=1", "MAIL FROM:<> SIZE=1"),
            ("a source route", "MAIL FROM:<@r,@[IPv6:::1]:a@b>", "MAIL FROM:<a@b>"),
            ("a trailing dot", "MAIL FROM:<a@x.com.>", "MAIL FROM:<a@x.com>"),
            ("dots", "MAIL FROM:<try..this.@x>", "MAIL FROM:<try..this.@x>"),
            ("a hyphen at a label's end", "MAIL FROM:<a@cabinet-.example>", "MAIL FROM:<a@cabinet-.example>"),
            ("no domain", "MAIL FROM:<root>", "MAIL FROM:<root>"),
            ("no brackets", "MAIL FROM:a@b", "MAIL FROM:<a@b>"),
            ("no brackets, a blank, a parameter", "MAIL FROM: a@b SIZE=5", "MAIL FROM:<a@b> SIZE=5"),
            ("no brackets, no domain", "MAIL FROM:root", "MAIL FROM:<root>"),
            ("quotes go on", "MAIL FROM:<\"a b>:@\"@x>", "MAIL FROM:<\"a b>:@\"@x>"),
            ("an escape goes on", "MAIL FROM:<news\\letter@x>", "MAIL FROM:<news\\letter@x>"),
            ("size", "MAIL FROM:<a@b> SIZE=1000001", "MAIL FROM:<a@b> SIZE=1000001"),
            ("no size", "MAIL FROM:<a@b> SIZE=0", "MAIL FROM:<a@b> SIZE=0"),
            ("size with zeros in front", "MAIL FROM:<a@b> size=007", "MAIL FROM:<a@b> SIZE=7"),
            ("2^64-1", "MAIL FROM:<a@b> SIZE=18446744073709551615", "MAIL FROM:<a@b> SIZE=18446744073709551615"),
            ("2^64", "MAIL FROM:<a@b> SIZE=18446744073709551616", "MAIL FROM:<a@b> SIZE=18446744073709551615"),
            ("23 digits", "MAIL FROM:<a@b> SIZE=11111111111111111111111", "MAIL FROM:<a@b> SIZE=18446744073709551615"),
            ("body", "MAIL FROM:<a@b> body=8bitmime", "MAIL FROM:<a@b> BODY=8BITMIME"),
            ("7 bits", "MAIL FROM:<a@b> BODY=7BIT", "MAIL FROM:<a@b> BODY=7BIT"),
            ("binary, for the session to refuse", "MAIL FROM:<a@b> BODY=BINARYMIME", "MAIL FROM:<a@b> BODY=BINARYMIME"),
            ("UTF-8", "MAIL FROM:<é@b> SMTPUTF8", "MAIL FROM:<é@b> SMTPUTF8"),
            ("auth", "MAIL FROM:<a@b> AUTH=e+3Dmc2@example.com", "MAIL FROM:<a@b> AUTH=e+3Dmc2@example.com"),
            ("auth unknown", "MAIL FROM:<a@b> AUTH=<>", "MAIL FROM:<a@b> AUTH=<>"),
            ("two blanks before a parameter", "MAIL FROM:<a@b>  RET=HDRS   SIZE=1", "MAIL FROM:<a@b> SIZE=1 RET=HDRS"),
            (
                "others in their order",
                "MAIL FROM:<a@b> ret=Full X-Y ENVID=q+3D",
                "MAIL FROM:<a@b> RET=Full X-Y ENVID=q+3D",
            ),
        ];
        for (sentence, line, wire) in rows {
            assert_eq!(mail_of(line).unwrap().wire(|_| true), format!("{wire}\r\n"), "{sentence}");
        }
    }

    #[test]
    fn mail_lines_that_are_not_taken() {
        let form = CommandFault::Argument("MAIL FROM:<address>");
        let rows = [
            ("nothing", "MAIL", form.clone()),
            ("no FROM", "MAIL <a@b>", form.clone()),
            ("another word", "MAIL X <a@b>", form.clone()),
            ("RCPT's word", "MAIL TO:<a@b>", form.clone()),
            ("a blank before the colon", "MAIL FROM :<a@b>", form.clone()),
            ("two blanks before FROM", "MAIL  FROM:<a@b>", form.clone()),
            ("no colon", "MAIL FROM <a@b>", form),
            ("no path", "MAIL FROM:", CommandFault::SenderSyntax),
            ("no brackets, another path behind", "MAIL FROM:a@b <bad@c>", CommandFault::SenderSyntax),
            ("double brackets", "MAIL FROM:<<a@b>>", CommandFault::SenderSyntax),
            ("a second closing bracket", "MAIL FROM:<a@b>>", CommandFault::SenderSyntax),
            ("blanks inside", "MAIL FROM:< a@b >", CommandFault::SenderSyntax),
            ("a blank for a path", "MAIL FROM:< >", CommandFault::SenderSyntax),
            ("a comment", "MAIL FROM:<(c)x@y>", CommandFault::SenderSyntax),
            ("a comment before the path", "MAIL FROM:(c)<x@y>", CommandFault::SenderSyntax),
            ("a name before the path", "MAIL FROM:Joe <x@y>", CommandFault::SenderSyntax),
            ("no brackets, a parameter with some", "MAIL FROM:a@b AUTH=<>", CommandFault::SenderSyntax),
            ("no brackets, in quotes", "MAIL FROM:\"a\"@b", CommandFault::SenderSyntax),
            ("no path but a parameter", "MAIL FROM: SIZE=5", CommandFault::SenderSyntax),
            ("no domain, in quotes", "MAIL FROM:<\"a\">", CommandFault::SenderSyntax),
            ("a route to nowhere", "MAIL FROM:<@dom.example>", CommandFault::SenderSyntax),
            ("a glued parameter", "MAIL FROM:<a@b>SIZE=2000000", CommandFault::SenderSyntax),
            ("a tab before a parameter", "MAIL FROM:<a@b>\tSIZE=2000000", CommandFault::ControlOctet),
            ("NUL in the path", "MAIL FROM:<a@b\0>", CommandFault::ControlOctet),
            ("NUL in front of everything", "\0MAIL FROM:<a@b>", CommandFault::ControlOctet),
            ("ESC in quotes", "MAIL FROM:<\"\x1b\"@b>", CommandFault::ControlOctet),
            ("CR in a parameter", "MAIL FROM:<a@b> X=\rRSET", CommandFault::ControlOctet),
        ];
        for (sentence, line, fault) in rows {
            assert_eq!(parse(line.as_bytes()), Err(fault), "{sentence}");
        }
    }

    #[test]
    fn parameters_that_are_not_taken() {
        let bad = |name: &str| CommandFault::BadParameter(name.into());
        let rows = [
            ("a second path", "MAIL FROM:<a@b> <bad@c>", bad("<BAD@C>")),
            ("SIZE=", "MAIL FROM:<a@b> SIZE=", bad("SIZE")),
            ("SIZE", "MAIL FROM:<a@b> SIZE", bad("SIZE")),
            ("a negative size", "MAIL FROM:<a@b> SIZE=-1", bad("SIZE")),
            ("a signed size", "MAIL FROM:<a@b> SIZE=+2000000", bad("SIZE")),
            ("a hexadecimal size", "MAIL FROM:<a@b> SIZE=0x1000000", bad("SIZE")),
            ("a size with a letter", "MAIL FROM:<a@b> SIZE=2000000x", bad("SIZE")),
            ("size twice, small first", "MAIL FROM:<a@b> SIZE=10 SIZE=2000000", bad("SIZE")),
            ("size twice, large first", "MAIL FROM:<a@b> SIZE=2000000 size=10", bad("SIZE")),
            ("another one twice", "MAIL FROM:<a@b> RET=FULL RET=HDRS", bad("RET")),
            ("two equal signs", "MAIL FROM:<a@b> ENVID=a=b", bad("ENVID")),
            ("no name", "MAIL FROM:<a@b> =5", bad("=5")),
            ("a blank before the equals sign", "MAIL FROM:<a@b> SIZE =5", bad("SIZE")),
            ("a blank behind it", "MAIL FROM:<a@b> SIZE= 5", bad("SIZE")),
            ("an unknown RET", "MAIL FROM:<a@b> RET=ALL", bad("RET")),
            ("an ENVID that is no xtext", "MAIL FROM:<a@b> ENVID=a+b", bad("ENVID")),
            ("an unknown NOTIFY", "RCPT TO:<a@b> NOTIFY=FOO", bad("NOTIFY")),
            ("NOTIFY without a value", "RCPT TO:<a@b> NOTIFY", bad("NOTIFY")),
            ("ORCPT without a type", "RCPT TO:<a@b> ORCPT=a@b", bad("ORCPT")),
            ("no body", "MAIL FROM:<a@b> BODY", bad("BODY")),
            ("an unknown body", "MAIL FROM:<a@b> BODY=9BIT", bad("BODY")),
            ("SMTPUTF8 takes no value", "MAIL FROM:<a@b> SMTPUTF8=yes", bad("SMTPUTF8")),
            ("auth wants a value", "MAIL FROM:<a@b> AUTH", bad("AUTH")),
            ("UTF-8 unannounced", "MAIL FROM:<é@b>", CommandFault::NonAscii),
            ("UTF-8 unannounced in a parameter", "MAIL FROM:<a@b> X=é", CommandFault::NonAscii),
        ];
        for (sentence, line, fault) in rows {
            assert_eq!(parse(line.as_bytes()), Err(fault), "{sentence}");
        }
        assert_eq!(parse(b"MAIL FROM:<caf\xe9@b> SMTPUTF8"), Err(CommandFault::SenderSyntax), "Latin-1");
    }

    #[test]
    fn a_parameter_too_many() {
        let line = |count| (0..count).fold(String::from("MAIL FROM:<a@b>"), |line, n| format!("{line} P{n}"));
        assert!(parse(line(MAX_PARAMETERS).as_bytes()).is_ok());
        assert_eq!(parse(line(MAX_PARAMETERS + 1).as_bytes()), Err(CommandFault::BadParameter("P32".into())));
    }

    #[test]
    fn recipients() {
        let form = CommandFault::Argument("RCPT TO:<address>");
        let rows = [
            ("plain", "RCPT TO:<a@b>", Ok("RCPT TO:<a@b>")),
            ("lower case, blank after the colon", "rcpt to: <a@b>", Ok("RCPT TO:<a@b>")),
            ("a source route", "RCPT TO:<@r:a@b>", Ok("RCPT TO:<a@b>")),
            ("Postmaster", "RCPT TO:<Postmaster>", Ok("RCPT TO:<Postmaster>")),
            ("UTF-8, as MAIL may have announced", "RCPT TO:<é@b>", Ok("RCPT TO:<é@b>")),
            (
                "parameters",
                "RCPT TO:<a@b> notify=NEVER ORCPT=rfc822;a@b",
                Ok("RCPT TO:<a@b> NOTIFY=NEVER ORCPT=rfc822;a@b"),
            ),
            (
                "doubled parameter",
                "RCPT TO:<a@b> NOTIFY=NEVER NOTIFY=DELAY",
                Err(CommandFault::BadParameter("NOTIFY".into())),
            ),
            ("null path", "RCPT TO:<>", Err(CommandFault::RecipientSyntax)),
            ("no path", "RCPT TO:", Err(CommandFault::RecipientSyntax)),
            ("no brackets", "RCPT TO:a@b", Ok("RCPT TO:<a@b>")),
            ("no brackets, parameters", "RCPT TO: a@b NOTIFY=NEVER", Ok("RCPT TO:<a@b> NOTIFY=NEVER")),
            ("no brackets, a word behind", "RCPT TO:a@b c@d", Err(CommandFault::BadParameter("C@D".into()))),
            ("no brackets, two paths", "RCPT TO:a@b,c@d", Err(CommandFault::RecipientSyntax)),
            ("no domain", "RCPT TO:<a>", Ok("RCPT TO:<a>")),
            ("dots", "RCPT TO:<a..b.@c>", Ok("RCPT TO:<a..b.@c>")),
            ("two paths", "RCPT TO:<a@b>,<c@d>", Err(CommandFault::RecipientSyntax)),
            ("a NUL", "RCPT TO:<a@b\0c@d>", Err(CommandFault::ControlOctet)),
            ("nothing", "RCPT", Err(form.clone())),
            ("MAIL's word", "RCPT FROM:<a@b>", Err(form.clone())),
            ("a blank before the colon", "RCPT TO :<a@b>", Err(form)),
        ];
        for (sentence, line, expected) in rows {
            let wire = parse(line.as_bytes()).map(|command| wire(&command).unwrap());
            assert_eq!(wire, expected.map(|wire| format!("{wire}\r\n").into()), "{sentence}");
        }
    }

    #[test]
    fn parameters_are_kept_by_name() {
        let mail = mail_of("MAIL FROM:<a@b> SIZE=1 BODY=7BIT SMTPUTF8 AUTH=<> RET=FULL X").unwrap();
        assert_eq!(mail.wire(|_| false), "MAIL FROM:<a@b>\r\n");
        assert_eq!(mail.wire(|name| name == "SIZE" || name == "RET"), "MAIL FROM:<a@b> SIZE=1 RET=FULL\r\n");
        assert_eq!(mail.wire(|name| name != "SIZE"), "MAIL FROM:<a@b> BODY=7BIT SMTPUTF8 AUTH=<> RET=FULL X\r\n");
        let recipient = parse_address("a@b".as_bytes()).unwrap();
        let parameters = vec![Parameter::new("NOTIFY", "NEVER"), Parameter::new("ORCPT", "utf-8;é")];
        let rcpt = Rcpt { recipient, parameters };
        assert_eq!(rcpt.wire(|name| name == "NOTIFY"), "RCPT TO:<a@b> NOTIFY=NEVER\r\n");
        assert!(!rcpt.is_ascii());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_again(line in any_envelope_line()) {
            let command = parse(line.as_bytes()).unwrap();
            let written = wire(&command).unwrap();
            let again = parse(written.strip_suffix(b"\r\n").unwrap());
            prop_assert_eq!(again.as_ref(), Ok(&command));
            prop_assert_eq!(wire(&again.unwrap()), Some(written));
        }

        #[test]
        fn near_misses_read_again_or_not_at_all(line in "(MAIL FROM|RCPT TO):[ -~é]{0,30}( [ -~]{0,12})?") {
            if let Some(written) = parse(line.as_bytes()).ok().as_ref().and_then(wire) {
                prop_assert!(!written[..written.len() - 2].iter().any(u8::is_ascii_control));
                prop_assert_eq!(parse(&written[..written.len() - 2]), parse(line.as_bytes()));
            }
        }

        #[test]
        fn no_octets_panic(line in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&line);
        }

        #[test]
        fn no_control_octet_is_taken(line in any_envelope_line(), at: proptest::sample::Index, octet in 0_u8..32) {
            let mut line = line.into_bytes();
            let at = at.index(line.len());
            line.insert(at, octet);
            prop_assert_eq!(parse(&line), Err(CommandFault::ControlOctet));
        }
    }

    fn any_envelope_line() -> impl Strategy<Value = String> {
        let path =
            "<(@[a-z]{1,3}:)?([a-zA-Z+-]{1,6}|\"([a-z @:>]|\\\\[ -~]){0,6}\")@[a-zA-Z]{1,5}(\\.[a-z]{2,3})?\\.?>";
        let value = "(=[!-<>-~]{1,8})?";
        let known = "( SIZE=[0-9]{1,24})?( BODY=(7BIT|8bitMIME|BinaryMime))?( SMTPUTF8)?( auth=[a-z+]{1,5})?";
        let mail = format!("MAIL FROM:{path}{known}( RET=(full|HDRS))?( X-[0-9]{value})?");
        let rcpt = format!(
            "rcpt to: {path}( NOTIFY=(NEVER|success,Delay))?( ORCPT=[a-z]{{1,3}};[!-<>-~]{{1,8}})?( X-[0-9]{value})?"
        );
        let bare = format!("MAIL FROM: ?[a-z.]{{1,6}}(@[a-z-]{{1,5}})?{known}");
        string_regex(&format!("{mail}|{rcpt}|{bare}")).unwrap()
    }

    fn mail_of(line: &str) -> Option<Mail> {
        match parse(line.as_bytes()) {
            Ok(Command::Mail(mail)) => Some(mail),
            _ => None,
        }
    }

    fn wire(command: &Command) -> Option<Bytes> {
        match command {
            Command::Mail(mail) => Some(mail.wire(|_| true)),
            Command::Rcpt(rcpt) => Some(rcpt.wire(|_| true)),
            _ => None,
        }
    }
}

//! The backend's replies: octets to values, within bounds, and written again for the client.
//!
//! Nothing of a reply must be passed on before all of it was understood and cleaned, and no reply of the backend is put
//! into our words here: that is for the session to decide.
//!
//! Deviations from RFC 5321 section 4.2: LF ends a line too, `250` needs no text, the second digit is not looked at;
//! valid UTF-8 is kept (RFC 6531 section 3.7.4.2), and so are enhanced status codes.

use std::mem;

use bytes::Buf;
use bytes::BufMut;
use bytes::Bytes;
use bytes::BytesMut;

use crate::smtp::reply::Offer;

/// A whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendReply {
    /// The code, 200 to 599.
    pub code: u16,
    /// The texts behind the code, at least one: no control characters, at most 500 octets each.
    pub lines: Vec<String>,
}

impl BackendReply {
    /// Whether the code is 2xx.
    pub fn is_success(&self) -> bool {
        self.code / 100 == 2
    }

    /// Whether the code is 3xx.
    pub fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// Whether the code is 4xx.
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// Whether the code is 5xx.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// Appends the reply for the client, line by line as it came.
    pub fn write(&self, out: &mut BytesMut) {
        let last = self.lines.len().saturating_sub(1);
        out.reserve(self.lines.iter().map(|text| text.len() + "250 \r\n".len()).sum());
        for (index, text) in self.lines.iter().enumerate() {
            out.extend_from_slice(&self.digits());
            out.put_u8(if index < last { b'-' } else { b' ' });
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }

    /// The reply for the client.
    pub fn line(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.write(&mut out);
        out.freeze()
    }

    /// Code and texts on one line, for the log.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(self.lines.iter().map(|line| line.len() + " / ".len()).sum::<usize>() + 4);
        text.extend(self.digits().map(char::from));
        for (index, line) in self.lines.iter().enumerate() {
            text.push_str(if index == 0 { " " } else { " / " });
            text.push_str(line);
        }
        text
    }

    fn digits(&self) -> [u8; 3] {
        [100, 10, 1].map(|place| b'0' + (self.code / place % 10) as u8)
    }

    /// What the reply offers, taken as an answer to EHLO (RFC 5321 section 4.1.1.1): the first line is a greeting.
    pub fn offer(&self) -> Offer {
        Offer::of(self.lines.iter().skip(1).map(String::as_str))
    }
}

impl Offer {
    /// What these lines offer: each is a keyword, with its parameters behind it.
    pub fn of<'a>(lines: impl Iterator<Item = &'a str>) -> Self {
        let mut offer = Self::default();
        for line in lines {
            let (keyword, parameters) = line.split_once(' ').unwrap_or((line, ""));
            let parameters = parameters.trim();
            match keyword.to_ascii_uppercase().as_str() {
                "8BITMIME" => offer.eight_bit_mime = true,
                "AUTH" => offer.auth = mechanisms(parameters),
                "CHUNKING" => offer.chunking = true,
                "DSN" => offer.dsn = true,
                "ENHANCEDSTATUSCODES" => offer.enhanced = true,
                "PIPELINING" => offer.pipelining = true,
                "SIZE" => offer.size = Some(size(parameters)),
                "SMTPUTF8" => offer.smtputf8 = true,
                "STARTTLS" => offer.starttls = true,
                "XCLIENT" => offer.xclient = Some(parameters.to_ascii_uppercase()),
                _ => {}
            }
        }
        offer
    }
}

/// The reason why octets are no reply. The connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyFault {
    /// The lines of one reply have different codes.
    MixedCodes,
    /// A line does not begin with a code.
    Nonsense,
    /// A line, the number of lines, or all of them together are over the limit.
    TooLong,
}

/// A reader that puts replies together, wherever the backend cuts them.
#[derive(Debug, Default)]
pub struct ReplyReader {
    lines: Vec<String>,
    code: u16,
    octets: usize,
    scanned: usize,
}

impl ReplyReader {
    /// Takes the next reply out of `input`; `None` until all of it is there. What follows a fault cannot be trusted, so
    /// a fault empties `input` and forgets the reply that was begun.
    pub fn next(&mut self, input: &mut BytesMut) -> Option<Result<BackendReply, ReplyFault>> {
        loop {
            let end = match self.line_end(input)? {
                Ok(end) => end,
                Err(fault) => return Some(Err(self.give_up(input, fault))),
            };
            let line = &input[..end];
            let added = self.add(line.strip_suffix(b"\r").unwrap_or(line));
            input.advance(end + 1);
            match added {
                Ok(false) => {}
                Ok(true) => {
                    let whole = mem::take(self);
                    return Some(Ok(BackendReply { code: whole.code, lines: whole.lines }));
                }
                Err(fault) => return Some(Err(self.give_up(input, fault))),
            }
        }
    }

    /// The place of the next line's LF.
    fn line_end(&mut self, input: &[u8]) -> Option<Result<usize, ReplyFault>> {
        let window = &input[..input.len().min(MAX_LINE)];
        let Some(end) = memchr::memchr(b'\n', &window[self.scanned..]) else {
            self.scanned = window.len();
            return (self.scanned == MAX_LINE).then_some(Err(ReplyFault::TooLong));
        };
        Some(Ok(mem::take(&mut self.scanned) + end))
    }

    /// Adds a line; true: it was the last of the reply.
    fn add(&mut self, line: &[u8]) -> Result<bool, ReplyFault> {
        let (code, last, text) = reply_line(line).ok_or(ReplyFault::Nonsense)?;
        if !self.lines.is_empty() && code != self.code {
            return Err(ReplyFault::MixedCodes);
        }
        self.octets += line.len();
        if self.lines.len() == MAX_LINES || self.octets > MAX_OCTETS {
            return Err(ReplyFault::TooLong);
        }
        self.code = code;
        self.lines.push(clean(text));
        Ok(last)
    }

    fn give_up(&mut self, input: &mut BytesMut, fault: ReplyFault) -> ReplyFault {
        input.clear();
        *self = Self::default();
        fault
    }
}

/// The parts of a line: its code, whether no line follows, its text.
fn reply_line(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (code, rest) = line.split_at_checked(3)?;
    if !matches!(code[0], b'2'..=b'5') || !code.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = code.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match rest.split_first() {
        None => Some((code, true, rest)),
        Some((b' ', text)) => Some((code, true, text)),
        Some((b'-', text)) => Some((code, false, text)),
        Some(_) => None,
    }
}

fn clean(text: &[u8]) -> String {
    // Nearly all texts are clean.
    if text.len() <= MAX_TEXT
        && text.iter().all(|octet| (b' '..=b'~').contains(octet))
        && let Ok(text) = str::from_utf8(text)
    {
        return text.to_owned();
    }
    let mut cleaned = String::new();
    for character in String::from_utf8_lossy(text).chars() {
        let character = match character {
            '\t' => ' ',
            char::REPLACEMENT_CHARACTER => '?',
            control if control.is_control() => '?',
            other => other,
        };
        if cleaned.len() + character.len_utf8() > MAX_TEXT {
            break;
        }
        cleaned.push(character);
    }
    cleaned
}

/// The mechanisms in a line of AUTH (RFC 4954 section 3); a word that is no mechanism (RFC 4422 section 3.1) is not
/// offered on.
fn mechanisms(parameters: &str) -> Option<String> {
    let is_mechanism = |word: &&str| word.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(&octet));
    let words: Vec<&str> = parameters.split_ascii_whitespace().filter(is_mechanism).collect();
    (!words.is_empty()).then(|| words.join(" ").to_ascii_uppercase())
}

/// The limit in a line of SIZE. RFC 1870 section 4: without a number, or 0, there is no limit that we could know; more
/// digits than fit are a limit that nothing reaches.
fn size(parameters: &str) -> u64 {
    if parameters.is_empty() || !parameters.bytes().all(|octet| octet.is_ascii_digit()) {
        return 0;
    }
    parameters.parse().unwrap_or(u64::MAX)
}

/// Octets of a line, with its end.
const MAX_LINE: usize = 2048;
const MAX_LINES: usize = 100;
/// Octets of all lines of a reply.
const MAX_OCTETS: usize = 20_000;
/// Octets of a text: with code and line end a line fits into RFC 5321's 512.
const MAX_TEXT: usize = 500;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Everything that comes out of `octets`, fed in pieces of the given length.
    fn read(octets: &[u8], piece: usize) -> Vec<Result<BackendReply, ReplyFault>> {
        let mut reader = ReplyReader::default();
        let mut input = BytesMut::new();
        let mut replies = Vec::new();
        for piece in octets.chunks(piece) {
            input.extend_from_slice(piece);
            while let Some(reply) = reader.next(&mut input) {
                replies.push(reply);
            }
        }
        replies
    }

    fn written(reply: &BackendReply) -> String {
        let mut out = BytesMut::new();
        reply.write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn replies_and_what_the_client_hears() {
        let rows: [(&str, &[u8], &str); 9] = [
            ("one line", b"250 2.1.0 Sender accepted.\r\n", "250 2.1.0 Sender accepted.\r\n"),
            ("several lines", b"250-mx\r\n250-SIZE 0\r\n250 DSN\r\n", "250-mx\r\n250-SIZE 0\r\n250 DSN\r\n"),
            ("LF line ends", b"250-a\n250 b\n", "250-a\r\n250 b\r\n"),
            ("a code alone", b"250\r\n", "250 \r\n"),
            ("a code alone at the end", b"250-a\r\n250\r\n", "250-a\r\n250 \r\n"),
            ("empty text", b"554-\r\n554 \r\n", "554-\r\n554 \r\n"),
            ("control octets", b"250 a\0b\x1b[1m\rc\td\r\n", "250 a?b?[1m?c d\r\n"),
            ("UTF-8 is kept, other octets are not", b"250 \xc3\xa9\xff\xc2\x9b\r\n", "250 \u{e9}??\r\n"),
            ("354", b"354 go\r\n", "354 go\r\n"),
        ];
        for (sentence, octets, expected) in rows {
            for piece in [1, octets.len()] {
                let replies = read(octets, piece);
                assert_eq!(replies.len(), 1, "{sentence}");
                assert_eq!(written(replies[0].as_ref().unwrap()), expected, "{sentence}");
            }
        }
    }

    #[test]
    fn faults() {
        let many = "250-a\r\n".repeat(100) + "250 a\r\n";
        let large = format!("250-{}\r\n", "a".repeat(1996)).repeat(11);
        let long = format!("250 {}", "a".repeat(2044));
        let rows: [(&str, &[u8], ReplyFault); 11] = [
            ("an empty line", b"\r\n", ReplyFault::Nonsense),
            ("no code", b"hello\r\n", ReplyFault::Nonsense),
            ("two digits", b"25\r\n", ReplyFault::Nonsense),
            ("1xx", b"150 a\r\n", ReplyFault::Nonsense),
            ("6xx", b"650 a\r\n", ReplyFault::Nonsense),
            ("four digits", b"2500 a\r\n", ReplyFault::Nonsense),
            ("nonsense behind a good line", b"250-a\r\nb\r\n250 c\r\n", ReplyFault::Nonsense),
            ("different codes", b"250-a\r\n550 b\r\n", ReplyFault::MixedCodes),
            ("too many lines", many.as_bytes(), ReplyFault::TooLong),
            ("too many octets", large.as_bytes(), ReplyFault::TooLong),
            ("a line without end", long.as_bytes(), ReplyFault::TooLong),
        ];
        for (sentence, octets, fault) in rows {
            assert_eq!(read(octets, octets.len()), [Err(fault)], "{sentence}");
            assert_eq!(read(octets, 1)[0], Err(fault), "{sentence}, octet by octet");
        }
    }

    #[test]
    fn the_limits_themselves_are_allowed() {
        let lines = "250-a\r\n".repeat(99) + "250 a\r\n";
        assert_eq!(read(lines.as_bytes(), 7)[0].as_ref().unwrap().lines.len(), 100);
        let long = format!("250 {}\r\n", "\u{e9}".repeat(1021));
        let replies = read(long.as_bytes(), 100);
        assert_eq!(replies[0].as_ref().unwrap().lines[0], "\u{e9}".repeat(250), "cut between characters");
    }

    #[test]
    fn replies_come_one_by_one_and_a_fault_ends_them() {
        let replies = read(b"250 a\r\n354 b\r\nc\r\n250 d\r\n", 64);
        let code = |reply: &Result<BackendReply, _>| reply.as_ref().map(|reply| reply.code).map_err(|fault| *fault);
        assert_eq!(replies.iter().map(code).collect::<Vec<_>>(), [Ok(250), Ok(354), Err(ReplyFault::Nonsense)]);
    }

    #[test]
    fn codes_have_a_class_and_a_text_for_the_log() {
        for (code, class) in [(250, 0), (354, 1), (451, 2), (554, 3)] {
            let reply = BackendReply { code, lines: vec!["a".to_owned(), "b".to_owned()] };
            let classes = [reply.is_success(), reply.is_intermediate(), reply.is_transient(), reply.is_permanent()];
            assert_eq!(classes.iter().position(|is| *is), Some(class));
            assert_eq!(classes.iter().filter(|is| **is).count(), 1);
            assert_eq!(reply.text(), format!("{code} a / b"));
        }
    }

    #[test]
    fn what_an_answer_to_ehlo_offers() {
        let mailfront =
            Offer { size: Some(1000), eight_bit_mime: true, enhanced: true, pipelining: true, ..Offer::default() };
        let login = Offer { auth: Some("LOGIN PLAIN".to_owned()), ..Offer::default() };
        let rest = Offer { smtputf8: true, starttls: true, dsn: true, chunking: true, ..Offer::default() };
        let sized = |limit| Offer { size: Some(limit), ..Offer::default() };
        let rows = [
            ("smtpfront-qmail", "mx\n250-SIZE 1000\n250-8BITMIME\n250-ENHANCEDSTATUSCODES\n250 PIPELINING", mailfront),
            ("only a greeting", "SIZE 10", Offer::default()),
            ("lower case, blanks, the odd mechanism", "mx\n250 auth  login plain <b>", login),
            ("AUTH without mechanisms", "mx\n250 AUTH", Offer::default()),
            ("AUTH as it was before RFC 2554", "mx\n250 AUTH=LOGIN", Offer::default()),
            ("the rest", "mx\n250-SMTPUTF8\n250-STARTTLS\n250-CHUNKING\n250 DSN", rest),
            ("SIZE without a number", "mx\n250 SIZE", sized(0)),
            ("SIZE 0", "mx\n250 SIZE 0", sized(0)),
            ("SIZE with nonsense", "mx\n250 SIZE -1", sized(0)),
            ("a SIZE that does not fit", "mx\n250 SIZE 99999999999999999999999", sized(u64::MAX)),
        ];
        for (sentence, octets, offer) in rows {
            let first = if octets.contains('\n') { '-' } else { ' ' };
            let replies = read(format!("250{first}{octets}\n").as_bytes(), 1000);
            assert_eq!(replies[0].as_ref().unwrap().offer(), offer, "{sentence}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(code in 200u16..600, lines in prop::collection::vec("\\PC{0,100}", 1..20)) {
            let reply = BackendReply { code, lines };
            let cleaned = reply.lines.iter().map(|line| line.replace(char::REPLACEMENT_CHARACTER, "?")).collect();
            let again = read(written(&reply).as_bytes(), 11);
            prop_assert_eq!(again, [Ok(BackendReply { code, lines: cleaned })]);
        }

        #[test]
        fn a_cut_makes_no_difference_and_nothing_piles_up(
            octets in prop::collection::vec(prop::sample::select(&b"25-- a\r\n\n\0\xff"[..]), 0..200),
            piece in 1usize..20,
        ) {
            let whole = read(&octets, octets.len().max(1));
            let cut = read(&octets, piece);
            let good = |replies: &[Result<BackendReply, ReplyFault>]| {
                replies.iter().take_while(|reply| reply.is_ok()).cloned().collect::<Vec<_>>()
            };
            prop_assert_eq!(good(&cut), good(&whole));
            for reply in whole.iter().flatten() {
                prop_assert!(written(reply).lines().all(|line| line.len() <= 510 && !line.contains('\0')));
            }
        }
    }
}

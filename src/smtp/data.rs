//! The DATA stream: a client's octets after 354, rewritten into the only form that goes to a backend.
//!
//! It must not let an octet through that two servers could read differently: the output has CRLF as its only line end,
//! every dot at the start of a line doubled, no CR, LF or NUL anywhere else, and therefore no end of data inside.
//! Where the message goes out with its length (RFC 3030) the same octets are put out without the stuffing dots.
//!
//! Deviations from RFC 5321: a bare LF can be taken as a line end and a stray CR as a space (section 2.3.8 forbids to
//! send them); LF.LF ends a message for clients that are exempt (against section 4.1.1.4; for nobody else); NUL is
//! refused. Lines are neither folded nor limited (section 4.5.3.1.6): a fold before a dot would be a new dot line.

use std::mem;
use std::ops::ControlFlow;

use bytes::Buf;
use bytes::Bytes;
use bytes::BytesMut;
use nom::IResult;
use nom::Input;

/// The treatment of line ends that are not CRLF inside a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BareNewline {
    /// A bare LF becomes CRLF, a stray CR a space (as Postfix does since 3.9).
    Normalize,
    /// A bare newline is refused by 554 5.5.2, and the connection closed.
    Reject,
}

/// The form in which the dots at the start of a line are put out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dots {
    /// Doubled, for DATA (RFC 5321 section 4.5.2).
    Stuffed,
    /// As the message has them, for a backend that is given the length (BDAT, RFC 3030 section 2). Such octets must
    /// never follow a DATA: a lone dot would end the message.
    Plain,
}

/// The state of a message after the octets so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum DataStatus {
    /// The message goes on. At most two octets that cannot be judged yet are left in the input.
    More,
    /// The final dot was taken; what is left in the input are commands.
    End,
    /// [`BareNewline::Reject`] met a bare newline: nothing more is taken, and nothing that follows may be read as a
    /// command.
    Refused,
}

/// The reason why a message may not be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataFault {
    /// LF without CR, or CR without LF, where they are refused.
    BareNewline,
    /// The octet 0.
    Nul,
}

/// A decoder of one message. The result does not depend on where the network cuts the stream.
#[derive(Debug)]
pub struct DataDecoder {
    at: At,
    /// The line before this one was ended by a bare LF, so a lone dot is text.
    after_bare_lf: bool,
    rewrite: bool,
    lf_dot_lf_ends: bool,
    form: Dots,
    size: u64,
    lines: u64,
    dots: u64,
    fault: Option<DataFault>,
}

impl DataDecoder {
    /// A decoder that stands directly behind the 354. With `lf_dot_lf_ends` (an exempt client) a lone dot that a bare
    /// LF follows ends the message too, and bare newlines are rewritten whatever `mode` says: they cannot be both the
    /// end and refused.
    pub fn new(mode: BareNewline, lf_dot_lf_ends: bool, form: Dots) -> Self {
        Self {
            at: At::Line,
            after_bare_lf: false,
            rewrite: mode == BareNewline::Normalize || lf_dot_lf_ends,
            lf_dot_lf_ends,
            form,
            size: 0,
            lines: 0,
            dots: 0,
            fault: None,
        }
    }

    /// Takes the octets of `input` that can be judged and hands them to `sink`: canonical, without the final
    /// dot; split off `input` and not copied where nothing had to change. Call it again when `input` has grown;
    /// on [`DataStatus::More`] up to two octets (CR, `.`, `.` CR) wait in there for what follows them.
    pub fn decode(&mut self, input: &mut BytesMut, sink: &mut dyn FnMut(Bytes)) -> DataStatus {
        let muted = self.fault.is_some();
        let mut output = Output { input, sink, run: 0, rewritten: Vec::new(), muted };
        // Octets that are left where the next block may be looked at: a block that is not clean is looked at once.
        let mut next_block = usize::MAX;
        let status = loop {
            let at = self.at;
            let step = match at {
                At::Line | At::Text if self.pass_clean(&mut output, &mut next_block) => ControlFlow::Continue(()),
                At::Line => self.begin_line(&mut output),
                At::Text => self.go_on(&mut output),
                At::End => ControlFlow::Break(DataStatus::End),
                At::Refused => ControlFlow::Break(DataStatus::Refused),
            };
            if let ControlFlow::Break(status) = step {
                break status;
            }
        };
        output.flush();
        status
    }

    /// Octets of the message so far: line ends count two, stuffing dots and the final dot do not (RFC 1870 section 5).
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Lines so far: `size - lines` are the octets as qmail counts them.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Lines so far that begin with a dot: with none, both forms of the output are the same.
    pub fn dots(&self) -> u64 {
        self.dots
    }

    /// The first fault. After a NUL nothing more is put out, but decoding goes on to the true end of the message.
    pub fn fault(&self) -> Option<DataFault> {
        self.fault
    }

    /// Takes a block in which only line ends have to be looked at, as nearly every block is. False: there is none.
    fn pass_clean(&mut self, output: &mut Output<'_>, next_block: &mut usize) -> bool {
        let rest = output.rest();
        let Some(block) = rest.get(..=BLOCK).filter(|_| rest.len() <= *next_block) else { return false };
        let first_is_dot = matches!(self.at, At::Line) && block[0] == b'.';
        if first_is_dot || self.after_bare_lf || block[0] == b'\n' {
            return false;
        }
        let Some(lines) = clean_lines(block) else {
            *next_block = rest.len() - BLOCK;
            return false;
        };
        self.at = if block[BLOCK - 1] == b'\n' { At::Line } else { At::Text };
        // A CR at the end of the block waits for the LF that may follow.
        let taken = if block[BLOCK - 1] == b'\r' { BLOCK - 1 } else { BLOCK };
        output.keep(taken);
        self.size += taken as u64;
        self.lines += lines;
        true
    }

    fn begin_line(&mut self, output: &mut Output<'_>) -> ControlFlow<DataStatus> {
        let Some(start) = line_start(output.rest()) else {
            return ControlFlow::Break(DataStatus::More);
        };
        match start {
            LineStart::Text => self.at = At::Text,
            // RFC 5321 section 4.5.2: the first dot of a longer line is not part of it. A second one needs it again.
            LineStart::DotDot => {
                if self.form == Dots::Plain {
                    output.replace(1, b"");
                }
                output.keep(if self.form == Dots::Plain { 1 } else { 2 });
                self.size += 1;
                self.dots += 1;
                self.at = At::Text;
            }
            LineStart::Dot => {
                output.replace(1, b"");
                self.at = At::Text;
            }
            LineStart::DotCrlf if !self.after_bare_lf => return self.end(output, 3),
            LineStart::DotLf if self.lf_dot_lf_ends => return self.end(output, 2),
            LineStart::DotLf if !self.rewrite => return self.refuse(),
            // A line that consists of a dot, for us; the end of data, for mailfront, if it went out as it came.
            LineStart::DotCrlf => self.lone_dot(output, 3),
            LineStart::DotLf => self.lone_dot(output, 2),
        }
        ControlFlow::Continue(())
    }

    /// Puts out a line that consists of a dot, in the place of `octets`: the dot and its line end, a bare LF with two.
    fn lone_dot(&mut self, output: &mut Output<'_>, octets: usize) {
        output.replace(octets, if self.form == Dots::Plain { b".\r\n" } else { b"..\r\n" });
        self.size += 1;
        self.dots += 1;
        self.end_line(octets == 2);
    }

    fn go_on(&mut self, output: &mut Output<'_>) -> ControlFlow<DataStatus> {
        let run = text(output.rest()).map_or(0, |(_, run)| run.len());
        output.keep(run);
        self.size += run as u64;
        let Some(stop) = text_stop(output.rest()) else {
            return ControlFlow::Break(DataStatus::More);
        };
        match stop {
            TextStop::Crlf => {
                output.keep(2);
                self.end_line(false);
            }
            TextStop::Nul => {
                output.mute();
                self.size += 1;
                self.fault.get_or_insert(DataFault::Nul);
            }
            TextStop::BareLf | TextStop::StrayCr if !self.rewrite => return self.refuse(),
            TextStop::BareLf => {
                output.replace(1, b"\r\n");
                self.end_line(true);
            }
            TextStop::StrayCr => {
                output.replace(1, b" ");
                self.size += 1;
            }
        }
        ControlFlow::Continue(())
    }

    fn end_line(&mut self, bare_lf: bool) {
        self.size += 2;
        self.lines += 1;
        self.after_bare_lf = bare_lf;
        self.at = At::Line;
    }

    fn end(&mut self, output: &mut Output<'_>, final_dot: usize) -> ControlFlow<DataStatus> {
        output.replace(final_dot, b"");
        self.at = At::End;
        ControlFlow::Break(DataStatus::End)
    }

    fn refuse(&mut self) -> ControlFlow<DataStatus> {
        self.fault.get_or_insert(DataFault::BareNewline);
        self.at = At::Refused;
        ControlFlow::Break(DataStatus::Refused)
    }
}

/// The place of the next octet in the message. Sequences that must be seen whole (a dot and the line end behind it)
/// stay in the input until they are, so there are no states inside of one.
#[derive(Clone, Copy, Debug)]
enum At {
    /// Behind a line end, or at the start.
    Line,
    /// In a line.
    Text,
    End,
    Refused,
}

/// The beginning of a line.
#[derive(Clone, Copy)]
enum LineStart {
    Dot,
    DotCrlf,
    DotDot,
    DotLf,
    Text,
}

/// The beginning of the line; `None` until enough of it is there.
fn line_start(input: &[u8]) -> Option<LineStart> {
    match input {
        [b'.', b'.', ..] => Some(LineStart::DotDot),
        [b'.', b'\r', b'\n', ..] => Some(LineStart::DotCrlf),
        [b'.', b'\n', ..] => Some(LineStart::DotLf),
        [] | [b'.'] | [b'.', b'\r'] => None,
        [b'.', ..] => Some(LineStart::Dot),
        _ => Some(LineStart::Text),
    }
}

/// The end of a run of text.
#[derive(Clone, Copy)]
enum TextStop {
    BareLf,
    Crlf,
    Nul,
    StrayCr,
}

/// The end of the run; `None` until it can be told; only called where [`text`] stopped.
fn text_stop(input: &[u8]) -> Option<TextStop> {
    match input {
        [b'\r', b'\n', ..] => Some(TextStop::Crlf),
        [b'\n', ..] => Some(TextStop::BareLf),
        [] | [b'\r'] => None,
        [b'\r', ..] => Some(TextStop::StrayCr),
        _ => Some(TextStop::Nul),
    }
}

/// Reads the octets that need no judgement, as many as there are.
fn text(input: &[u8]) -> IResult<&[u8], &[u8], ()> {
    let end = memchr::memchr3(b'\r', b'\n', 0, input).unwrap_or(input.len());
    Ok(input.take_split(end))
}

/// Counts the lines that end in a block, all but its last octet, which is only there to be looked ahead to. `None`: the
/// block has a CR without LF, an LF without CR, a line that begins with a dot, or a NUL. Without a branch, so that the
/// compiler does many octets at once.
fn clean_lines(block: &[u8]) -> Option<u64> {
    let (mut stray, mut lines) = (0_u8, 0_u64);
    for (octets, ahead) in block[..BLOCK].chunks(LANE).zip(block[1..].chunks(LANE)) {
        let mut ends = 0_u8;
        for (octet, next) in octets.iter().zip(ahead) {
            let is_lf = u8::from(*octet == b'\n');
            stray |= u8::from(*octet == b'\r') ^ u8::from(*next == b'\n');
            stray |= (is_lf & u8::from(*next == b'.')) | u8::from(*octet == 0);
            ends += is_lf;
        }
        lines += u64::from(ends);
    }
    (stray == 0).then_some(lines)
}

/// The output: a run of octets at the front of the input that goes out as it came, and a buffer for rewritten ones.
struct Output<'a> {
    input: &'a mut BytesMut,
    sink: &'a mut dyn FnMut(Bytes),
    run: usize,
    rewritten: Vec<u8>,
    muted: bool,
}

impl Output<'_> {
    /// The octets that are not judged yet.
    fn rest(&self) -> &[u8] {
        &self.input[self.run..]
    }

    /// Passes the next octets on as they are.
    fn keep(&mut self, octets: usize) {
        self.run += octets;
    }

    /// Puts other octets in the place of the next ones.
    fn replace(&mut self, octets: usize, with: &[u8]) {
        self.end_run(true);
        self.input.advance(octets);
        if !self.muted {
            self.rewritten.extend_from_slice(with);
        }
    }

    /// Mutes the output: octets judged up to here still go out (so that a cut makes no difference), no others do.
    fn mute(&mut self) {
        self.flush();
        self.muted = true;
        self.input.advance(1);
    }

    fn flush(&mut self) {
        self.end_run(!self.rewritten.is_empty());
        self.send_rewritten();
    }

    /// Ends the run. Short runs between rewritten places are copied: with a `Bytes` for each, an octet of a stranger's
    /// `
    ///
    ///
    /// ` would cost us 32.
    fn end_run(&mut self, copy_short: bool) {
        let run = mem::take(&mut self.run);
        if self.muted {
            self.input.advance(run);
        } else if copy_short && run < SHORT_RUN {
            self.rewritten.extend_from_slice(&self.input[..run]);
            self.input.advance(run);
        } else if run > 0 {
            self.send_rewritten();
            (self.sink)(self.input.split_to(run).freeze());
        }
    }

    fn send_rewritten(&mut self) {
        if !self.rewritten.is_empty() {
            (self.sink)(Bytes::from(mem::take(&mut self.rewritten)));
        }
    }
}

/// Octets that are looked at together.
const BLOCK: usize = 1024;
/// Octets whose line ends are counted in one octet.
const LANE: usize = 128;
/// Octets below which a copy is cheaper than a reference.
const SHORT_RUN: usize = 512;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All there is to see of a decoding.
    #[derive(Debug, PartialEq, Eq)]
    struct Decoded {
        status: DataStatus,
        output: Vec<u8>,
        left: Vec<u8>,
        size: u64,
        lines: u64,
        dots: u64,
        fault: Option<DataFault>,
    }

    /// Feeds `octets` in pieces of the given lengths (in a circle); what comes behind the end stays unread.
    fn decode_cut(mut decoder: DataDecoder, octets: &[u8], cuts: &[usize]) -> Decoded {
        let mut input = BytesMut::new();
        let mut output = Vec::new();
        let mut rest = octets;
        let mut cuts = cuts.iter().cycle();
        let status = loop {
            let piece = rest.len().min(*cuts.next().unwrap());
            input.extend_from_slice(&rest[..piece]);
            rest = &rest[piece..];
            let status = decoder.decode(&mut input, &mut |part| output.extend_from_slice(&part));
            if status == DataStatus::More {
                assert!(input.len() <= 2, "{} octets wait", input.len());
            }
            if status != DataStatus::More || rest.is_empty() {
                break status;
            }
        };
        let left = [&input, rest].concat();
        let (size, lines, dots) = (decoder.size(), decoder.lines(), decoder.dots());
        Decoded { status, output, left, size, lines, dots, fault: decoder.fault() }
    }

    fn decode(mode: BareNewline, exempt: bool, octets: &[u8]) -> Decoded {
        decode_cut(DataDecoder::new(mode, exempt, Dots::Stuffed), octets, &[usize::MAX])
    }

    fn normalized(octets: &[u8]) -> Decoded {
        decode(BareNewline::Normalize, false, octets)
    }

    /// A dot before each line that begins with one (RFC 5321 section 4.5.2), and the final dot.
    fn encode(lines: &[String]) -> Vec<u8> {
        let mut encoded = Vec::new();
        for line in lines {
            encoded.extend_from_slice(if line.starts_with('.') { b"." } else { b"" });
            encoded.extend_from_slice(line.as_bytes());
            encoded.extend_from_slice(b"\r\n");
        }
        encoded.extend_from_slice(b".\r\n");
        encoded
    }

    #[test]
    fn only_a_dot_between_two_crlf_ends_a_message() {
        // Tried on the real qmail-smtpd and smtpfront-qmail 2.12 as well; the latter ends at more of them.
        let rows: [(&str, bool, &str); 15] = [
            ("\r\n.\r\n", true, "a\r\n"),
            ("\n.\n", false, "a\r\n..\r\n"),
            ("\n.\r\n", false, "a\r\n..\r\n"),
            ("\r\n.\n", false, "a\r\n..\r\n"),
            ("\r\n\r.\n", false, "a\r\n .\r\n"),
            ("\r\r\n.\r\n", true, "a \r\n"),
            ("\r.\r", false, "a . "),
            ("\r\n.\r", false, "a\r\n "),
            ("\r.\r\n", false, "a .\r\n"),
            ("\r.\n", false, "a .\r\n"),
            ("\r\n.\r\r\n", false, "a\r\n \r\n"),
            ("\r\n\r.\r\n", false, "a\r\n .\r\n"),
            ("\r\n\0.\r\n", false, "a\r\n"),
            ("\r\n. \r\n", false, "a\r\n \r\n"),
            ("\n..\n", false, "a\r\n..\r\n"),
        ];
        for (variant, ends, output) in rows {
            let decoded = normalized(format!("a{variant}z").as_bytes());
            assert_eq!(decoded.status == DataStatus::End, ends, "{variant:?}");
            let expected = if ends || variant.contains('\0') { output.to_owned() } else { format!("{output}z") };
            assert_eq!(String::from_utf8(decoded.output).unwrap(), expected, "{variant:?}");
            assert_eq!(decoded.left, if ends { &b"z"[..] } else { b"" }, "{variant:?}");
            let rejected = decode(BareNewline::Reject, false, format!("a{variant}z").as_bytes());
            let clean = ["\r\n.\r\n", "\r\n\0.\r\n", "\r\n. \r\n"].contains(&variant);
            assert_eq!(rejected.status == DataStatus::Refused, !clean, "{variant:?}");
        }
    }

    #[test]
    fn every_line_end_before_and_behind_a_dot() {
        let before = ["", "\r\n", "\n", "\r", "\r\r\n", "\n\r", "\r\n\r", "\r\n\0", "\r\n ", "\n\n", "\n\r\n"];
        let behind = ["\r\n", "\n", "\r", "\r\r\n", "\n\r", "\r\n\r", "\0\r\n", " \r\n", "\n\n"];
        for (before, behind) in before.iter().flat_map(|b| behind.map(|a| (b, a))) {
            let octets = format!("a{before}.{behind}z");
            let ends = before.ends_with("\r\n") && behind.starts_with("\r\n");
            assert_eq!(normalized(octets.as_bytes()).status == DataStatus::End, ends, "{octets:?}");
            let exempt_ends = ends || before.ends_with('\n') && behind.starts_with('\n');
            let exempt = decode(BareNewline::Normalize, true, octets.as_bytes());
            assert_eq!(exempt.status == DataStatus::End, exempt_ends, "exempt {octets:?}");
            let strict = decode(BareNewline::Reject, false, octets.as_bytes());
            if strict.status != DataStatus::Refused {
                assert_eq!(strict, normalized(octets.as_bytes()), "what is not refused needs no rewriting: {octets:?}");
            }
        }
    }

    #[test]
    fn lines_and_their_counts() {
        let rows: [(&str, &str, &str, u64, u64, u64); 15] = [
            ("an empty message", ".\r\n", "", 0, 0, 0),
            ("an empty line", "\r\n.\r\n", "\r\n", 2, 1, 0),
            ("two lines", "a\r\nb\r\n.\r\n", "a\r\nb\r\n", 6, 2, 0),
            ("a stuffed dot is one octet of the message", "..a\r\n.\r\n", "..a\r\n", 4, 1, 1),
            ("a stuffed lone dot", "..\r\n.\r\n", "..\r\n", 3, 1, 1),
            ("two stuffed dots", "...\r\n.\r\n", "...\r\n", 4, 1, 1),
            ("a dot that was not stuffed is not part of the line", ".a\r\n.\r\n", "a\r\n", 3, 1, 0),
            ("a bare LF counts as CRLF", "a\nb\n\r\n.\r\n", "a\r\nb\r\n\r\n", 8, 3, 0),
            ("a lone dot before a bare LF", ".\n\r\n.\r\n", "..\r\n\r\n", 5, 2, 1),
            ("a lone dot behind a bare LF", "\n.\r\n.\r\n", "\r\n..\r\n", 5, 2, 1),
            ("a stuffed line behind a bare LF", "\n..a\r\n.\r\n", "\r\n..a\r\n", 6, 2, 1),
            ("a stray CR is a space", "a\rb\r\r\n.\r\n", "a b \r\n", 6, 1, 0),
            ("a stray CR behind a dot", ".\ra\r\n.\r\n", " a\r\n", 4, 1, 0),
            ("a dot inside of a line", "a..\r\n .\r\n.\r\n", "a..\r\n .\r\n", 9, 2, 0),
            ("each such line counts", "..\r\n..a\r\n.b\r\n.\r\n", "..\r\n..a\r\nb\r\n", 10, 3, 2),
        ];
        for (sentence, octets, output, size, lines, dots) in rows {
            let decoded = normalized(octets.as_bytes());
            let (status, left, fault) = (DataStatus::End, vec![], None);
            assert_eq!(
                decoded,
                Decoded { status, output: output.into(), left, size, lines, dots, fault },
                "{sentence}"
            );
        }
    }

    #[test]
    fn plain_lines_have_the_dots_of_the_message() {
        let rows: [(&str, &str, &str); 10] = [
            ("a stuffed dot", "..a\r\n.\r\n", ".a\r\n"),
            ("a stuffed lone dot", "a\r\n..\r\n.\r\n", "a\r\n.\r\n"),
            ("an end of data as text", "a\r\n..\r\nRSET\r\n.\r\n", "a\r\n.\r\nRSET\r\n"),
            ("two stuffed dots", "...\r\n.\r\n", "..\r\n"),
            ("a dot that was not stuffed is not part of the line", ".a\r\n.\r\n", "a\r\n"),
            ("a lone dot before a bare LF", ".\n\r\n.\r\n", ".\r\n\r\n"),
            ("a lone dot behind a bare LF", "\n.\r\n.\r\n", "\r\n.\r\n"),
            ("a stuffed line behind a bare LF", "\n..a\n\r\n.\r\n", "\r\n.a\r\n\r\n"),
            ("a stuffed dot and a stray CR", "..\ra\r\n.\r\n", ". a\r\n"),
            ("no dots", "a\r\n\r\nb\r\n.\r\n", "a\r\n\r\nb\r\n"),
        ];
        for (sentence, octets, output) in rows {
            let decoder = DataDecoder::new(BareNewline::Normalize, false, Dots::Plain);
            let decoded = decode_cut(decoder, octets.as_bytes(), &[usize::MAX]);
            assert_eq!(decoded.output, output.as_bytes(), "{sentence}");
            assert_eq!((decoded.status, decoded.size), (DataStatus::End, output.len() as u64), "{sentence}");
        }
    }

    #[test]
    fn an_exempt_client_may_end_with_lf_dot_lf() {
        let rows: [(&str, &[u8], DataStatus, &str); 6] = [
            ("LF.LF ends", b"a\n.\nQUIT", DataStatus::End, "a\r\n"),
            ("CRLF.LF ends", b"a\r\n.\nQUIT", DataStatus::End, "a\r\n"),
            ("CRLF.CRLF ends", b"a\r\n.\r\nQUIT", DataStatus::End, "a\r\n"),
            ("a dot and LF at the start end", b".\nQUIT", DataStatus::End, ""),
            ("LF.CRLF does not", b"a\n.\r\n", DataStatus::More, "a\r\n..\r\n"),
            ("all is rewritten", b"a\n.b\n..c\rd\n", DataStatus::More, "a\r\nb\r\n..c d\r\n"),
        ];
        for mode in [BareNewline::Normalize, BareNewline::Reject] {
            for (sentence, octets, status, output) in rows {
                let decoded = decode(mode, true, octets);
                assert_eq!((decoded.status, &decoded.output[..]), (status, output.as_bytes()), "{sentence}");
                let left: &[u8] = if status == DataStatus::End { b"QUIT" } else { b"" };
                assert_eq!(decoded.left, left, "{sentence}");
            }
        }
    }

    #[test]
    fn a_bare_newline_is_refused_at_once_and_for_good() {
        for (octets, output) in
            [(&b"ab\nc\r\n.\r\n"[..], "ab"), (b"ab\rc", "ab"), (b".\nMAIL", ""), (b"a\r\n.\rb", "a\r\n")]
        {
            let mut decoder = DataDecoder::new(BareNewline::Reject, false, Dots::Stuffed);
            let mut input = BytesMut::from(octets);
            let mut seen = Vec::new();
            let status = decoder.decode(&mut input, &mut |part| seen.extend_from_slice(&part));
            assert_eq!((status, &seen[..]), (DataStatus::Refused, output.as_bytes()), "{octets:?}");
            assert_eq!(decoder.fault(), Some(DataFault::BareNewline));
            input = BytesMut::from(&b"text\r\n.\r\n"[..]);
            assert_eq!(decoder.decode(&mut input, &mut |_| panic!("output")), DataStatus::Refused);
            assert_eq!(input.len(), 9, "nothing more is taken");
        }
    }

    #[test]
    fn a_nul_silences_the_rest_but_the_end_is_found() {
        let decoded = normalized(b"a\r\nb\0c\r\n..d\n.e\r\n\0\r\n.\r\nQUIT\r\n");
        assert_eq!((decoded.status, decoded.fault), (DataStatus::End, Some(DataFault::Nul)));
        assert_eq!((&decoded.output[..], &decoded.left[..]), (&b"a\r\nb"[..], &b"QUIT\r\n"[..]));
        let strict = decode(BareNewline::Reject, false, b"\0a\nb");
        assert_eq!((strict.status, strict.fault), (DataStatus::Refused, Some(DataFault::Nul)));
    }

    #[test]
    fn clean_octets_are_not_copied() {
        let line = format!("{}\r\n..{}\r\n", "a".repeat(74), "b".repeat(72));
        let text = line.repeat(65536 / line.len() + 1);
        let mut input = BytesMut::from(&text.as_bytes()[..65536]);
        let address = input.as_ptr();
        let mut parts = Vec::new();
        let mut decoder = DataDecoder::new(BareNewline::Normalize, false, Dots::Stuffed);
        assert_eq!(decoder.decode(&mut input, &mut |part| parts.push(part)), DataStatus::More);
        assert_eq!(parts.len(), 1);
        assert_eq!((parts[0].as_ptr(), parts[0].len()), (address, 65536));
    }

    #[test]
    fn a_stranger_cannot_make_many_small_parts() {
        for octets in ["\n", "\r", ".\n", ".a\r\n", "a\n", "\r\n.a\r\n"] {
            let mut input = BytesMut::from(octets.repeat(65536 / octets.len()).as_bytes());
            let mut parts = 0;
            let mut decoder = DataDecoder::new(BareNewline::Normalize, false, Dots::Stuffed);
            assert_eq!(decoder.decode(&mut input, &mut |_| parts += 1), DataStatus::More);
            assert!(parts <= 2, "{parts} parts of {octets:?}");
        }
    }

    /// Octets from an alphabet that hits every transition.
    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let octet = prop_oneof![4 => Just(b'\r'), 4 => Just(b'\n'), 4 => Just(b'.'), 3 => Just(b'a'), 1 => Just(0)];
        prop::collection::vec(octet, 0..64)
    }

    fn mode() -> impl Strategy<Value = BareNewline> {
        prop_oneof![Just(BareNewline::Normalize), Just(BareNewline::Reject)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Cut into single octets nothing is ever looked at as a block.
        #[test]
        fn blocks_make_no_difference(lengths in prop::collection::vec(0usize..300, 20..60), hostile in hostile(),
                                     at in 0usize..8000, mode in mode(), exempt: bool) {
            let lines = lengths.iter().map(|length| "x".repeat(*length) + "\r\n");
            let mut octets = lines.collect::<String>().into_bytes();
            let at = at.min(octets.len());
            octets.splice(at..at, hostile);
            let whole = decode(mode, exempt, &octets);
            prop_assert_eq!(whole, decode_cut(DataDecoder::new(mode, exempt, Dots::Stuffed), &octets, &[1]));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn a_cut_makes_no_difference(octets in hostile(), cuts in prop::collection::vec(1usize..5, 1..8),
                                     mode in mode(), exempt: bool) {
            let whole = decode(mode, exempt, &octets);
            let cut = decode_cut(DataDecoder::new(mode, exempt, Dots::Stuffed), &octets, &cuts);
            prop_assert_eq!(cut, whole);
        }

        /// Whatever the form of the dots, the rest is the same, wherever the stream is cut.
        #[test]
        fn plain_is_stuffed_without_the_stuffing(octets in hostile(), cuts in prop::collection::vec(1usize..5, 1..8),
                                                 mode in mode(), exempt: bool) {
            let stuffed = decode(mode, exempt, &octets);
            let plain = decode_cut(DataDecoder::new(mode, exempt, Dots::Plain), &octets, &cuts);
            let lines = stuffed.output.split_inclusive(|octet| *octet == b'\n');
            let unstuffed: Vec<&[u8]> = lines.map(|line| line.strip_prefix(b".").unwrap_or(line)).collect();
            prop_assert_eq!(&plain.output, &unstuffed.concat());
            if plain.fault.is_none() {
                let dots = plain.output.split(|octet| *octet == b'\n').filter(|line| line.starts_with(b".")).count();
                prop_assert_eq!((plain.dots, plain.size), (dots as u64, plain.output.len() as u64));
            }
            prop_assert_eq!(plain, Decoded { output: unstuffed.concat(), ..stuffed });
        }

        #[test]
        fn the_output_decodes_to_itself(octets in hostile()) {
            let first = normalized(&octets);
            let again = decode(BareNewline::Reject, false, &first.output);
            prop_assert_eq!(again.status, DataStatus::More);
            prop_assert_eq!(&again.output[..], &first.output[..]);
        }

        #[test]
        fn clean_text_goes_through_unchanged(lines in prop::collection::vec("[.a\u{e9}]{0,4}", 0..12), mode in mode()) {
            let encoded = encode(&lines);
            let decoded = decode(mode, false, &encoded);
            prop_assert_eq!(decoded.status, DataStatus::End);
            prop_assert_eq!(&decoded.output[..], &encoded[..encoded.len() - 3]);
            let size: usize = lines.iter().map(|line| line.len() + 2).sum();
            prop_assert_eq!((decoded.size, decoded.lines), (size as u64, lines.len() as u64));
        }
    }
}

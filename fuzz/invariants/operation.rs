//! What can happen to a session, a line of text each, so that a case can be read, written and cut by hand. Lines that say
//! nothing are nothing.

use std::time::Duration;

use portcullis::policy::repeat::Before;
use portcullis::session::io::BackendEnd;
use portcullis::session::io::HoldEnd;
use portcullis::session::question::Answer;
use portcullis::session::question::Copy;
use portcullis::session::question::Oversize;
use portcullis::session::question::Question;
use portcullis::session::question::Throttled;

/// One line.
#[derive(Debug)]
pub(super) enum Operation {
    /// `B text`: the backend says a line; `B` alone: what is due.
    Backend(Option<Vec<u8>>),
    /// `L`: it is lost; `U`: there is no place at it.
    BackendEnd(BackendEnd),
    /// `V`: another client waits for a backend.
    BackendWanted,
    /// `D`: the held message is written to the backend.
    BodySent,
    /// `C text`: the client says a line; `W text`: these octets, in which `\r`, `\n` and `\0` are one each.
    Client(Vec<u8>),
    /// `F`
    ClientEnd,
    /// `R`
    ClientReset,
    /// `H`: what is held is lost; `h`: there is no room for more.
    HoldEnds(HoldEnd),
    /// `K`: the time for a stop is up.
    Kill,
    /// `A letters`: what is known when the next question is answered.
    NextAnswer(Known),
    /// `Q`: with `answers`, the question that is open is answered; `q`: the last answer comes once more.
    Answer { again: bool },
    /// `T`: the next TLS handshake fails.
    NextHandshakeFails,
    /// `@ letters`: half a minute passes for each octet.
    Pass(u64),
    /// `N`: a reload.
    Reload,
    /// `S`: we stop.
    Stop,
    /// `E`: others need the room of the message; `Z`: the place of the connection.
    Wanted(Wanted),
    /// `Y letters`: the hold is nearly used up, more so with each octet.
    Pressure(u8),
    /// `X`: we are nearly full, or (`x`) no longer.
    Stress(bool),
}

/// What is known to those who are asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    block: bool,
    copy: Option<Copy>,
    is_expected: bool,
    is_full: bool,
    is_retry: bool,
    is_served: bool,
    oversize: bool,
}

/// What others need.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    Hold,
    Place,
}

/// `O words` in the first line.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    /// `reject`: bare newlines are refused.
    pub(super) reject: bool,
    /// `stream`: `hold = false`.
    pub(super) stream: bool,
    /// `late`: a held message is sent by `D`, not at once.
    pub(super) late: bool,
    /// `chunking`: the backend offers CHUNKING.
    pub(super) chunking: bool,
    /// `lmtp`: the backend answers the end of a message once for each recipient.
    pub(super) lmtp: bool,
    /// `queue`: the backend is handed whole messages, and has no conversation.
    pub(super) queue: bool,
    /// `answers`: questions are answered by `Q`, not at once.
    pub(super) answers: bool,
}

impl Options {
    pub(super) fn read(first_line: &[u8]) -> Self {
        let Some(words) = first_line.strip_prefix(b"O ") else { return Self::default() };
        let has = |word: &[u8]| words.split(|octet| *octet == b' ').any(|found| found == word);
        Self {
            reject: has(b"reject"),
            stream: has(b"stream"),
            late: has(b"late"),
            chunking: has(b"chunking"),
            lmtp: has(b"lmtp"),
            queue: has(b"queue"),
            answers: has(b"answers"),
        }
    }
}

impl Operation {
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        let (kind, rest) = line.split_first()?;
        let rest = rest.strip_prefix(b" ").unwrap_or(rest);
        Some(match kind {
            b'@' => Self::Pass(rest.len() as u64 * 30),
            b'A' => Self::NextAnswer(Known::read(rest)),
            b'B' if rest.is_empty() => Self::Backend(None),
            b'B' => Self::Backend(Some([rest, b"\r\n"].concat())),
            b'C' => Self::Client([rest, b"\r\n"].concat()),
            b'D' => Self::BodySent,
            b'F' => Self::ClientEnd,
            b'H' => Self::HoldEnds(HoldEnd::Broken),
            b'h' => Self::HoldEnds(HoldEnd::NoRoom),
            b'K' => Self::Kill,
            b'L' => Self::BackendEnd(BackendEnd::Lost),
            b'N' => Self::Reload,
            b'Q' => Self::Answer { again: false },
            b'q' => Self::Answer { again: true },
            b'R' => Self::ClientReset,
            b'S' => Self::Stop,
            b'T' => Self::NextHandshakeFails,
            b'U' => Self::BackendEnd(BackendEnd::Busy),
            b'V' => Self::BackendWanted,
            b'W' => Self::Client(unescaped(rest)),
            b'E' => Self::Wanted(Wanted::Hold),
            b'Z' => Self::Wanted(Wanted::Place),
            b'Y' => Self::Pressure(rest.len().min(4) as u8),
            b'X' => Self::Stress(true),
            b'x' => Self::Stress(false),
            _ => return None,
        })
    }
}

impl Known {
    fn read(letters: &[u8]) -> Self {
        let mut known = Self::default();
        for letter in letters {
            match letter {
                b'a' => known.copy = Some(Copy::Absorb),
                b'b' => known.block = true,
                b'e' => known.is_expected = true,
                b'f' => known.copy = Some(Copy::Refuse(3)),
                b'n' => known.is_full = true,
                b'o' => known.oversize = true,
                b'r' => known.is_retry = true,
                b's' => known.is_served = true,
                b'u' => known.copy = Some(Copy::Busy),
                b'?' => known.copy = Some(Copy::Unknown),
                _ => {}
            }
        }
        known
    }

    /// What the question is answered.
    pub(super) fn answer(self, question: &Question) -> Answer {
        let throttled = Throttled::default();
        let block = self.block.then(|| "a@example.org".to_owned());
        let minute = Duration::from_secs(60);
        match question {
            Question::Connect { .. } => Answer::Connect { throttled, block },
            Question::Copy(candidate) => {
                // The ledger never leaves nobody to deliver to.
                let served = if self.is_served && candidate.copies.len() > 1 { vec![0] } else { Vec::new() };
                Answer::Copy(self.copy.unwrap_or(Copy::Deliver { served, before: Before::default() }))
            }
            Question::Envelope(_) => Answer::Envelope { expected: self.is_expected.then_some(minute) },
            Question::Handshake => Answer::Handshake { granted: !self.is_full },
            Question::Login(_) => Answer::Login(throttled),
            Question::Mail { .. } => Answer::Mail { throttled, block, has_room: !self.is_full },
            Question::Recipient { .. } => {
                Answer::Recipient { throttled, oversize: self.oversize.then_some(Oversize::Wait(minute)) }
            }
            Question::Rejection { .. } => Answer::Rejection { throttled, is_retry: self.is_retry },
            Question::UnknownRecipients(_) => Answer::UnknownRecipients(throttled),
        }
    }
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((octet, behind)) = rest.split_first() {
        let escape = match rest {
            [b'\\', b'r', ..] => Some(b'\r'),
            [b'\\', b'n', ..] => Some(b'\n'),
            [b'\\', b'0', ..] => Some(0),
            _ => None,
        };
        octets.push(escape.unwrap_or(*octet));
        rest = if escape.is_some() { &rest[2..] } else { behind };
    }
    octets
}

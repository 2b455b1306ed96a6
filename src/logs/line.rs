//! One line of a log: its time, its text, and what it says. It must not remember another line.

use jiff::Timestamp;

use crate::logs::foreign;
use crate::logs::ours;
use crate::logs::qmail_send;
use crate::logs::smtpfront;
use crate::logs::stamp::Stamps;
use crate::logs::tcpserver;

/// A line, its end left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The stamp in front, else the time inside.
    pub time: Option<Timestamp>,
    /// The text behind the stamp.
    pub text: &'a [u8],
    /// The program that wrote it, and what it tells.
    pub parsed: Parsed<'a>,
}

/// The program that wrote a line, and what it tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one line is looked at at a time")]
pub enum Parsed<'a> {
    /// Portcullis.
    Ours(ours::Event<'a>),
    /// smtpfront-qmail, its pid first.
    Smtpfront(u32, smtpfront::Event<'a>),
    /// tcpserver or tcpsvd.
    Tcpserver(tcpserver::Event<'a>),
    /// qmail-send.
    QmailSend(qmail_send::Event<'a>),
    /// Another program, and whether it complains.
    Foreign(&'static str, bool),
    /// A line of no program that is known here.
    Text,
}

impl<'a> Line<'a> {
    /// Reads a line; whatever it is, it is one.
    pub fn read(stamps: &mut Stamps, octets: &'a [u8]) -> Self {
        let (stamp, text) = stamps.split(octets);
        let (time, parsed) = parse(text);
        Self { time: stamp.or(time), text, parsed }
    }
}

impl Parsed<'_> {
    /// Whether a program complains about something: of level warn or error, `warning:`, `alert:`, `fatal:`.
    pub fn is_trouble(&self) -> bool {
        matches!(
            self,
            Self::Ours(ours::Event::Trouble)
                | Self::Tcpserver(tcpserver::Event::Trouble)
                | Self::QmailSend(qmail_send::Event::Trouble)
                | Self::Foreign(_, true)
        )
    }

    /// The program's name, for output.
    pub fn program(&self) -> &'static str {
        match self {
            Self::Ours(_) => "portcullis",
            Self::Smtpfront(..) => "smtpfront-qmail",
            Self::Tcpserver(_) => "tcpserver",
            Self::QmailSend(_) => "qmail-send",
            Self::Foreign(program, _) => program,
            Self::Text => "",
        }
    }
}

/// The text behind a stamp, parsed, and the time inside of it.
pub fn parse(text: &[u8]) -> (Option<Timestamp>, Parsed<'_>) {
    if let Some((pid, rest)) = smtpfront::prefix(text) {
        return (None, Parsed::Smtpfront(pid, smtpfront::read(rest)));
    }
    if let Some(rest) = tcpserver::prefix(text) {
        return (None, Parsed::Tcpserver(tcpserver::read(rest)));
    }
    if let Some((time, parsed)) = ours::read(text) {
        return (time, Parsed::Ours(parsed));
    }
    if let Some(event) = qmail_send::read(text) {
        return (None, Parsed::QmailSend(event));
    }
    (None, foreign::read(text).map_or(Parsed::Text, |program| Parsed::Foreign(program, foreign::is_trouble(text))))
}

/// A line that a backend of ours wrote, if it is one of smtpfront-qmail.
pub(super) fn of_backend(line: &[u8]) -> Option<(u32, smtpfront::Event<'_>)> {
    let (pid, rest) = smtpfront::prefix(line)?;
    Some((pid, smtpfront::read(rest)))
}

#[cfg(test)]
mod tests {
    use jiff::ZonedDateTime;

    use super::*;
    use crate::logs::stamp::Tai;

    #[test]
    fn every_line_of_the_samples_is_known() {
        let mut stamps = Stamps::new(Tai::Auto, &ZonedDateTime::default());
        let samples: [(&str, &[u8]); 2] = [
            ("smtpfront-qmail", include_bytes!("../../tests/data/log/multilog-smtpfront/current")),
            ("qmail-send", include_bytes!("../../tests/data/log/qmail-send.current")),
        ];
        for (name, sample) in samples {
            let lines = sample.strip_suffix(b"\n").unwrap_or(sample).split(|octet| *octet == b'\n');
            for octets in lines {
                let line = Line::read(&mut stamps, octets);
                let is_known = [name, "tcpserver"].contains(&line.parsed.program());
                assert!(is_known && line.time.is_some(), "{:?}", String::from_utf8_lossy(octets));
            }
        }
    }

    #[test]
    fn who_says_it() {
        let table = [
            ("mailfront[1]: bytes in: 1 bytes out: 2", "smtpfront-qmail"),
            ("tcpserver: status: 0/20", "tcpserver"),
            ("status: local 0/10 remote 0/20", "qmail-send"),
            ("mail session=a verdict=accept", "portcullis"),
            ("reload level=error", "portcullis"),
            ("sslserver: status: 0/20", "tcpserver"),
            ("simscan:[1]:CLEAN (0.1/5.0):3s:x:192.0.2.1:a@b.example:c@d.example", "simscan"),
            ("new msg 7 queue5", "qmail-send"),
            ("hello", ""),
            ("", ""),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text.as_bytes()).1.program(), expected, "{text}");
        }
    }
}

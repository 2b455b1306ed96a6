//! The end of qmail-queue as a reply: the words of qmail-smtpd (qmail.c of notqmail), so that programs
//! that read logs and bounces on a qmail host find the texts they know. It must not make a success of anything but exit code 0.

use jiff::Timestamp;

use crate::smtp::reply_reader::BackendReply;

/// The way a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By itself, with this code.
    Exit(i32),
    /// Its time was up, and it did not say that the message is queued.
    Late,
    /// Not known: it was not there to be reaped.
    Lost,
    /// It was not started.
    NotStarted,
    /// It has queued the message.
    Queued {
        /// The time.
        at: Timestamp,
        /// Its number, by which qmail-send's log knows the message: `qp`.
        pid: i32,
    },
    /// By this signal.
    Signal(i32),
    /// With code 0, before it had read the envelope.
    Unread,
}

impl End {
    /// The end of a program whose time was up: what it still says holds when it is a success.
    pub(super) fn late(self) -> Self {
        if self == Self::Exit(0) { self } else { Self::Late }
    }
}

/// The reply; `text` is the program's own, which goes with code 82.
pub(super) fn of(end: End, text: Option<String>) -> BackendReply {
    let words = match end {
        End::Queued { at, pid } => return one_line(250, format!("ok {} qp {pid}", at.as_second())),
        End::Exit(82) => return text.map_or_else(|| verdict("Zqq temporary problem (#4.3.0)"), |text| verdict(&text)),
        End::Exit(code) => of_code(code),
        End::Late => "Zqq timeout (#4.3.0)",
        End::Lost => "Zqq waitpid surprise (#4.3.0)",
        End::NotStarted => "Zunable to exec qq (#4.3.0)",
        End::Signal(_) => "Zqq crashed (#4.3.0)",
        End::Unread => "Zqq read error (#4.3.0)",
    };
    verdict(words)
}

/// `D` is a refusal for good, `Z` one for now; 11 to 40 are for good (qmail-queue(8)).
fn of_code(code: i32) -> &'static str {
    match code {
        11 | 115 => "Denvelope address too long for qq (#5.1.3)",
        31 => "Dmail server permanently rejected message (#5.3.0)",
        51 => "Zqq out of memory (#4.3.0)",
        52 => "Zqq timeout (#4.3.0)",
        53 => "Zqq write error or disk full (#4.3.0)",
        // Code 0 is a success only where the program has read all.
        0 | 54 => "Zqq read error (#4.3.0)",
        55 => "Zqq unable to read configuration (#4.3.0)",
        56 => "Zqq trouble making network connection (#4.3.0)",
        61 => "Zqq trouble in home directory (#4.3.0)",
        62..=66 => "Zqq trouble creating files in queue (#4.3.0)",
        71 => "Zmail server temporarily rejected message (#4.3.0)",
        72 => "Zconnection to mail server timed out (#4.4.1)",
        73 => "Zconnection to mail server rejected (#4.4.1)",
        74 => "Zcommunication with mail server failed (#4.4.2)",
        81 | 91 => "Zqq internal bug (#4.3.0)",
        120 => "Zunable to exec qq (#4.3.0)",
        12..=40 => "Dqq permanent problem (#5.3.0)",
        _ => "Zqq temporary problem (#4.3.0)",
    }
}

fn verdict(words: &str) -> BackendReply {
    let code = if words.starts_with('D') { 554 } else { 451 };
    one_line(code, words[1..].trim_start().to_owned())
}

fn one_line(code: u16, text: String) -> BackendReply {
    BackendReply { code, lines: vec![text] }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// The codes of qmail-queue, and the replies of notqmail's qmail-smtpd and of smtpfront-qmail to each, heard from them.
    const CODES: &str = include_str!("../../../tests/samples/qq-exit-codes.tsv");

    #[test]
    fn every_end_has_the_reply_of_qmail_smtpd() {
        let mut rows = 0;
        for row in CODES.lines().filter(|line| !line.starts_with('#')) {
            let columns: Vec<&str> = row.split('\t').collect();
            let end = match columns[0] {
                "0" => End::Queued { at: Timestamp::from_second(1_795_395_525).unwrap(), pid: 1599 },
                "signal" => End::Signal(9),
                "not executable" => End::NotStarted,
                code => End::Exit(code.parse().unwrap()),
            };
            let expected = columns[1].replace("<unixtime>", "1795395525").replace("<pid>", "1599");
            assert_eq!(of(end, None).text(), expected, "exit {}", columns[0]);
            rows += 1;
        }
        assert_eq!(rows, 31, "all rows");
    }

    #[test]
    fn only_code_82_has_a_text_of_its_own() {
        let text = |text: &str| Some(text.to_owned());
        let rows = [
            (82, text("DSpam (#5.7.1)"), "554 Spam (#5.7.1)"),
            (82, text("Zlater"), "451 later"),
            (82, None, "451 qq temporary problem (#4.3.0)"),
            (31, text("Dtext"), "554 mail server permanently rejected message (#5.3.0)"),
            (100, text("Dtext"), "451 qq temporary problem (#4.3.0)"),
            (40, None, "554 qq permanent problem (#5.3.0)"),
            (41, None, "451 qq temporary problem (#4.3.0)"),
        ];
        for (code, text, expected) in rows {
            assert_eq!(of(End::Exit(code), text).text(), expected, "exit {code}");
        }
    }

    #[test]
    fn no_code_is_a_success() {
        assert!((0..256).all(|code| !of(End::Exit(code), None).is_success()));
        assert_eq!(End::Exit(0).late(), End::Exit(0), "it was just in time");
        assert_eq!(End::Exit(53).late(), End::Late);
        assert_eq!(of(End::Late, None).text(), "451 qq timeout (#4.3.0)");
        assert_eq!(of(End::Unread, None).text(), "451 qq read error (#4.3.0)");
    }
}

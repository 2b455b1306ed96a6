//! Lines of programs that stand around a qmail and write into the same log: they are counted under the program's name.
//! The forms are those of the programs' sources: ucspi-tcp's rblsmtpd and recordio, spamdyke, simscan, qmail-scanner,
//! chkuser, qmail-spp, s/qmail, indimail, vpopmail, daemontools. It must not say what a line means.

use crate::logs::words::number;
use crate::logs::words::word;

/// The program that wrote a line.
pub(super) fn read(text: &[u8]) -> Option<&'static str> {
    let begins = MARKS.iter().find(|(mark, _)| text.starts_with(mark));
    if let Some((_, program)) = begins {
        return Some(program);
    }
    let end = text.iter().position(|octet| matches!(octet, b':' | b'[' | b' ' | b'('))?;
    match text[end] {
        b':' | b'[' => program(&text[..end]),
        _ => is_recordio(text).then_some("recordio"),
    }
}

/// Whether a name is one of these programs.
pub(super) fn is_program(name: &[u8]) -> bool {
    program(name).is_some()
}

/// Whether a line of one of these programs complains: `fatal:`, `warning:`, `alert:` behind its name.
pub(super) fn is_trouble(text: &[u8]) -> bool {
    let mut words = text.split(|octet| *octet == b' ').skip(1).take(2);
    words.any(|word| matches!(word, b"fatal:" | b"warning:" | b"alert:"))
}

fn program(name: &[u8]) -> Option<&'static str> {
    // vchkpw-smtp, clamd@scan, s6-tcpserver4d
    let is_it = |program: &&&str| {
        let rest = name.strip_prefix(program.as_bytes());
        rest.is_some_and(|rest| rest.first().is_none_or(|next| !next.is_ascii_alphabetic()) || rest == b"d")
    };
    PROGRAMS.iter().filter(is_it).max_by_key(|program| program.len()).copied()
}

/// `1234 < EHLO x`, `1234 > 250 ok+`: recordio's process, its direction, and what went by.
fn is_recordio(text: &[u8]) -> bool {
    let (pid, rest) = word(text);
    number::<u32>(pid).is_some() && matches!(rest, [b'<' | b'>', b' ', ..])
}

/// Beginnings without a colon.
const MARKS: &[(&[u8], &str)] = &[
    (b"CHKUSER ", "chkuser"),
    (b"Accept::", "qmail-smtpd"),
    (b"Reject::", "qmail-smtpd"),
    (b"DENIED_", "spamdyke"),
    (b"ALLOWED ", "spamdyke"),
    (b"ALLOWED_", "spamdyke"),
    (b"FILTER_", "spamdyke"),
    (b"TIMEOUT from: ", "spamdyke"),
    (b"X-Qmail-Scanner", "qmail-scanner"),
];

const PROGRAMS: &[&str] = &[
    "authdaemond",
    "bincimap",
    "checkpassword",
    "checkvpw",
    "chkuser",
    "clamav",
    "clamav-milter",
    "clamd",
    "clamdscan",
    "clamscan",
    "couriertcpd",
    "cvm",
    "daemontools",
    "dkim",
    "dmarc",
    "dnscache",
    "domainkeys",
    "dovecot",
    "envdir",
    "envuidgid",
    "fail2ban",
    "fetchmail",
    "fixcrio",
    "freshclam",
    "greetdelay",
    "greylist",
    "greylisting",
    "greylite",
    "imapd",
    "jgreylist",
    "maildrop",
    "multilog",
    "ofmipd",
    "opendkim",
    "pgrphack",
    "policy_check",
    "pop3d",
    "qgreylist",
    "qmail-autoresponder",
    "qmail-dk",
    "qmail-dkim",
    "qmail-greylist",
    "qmail-inject",
    "qmail-lspawn",
    "qmail-pop3d",
    "qmail-popup",
    "qmail-qfilter",
    "qmail-queue",
    "qmail-remote",
    "qmail-rspawn",
    "qmail-scanner",
    "qmail-scanner-queue.pl",
    "qmail-smtpam",
    "qmail-smtpd",
    "qmail-spp",
    "qmail-todo",
    "qmtpd",
    "qpsmtpd",
    "rblsmtpd",
    "readproctitle",
    "recordio",
    "relay-ctrl",
    "rspamd",
    "runsv",
    "s6-fdholder",
    "s6-ipcserver",
    "s6-log",
    "s6-supervise",
    "s6-svscan",
    "s6-tcpserver",
    "setuidgid",
    "simscan",
    "softlimit",
    "spamassassin",
    "spamc",
    "spamd",
    "spamdyke",
    "spf",
    "spp",
    "stunnel",
    "supervise",
    "svlogd",
    "svscan",
    "tcprules",
    "vchkpw",
    "vdelivermail",
    "vpopmail",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_line_it_is() {
        let table = [
            ("rblsmtpd: 192.0.2.1 pid 29029: 451 Blocked text", "rblsmtpd"),
            ("spamdyke[29207]: DENIED_RDNS_MISSING from: a@b.example to: c@d.example origin_ip: 192.0.2.1", "spamdyke"),
            ("DENIED_SENDER_BLACKLISTED from: a@b.example to: c@d.example origin_ip: 192.0.2.1", "spamdyke"),
            (
                "simscan:[210394]:CLEAN (-1.21/9999.00):3.3s:Subject here:198.51.100.224:a@b.example:c@d.example",
                "simscan",
            ),
            ("simscan: calling spamc", "simscan"),
            ("qmail-scanner[123]: Clear:RC:0(192.0.2.1):", "qmail-scanner"),
            ("qmail-scanner-queue.pl: X-Qmail-Scanner-2.11st:[mx1] cannot create", "qmail-scanner-queue.pl"),
            ("CHKUSER accepted rcpt: from <a|remoteinfo/auth:|chkuser-identify:> remote <mx:x:192.0.2.1>", "chkuser"),
            ("qmail-smtpd: pid 14544 from ::ffff:127.0.0.1 HELO <a> MAIL from <b> RCPT <c>", "qmail-smtpd"),
            ("qmail-smtpd[17]: badmailfrom: <a@b.example> at 192.0.2.1", "qmail-smtpd"),
            ("Reject::SNDR::Bad_Helo P:ESMTP S:192.0.2.1:unknown H:x F:a@b.example T:c@d.example", "qmail-smtpd"),
            ("vchkpw-smtp: password fail joe@x.example:192.0.2.1", "vchkpw"),
            ("vpopmail[12]: vchkpw-smtp: null password given joe@x.example:192.0.2.1", "vpopmail"),
            ("fixcrio: fatal: unable to run x", "fixcrio"),
            ("1234 < EHLO x", "recordio"),
            ("1234 > 250-mx+", "recordio"),
            ("clamd[9]: /tmp/x: Eicar FOUND", "clamd"),
            ("spamd[9]: result: Y 12", "spamd"),
            ("jgreylist[1234]: 192.0.2.1: OK known", "jgreylist"),
            ("policy_check: remote a@b.example -> local c@d.example (UNAUTHENTICATED SENDER)", "policy_check"),
            ("s6-tcpserver4d: info: allow 192.0.2.1:5 pid 12 count 1/40", "s6-tcpserver"),
            ("softlimit: fatal: unable to run x: file does not exist", "softlimit"),
            ("supervise: fatal: unable to start x/run", "supervise"),
        ];
        for (text, program) in table {
            assert_eq!(read(text.as_bytes()), Some(program), "{text}");
            assert_eq!(is_trouble(text.as_bytes()), text.contains("fatal:"), "{text}");
        }
        for text in
            ["", "hello", "spam: x", "spambot[1]: x", "status: x", "tcpserver: x", "1234 = x", "x < y", "simscan"]
        {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }
}

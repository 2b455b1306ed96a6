//! The words that syslogd, journald, socklog and splogger put between the time and the text: the host, the facility, the
//! program's name. It must not judge the program's text.

use crate::logs::foreign;
use crate::logs::words::number;
use crate::logs::words::word;

/// The text behind `host program[17]: `. A line without the host is one of socklog, or has no such words at all: then it
/// is the text.
pub(super) fn text(line: &[u8]) -> &[u8] {
    let line = without_facility(line);
    let (host, rest) = word(line);
    let (tag, behind) = word(without_facility(rest));
    if let Some(name) = name(tag).filter(|_| host != b"triple" && !host.ends_with(b":")) {
        return without_tag(name, without_facility(rest), behind);
    }
    match name(host) {
        Some(name) if !OURS.contains(&name) => without_tag(name, line, rest),
        _ => line,
    }
}

/// The same where the time says nothing of syslog: only words that are sure to be syslog's are cut.
pub(super) fn sure_text(line: &[u8]) -> &[u8] {
    if let Some(behind) = container(line) {
        return behind;
    }
    let has_facility = without_facility(line).len() < line.len();
    let (host, rest) = word(line);
    let (tag, behind) = word(rest);
    let is_sure = tag.ends_with(b"]:") || tag == b"qmail:";
    match name(tag).filter(|_| is_sure && !host.ends_with(b":")) {
        Some(name) => without_tag(name, rest, behind),
        None if has_facility => without_facility(line),
        None => line,
    }
}

/// The text of a message of RFC 5424, behind `<13>1 `: time, host, program, process, id, structured data.
pub(super) fn rfc5424(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (time, rest) = word(line);
    let (_host, rest) = word(rest);
    let (program, rest) = word(rest);
    let (_process, rest) = word(rest);
    let (_id, rest) = word(rest);
    let text = match rest {
        [b'-', rest @ ..] => rest,
        [b'[', ..] => behind_data(rest)?,
        _ => return None,
    };
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    (time.contains(&b'T') && !program.is_empty()).then_some((time, text))
}

/// `<22>`: facility and level as one number, in front of a line from the wire or from /dev/log.
pub(super) fn behind_priority(line: &[u8]) -> Option<&[u8]> {
    let end = line.iter().take(5).position(|octet| *octet == b'>')?;
    number::<u16>(line.get(1..end)?).filter(|priority| line[0] == b'<' && *priority < 192)?;
    Some(&line[end + 1..])
}

/// The text behind `[id key="value"][...]`; a bracket in a value is escaped (RFC 5424 section 6.3.3).
fn behind_data(data: &[u8]) -> Option<&[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, octet) in data.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b']' if !quoted && data.get(at + 1) != Some(&b'[') => return data.get(at + 1..),
            _ => {}
        }
    }
    None
}

/// The name in `program[17]:` or `program:`.
fn name(tag: &[u8]) -> Option<&[u8]> {
    let name = tag.strip_suffix(b":")?;
    let name = match name.strip_suffix(b"]") {
        Some(name) => {
            let (name, pid) = name.split_at_checked(memchr::memrchr(b'[', name)?)?;
            number::<u32>(&pid[1..])?;
            name
        }
        None => name,
    };
    let is_name = name.first().is_some_and(u8::is_ascii_alphabetic)
        && name.iter().all(|octet| octet.is_ascii_graphic() && *octet != b'=');
    is_name.then_some(name)
}

/// The tag stays where the program's lines are known by it, unless they begin with it anyway.
fn without_tag<'a>(name: &[u8], tagged: &'a [u8], behind: &'a [u8]) -> &'a [u8] {
    let is_known = foreign::is_program(name) || OURS.contains(&name);
    if is_known && !behind.starts_with(name) && foreign::read(behind).is_none() { tagged } else { behind }
}

/// Behind `mail.info: ` (socklog), `mail.info ` (busybox), `<mail.info> ` (FreeBSD).
fn without_facility(line: &[u8]) -> &[u8] {
    let (first, rest) = word(line);
    let first = first.strip_suffix(b":").unwrap_or(first);
    let first = first.strip_prefix(b"<").and_then(|first| first.strip_suffix(b">")).unwrap_or(first);
    let Some(dot) = memchr::memchr(b'.', first) else { return line };
    if LEVELS.contains(&&first[dot + 1..]) && first[..dot].iter().all(u8::is_ascii_alphanumeric) { rest } else { line }
}

/// Behind `stderr F ` of Kubernetes' files.
fn container(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"stderr ").or_else(|| line.strip_prefix(b"stdout "))?;
    rest.strip_prefix(b"F ").or_else(|| rest.strip_prefix(b"P "))
}

/// Words with a colon that are the text's own.
const OURS: &[&[u8]] = &[
    b"status",
    b"warning",
    b"alert",
    b"fatal",
    b"info",
    b"tcpserver",
    b"tcpsvd",
    b"sslserver",
    b"mailfront",
    b"smtpfront-qmail",
    b"smtpfront",
];
const LEVELS: &[&[u8]] =
    &[b"emerg", b"alert", b"crit", b"err", b"error", b"warn", b"warning", b"notice", b"info", b"debug"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_front_of_the_text() {
        let table = [
            ("syslogd", "mx qmail: new msg 7", "new msg 7"),
            ("a process", "mx portcullis[71]: mail a=b", "mail a=b"),
            ("a path", "mx postfix/smtpd[1]: a", "a"),
            ("nothing", "mx p[1]: ", ""),
            ("no host, as socklog", "qmail: new msg 7", "new msg 7"),
            ("busybox", "mx mail.info qmail: new msg 7", "new msg 7"),
            ("FreeBSD", "<mail.info> mx qmail: new msg 7", "new msg 7"),
            ("socklog", "mail.info: qmail: new msg 7", "new msg 7"),
            ("a program that is known by its tag", "mx clamd[1]: x FOUND", "clamd[1]: x FOUND"),
            ("its name twice", "mx rblsmtpd[1]: rblsmtpd: 192.0.2.1 pid 1: 451 x", "rblsmtpd: 192.0.2.1 pid 1: 451 x"),
            ("vpopmail", "mx vpopmail[1]: vchkpw-smtp: password fail", "vchkpw-smtp: password fail"),
            ("tcpserver by its tag", "mx tcpserver: status: 1/20", "tcpserver: status: 1/20"),
            ("tcpserver twice", "mx tcpserver: tcpserver: status: 1/20", "tcpserver: status: 1/20"),
            ("qmail-send itself", "status: local 0/10 remote 0/20", "status: local 0/10 remote 0/20"),
            ("its deliveries", "delivery 8: success: x", "delivery 8: success: x"),
            ("its starts", "starting delivery 8: msg 7 to local x", "starting delivery 8: msg 7 to local x"),
            ("its bounces", "triple bounce: discarding bounce/7", "triple bounce: discarding bounce/7"),
            ("words", "mx words without a name", "mx words without a name"),
            ("an empty process", "mx p[x]: a", "mx p[x]: a"),
        ];
        for (what, line, expected) in table {
            assert_eq!(String::from_utf8_lossy(text(line.as_bytes())), expected, "{what}");
        }
    }

    #[test]
    fn only_what_is_sure_where_the_time_is_anybodys() {
        let table = [
            ("mx p[1]: a", "a"),
            ("mx qmail: new msg 7", "new msg 7"),
            ("mail.info: Nov 26 21:00:00 qmail: a", "Nov 26 21:00:00 qmail: a"),
            ("stderr F tcpserver: status: 1/20", "tcpserver: status: 1/20"),
            ("tcpserver: pid 7 from 192.0.2.1", "tcpserver: pid 7 from 192.0.2.1"),
            ("delivery 8: success: x", "delivery 8: success: x"),
            ("mail session=a verdict=accept", "mail session=a verdict=accept"),
            ("storm began: x", "storm began: x"),
        ];
        for (line, expected) in table {
            assert_eq!(String::from_utf8_lossy(sure_text(line.as_bytes())), expected);
        }
    }

    #[test]
    fn messages_of_rfc_5424() {
        let line = b"2026-11-26T21:00:00.003Z mx qmail 17 ID47 [a@1 k=\"v]\\\"\"][b@2] \xEF\xBB\xBFnew msg 7";
        assert_eq!(rfc5424(line), Some((&b"2026-11-26T21:00:00.003Z"[..], &b"new msg 7"[..])));
        assert_eq!(rfc5424(b"2026-11-26T21:00:00Z mx qmail - - - a").map(|it| it.1), Some(&b"a"[..]));
        for line in [&b""[..], b"2026-11-26T21:00:00Z mx qmail - - [open a", b"- mx qmail - - - a", b"x"] {
            assert_eq!(rfc5424(line), None);
        }
        assert_eq!(behind_priority(b"<22>Nov"), Some(&b"Nov"[..]));
        for line in [&b"<>"[..], b"<a@b.example> x", b"<999>x", b"22>x", b"", b"<22"] {
            assert_eq!(behind_priority(line), None);
        }
    }
}

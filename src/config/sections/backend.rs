//! `[backend]`: the server or program behind us. It must not look whether it is there.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use crate::backend::Endpoint;
use crate::backend::Identity;
use crate::backend::Target;
use crate::backend::Tls;
use crate::config::faults::At;
use crate::config::faults::Written;
use crate::config::reader::Section;
use crate::config::sections::path;
use crate::config::sections::time_limit;

/// The section as written.
pub(crate) struct Backend {
    /// The place of the section, or where it would be.
    pub(crate) at: At,
    /// All that were written: exactly one may be. Paths are still as written.
    pub(crate) targets: Vec<Written<Target>>,
    /// The places of all targets, those included that cannot be read.
    pub(crate) written: Vec<At>,
    pub(crate) environment: Vec<(Written<String>, String)>,
    pub(crate) identity: Identity,
    pub(crate) tls: Tls,
    pub(crate) verify: bool,
    pub(crate) max: Option<u64>,
    pub(crate) keepalive: u64,
    pub(crate) connect: Duration,
    pub(crate) reply: Duration,
}

impl Backend {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let mut targets = Vec::new();
        let maildir = section.parsed("maildir", |text| path(text).map(Target::Maildir));
        let tcp = section.parsed("tcp", |text| host_and_port(text).map(Target::Tcp));
        let queue = section.parsed("queue", |text| queue_program(text).map(Target::Queue));
        let lmtp = section.parsed("lmtp", |text| endpoint(text).map(Target::Lmtp));
        targets.extend(maildir.into_iter().chain(tcp).chain(lmtp).chain(queue));
        targets.extend(spawn(section));
        targets.sort_by_key(|target| target.at);
        let identity = identity(section, &targets);
        let (tls, verify) = tls(section, &targets);
        let environment = environment(section);
        let max = section.number("max", 1..=1_000_000).map(|written| written.value);
        let keepalive = keepalive(section, &targets, identity);
        let (connect, reply) = section.table("timeout", |timeout| {
            let connect = timeout.parsed("connect", time_limit).map_or(CONNECT, |written| written.value);
            (connect, timeout.parsed("reply", time_limit).map_or(REPLY, |written| written.value))
        });
        let keys = ["lmtp", "maildir", "queue", "tcp", "spawn"].into_iter().filter(|key| section.has(&[key]));
        let mut written: Vec<At> = keys.map(|key| section.key_at(key)).collect();
        written.sort();
        Self { at: section.at(), targets, written, environment, identity, tls, verify, max, keepalive, connect, reply }
    }
}

/// `tcp://127.0.0.1:2526`, `lmtp://127.0.0.1:24`, `lmtp:unix:/run/dovecot/lmtp`, `spawn:/usr/sbin/smtpfront-qmail`,
/// `queue:/var/qmail/bin/qmail-queue`, `maildir:./portcullis-mail`
///
/// # Errors
/// What to write instead, as a whole argument.
pub(crate) fn target_of_url(url: &str) -> Result<Target, String> {
    let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
    let server = rest.trim_start_matches("//");
    let (target, instead) = match scheme {
        "lmtp" => (endpoint(server).map(Target::Lmtp), "lmtp://127.0.0.1:24 or lmtp:unix:/run/dovecot/lmtp"),
        "maildir" => (path(rest).map(Target::Maildir), "maildir:./portcullis-mail"),
        "queue" => (queue_program(rest).map(Target::Queue), "queue:/var/qmail/bin/qmail-queue"),
        "spawn" => {
            (program(rest).map(|program| Target::Spawn(vec![program.into()])), "spawn:/usr/sbin/smtpfront-qmail")
        }
        "tcp" => (host_and_port(server).map(Target::Tcp), "tcp://127.0.0.1:2526"),
        _ => {
            let all = "tcp://HOST:PORT, lmtp://HOST:PORT, lmtp:unix:/SOCKET, spawn:/PROGRAM, queue:/PROGRAM or maildir:FOLDER";
            (Err(String::new()), all)
        }
    };
    target.map_err(|_| format!("{url:?} is not a valid backend; write {instead}"))
}

/// `unix:/run/dovecot/lmtp`, `127.0.0.1:24`
fn endpoint(text: &str) -> Result<Endpoint, String> {
    if let Some(behind) = text.strip_prefix("lmtp:") {
        // As `--backend` has it.
        let server = behind.trim_start_matches("//");
        return endpoint(server).and(Err(format!("write {server:?}")));
    }
    match text.strip_prefix("unix:") {
        Some("") => Err("write \"unix:/run/dovecot/lmtp\"".to_owned()),
        Some(socket) => path(socket).map(Endpoint::Unix),
        None if text.contains('/') => Err(format!("write \"unix:{text}\"")),
        None => host_and_port(text)
            .map(Endpoint::Tcp)
            .map_err(|_| "write a host and a port, such as \"127.0.0.1:24\", or \"unix:/run/dovecot/lmtp\"".to_owned()),
    }
}

fn spawn(section: &mut Section<'_>) -> Option<Written<Target>> {
    let example = section.text_at("spawn").map(command);
    let example = example.as_deref().unwrap_or(r#""/usr/sbin/smtpfront-qmail""#);
    let words = section.list_of_words("spawn", example)?;
    let findings = section.findings();
    let Some(first) = words.first() else {
        findings
            .fault(section.key_at("spawn"), "backend.spawn is empty; write spawn = [\"/usr/sbin/smtpfront-qmail\"]");
        return None;
    };
    let at = first.at;
    if let Err(instead) = program(&first.value) {
        findings.fault(at, format!("backend.spawn cannot be {:?}; {instead}", first.value));
        return None;
    }
    let words = words.into_iter().map(|word| OsString::from(word.value)).collect();
    Some(Written { value: Target::Spawn(words), at })
}

/// A program's path; a bare name would depend on somebody's PATH.
fn program(text: &str) -> Result<PathBuf, String> {
    whole_path(text, "/usr/sbin/smtpfront-qmail")
}

/// The path of qmail-queue, or of a program in its place.
fn queue_program(text: &str) -> Result<PathBuf, String> {
    whole_path(text, "/var/qmail/bin/qmail-queue")
}

fn whole_path(text: &str, example: &str) -> Result<PathBuf, String> {
    match text.contains('/') {
        true => Ok(PathBuf::from(text)),
        false => Err(format!("write the program's whole path, such as {example:?}")),
    }
}

/// A command line as a list of texts: its words, or a shell that takes it apart where blanks do not.
fn command(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let quoted = |words: &[&str]| words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ");
    match words.first() {
        None => quoted(&["/usr/sbin/smtpfront-qmail"]),
        Some(_) if text.contains(['\'', '"', '\\', '$', '|', ';', '&', '<', '>', '`']) => {
            quoted(&["/bin/sh", "-c", text])
        }
        Some(program) if !program.contains('/') => {
            let path = format!("/usr/sbin/{program}");
            quoted(&[&[path.as_str()], &words[1..]].concat())
        }
        Some(_) => quoted(&words),
    }
}

fn host_and_port(text: &str) -> Result<String, String> {
    let named = |(host, port): (&str, &str)| {
        let fits = |octet: u8| octet.is_ascii_alphanumeric() || b"-._".contains(&octet);
        !host.is_empty() && host.bytes().all(fits) && port.parse::<NonZeroU16>().is_ok()
    };
    let numeric = text.parse::<SocketAddr>().is_ok_and(|address| address.port() != 0);
    match numeric || text.rsplit_once(':').is_some_and(named) {
        true => Ok(text.to_owned()),
        false => Err("write a host and a port, such as \"127.0.0.1:2526\"".to_owned()),
    }
}

fn environment(section: &mut Section<'_>) -> Vec<(Written<String>, String)> {
    let mut pairs = section.pairs("env");
    let findings = section.findings();
    pairs.retain(|(name, value)| {
        let fits = !name.value.is_empty() && !name.value.contains(['=', '\0']) && !value.contains('\0');
        if !fits {
            let what = format!("no environment can hold {:?}; write a name without = and no NUL", name.value);
            findings.fault(name.at, what);
        }
        fits
    });
    pairs
}

/// The way to tell a tcp or lmtp backend the client's address; other backends see it in their environment.
fn identity(section: &mut Section<'_>, targets: &[Written<Target>]) -> Identity {
    let choices = [("none", Identity::None), ("proxy", Identity::Proxy), ("xclient", Identity::Xclient)];
    let Some(Written { value, at }) = section.choice("identity", &choices) else { return Identity::None };
    if value != Identity::None && is_no_server(targets) {
        let what = "backend.identity is for a tcp or lmtp backend, the others know the client; leave it out";
        section.findings().fault(at, what);
    }
    if value == Identity::Proxy && is_unix(targets) {
        section.findings().fault(at, "no PROXY header goes to a unix socket; write identity = \"none\"");
    }
    value
}

/// `tls` and `verify`, which only mean something over a network.
fn tls(section: &mut Section<'_>, targets: &[Written<Target>]) -> (Tls, bool) {
    let choices = [("off", Tls::Off), ("starttls", Tls::Starttls), ("implicit", Tls::Implicit)];
    let tls = section.choice("tls", &choices);
    let verify = section.flag("verify").is_none_or(|verify| verify.value);
    let Some(Written { value, at }) = tls else { return (Tls::Off, verify) };
    if value != Tls::Off && (is_no_server(targets) || is_unix(targets)) {
        section.findings().fault(at, "backend.tls is for a backend behind a network; leave it out");
    }
    (value, verify)
}

/// A session that knows one client serves no other: by its environment, by a PROXY header, or by XCLIENT, which Postfix takes
/// once a session.
fn keepalive(section: &mut Section<'_>, targets: &[Written<Target>], identity: Identity) -> u64 {
    let Some(Written { value, at }) = section.number("keepalive", 0..=100_000) else { return 0 };
    if value > 0 && (is_no_server(targets) || identity != Identity::None) {
        let what = "backend.keepalive works only with a tcp or lmtp backend and identity = \"none\"; leave it out";
        section.findings().fault(at, what);
    }
    value
}

/// A backend is named, and it is not a server.
fn is_no_server(targets: &[Written<Target>]) -> bool {
    !targets.is_empty() && !targets.iter().any(|target| matches!(target.value, Target::Lmtp(_) | Target::Tcp(_)))
}

fn is_unix(targets: &[Written<Target>]) -> bool {
    targets.iter().any(|target| matches!(target.value, Target::Lmtp(Endpoint::Unix(_))))
}

const CONNECT: Duration = Duration::from_secs(10);

const REPLY: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_of_the_command_line_has_an_error_that_can_be_followed() {
        for url in
            ["queue:", "queue", "queue:qmail-queue", "lmtp:", "lmtp://", "lmtp:unix:", "lmtp:/run/s", "tcp:", "spawn:x"]
        {
            let error = target_of_url(url).unwrap_err();
            let instead = error.strip_prefix(&format!("{url:?} is not a valid backend; write ")).unwrap();
            for instead in instead.split(" or ") {
                assert!(target_of_url(instead).is_ok(), "{url}: {instead}");
            }
        }
        let error = target_of_url("unix:/run/s").unwrap_err();
        assert!(error.ends_with("queue:/PROGRAM or maildir:FOLDER"), "{error}");
    }
}

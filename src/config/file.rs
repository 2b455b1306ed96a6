//! The file as written: all its sections. Which keys each has, stands in `sections`; it must not touch other files.

use std::path::PathBuf;

use toml_spanner::Arena;
use toml_spanner::Error;
use toml_spanner::ErrorKind;

use crate::backend::Target;
use crate::config::checked::Admin;
use crate::config::faults::At;
use crate::config::faults::Findings;
use crate::config::faults::Written;
use crate::config::reader::Section;
use crate::config::sections::admin;
use crate::config::sections::alert;
use crate::config::sections::alert::Alert;
use crate::config::sections::backend::Backend;
use crate::config::sections::backend::target_of_url;
use crate::config::sections::lists::Lists;
use crate::config::sections::lists::Recipients;
use crate::config::sections::lists::Size;
use crate::config::sections::log;
use crate::config::sections::message::Message;
use crate::config::sections::qmail::Qmail;
use crate::config::sections::server::Server;
use crate::config::sections::server::listen_address;
use crate::config::sections::state;
use crate::config::sections::throttle;
use crate::config::sections::tls::Tls;
use crate::policy::repeat::RepeatRules;
use crate::policy::throttle::Throttle;
use crate::report;
use crate::store;

/// Every section that has a function in this version.
pub(crate) struct File {
    pub(crate) server: Server,
    pub(crate) backend: Backend,
    pub(crate) qmail: Qmail,
    pub(crate) senders: Lists,
    pub(crate) recipients: Recipients,
    pub(crate) size: Size,
    pub(crate) message: Message,
    /// `None`: not written, which leaves the shipped ones.
    pub(crate) throttles: Option<Vec<(Throttle, At)>>,
    pub(crate) tls: Tls,
    pub(crate) repeat: RepeatRules,
    pub(crate) state: store::state::Settings,
    pub(crate) admin: Admin,
    pub(crate) alerts: Vec<Alert>,
    pub(crate) log: report::Settings,
}

/// Values of the command line, which stand over the file. Their paths are relative to the working folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--listen ADDR`, any number: in place of `server.listen`.
    pub listen: Vec<String>,
    /// `--backend URL`: in place of `backend.maildir`, `tcp` or `spawn`.
    pub backend: Option<String>,
    /// `--control DIR`: in place of `qmail.control`.
    pub control: Option<PathBuf>,
}

impl File {
    pub(crate) fn read(text: &str, findings: &Findings) -> Self {
        let arena = Arena::new();
        let document = toml_spanner::parse_recoverable(text, &arena);
        for error in document.errors() {
            findings.part_is_unreadable();
            findings.fault(At::Octet(error.span().start as usize), syntax(error, text));
        }
        let at = At::Octet(0);
        Section::read(String::new(), String::new(), Some(document.table()), at, findings, Self::read_sections)
    }

    fn read_sections(file: &mut Section<'_>) -> Self {
        Self {
            server: file.table("server", Server::read),
            backend: file.table("backend", Backend::read),
            qmail: file.table("qmail", Qmail::read),
            senders: file.table("senders", Lists::read),
            recipients: file.table("recipients", Recipients::read),
            size: file.table("size", Size::read),
            message: file.table("message", Message::read),
            throttles: file.tables("throttle", throttle::read).map(|all| all.into_iter().flatten().collect()),
            tls: file.table("tls", Tls::read),
            log: file.table("log", log::read),
            repeat: file.table("repeat", state::repeat),
            state: file.table("state", state::state),
            admin: file.table("admin", admin::read),
            alerts: file.tables("alert", alert::read).into_iter().flatten().flatten().collect(),
        }
    }

    /// The command line's word over the file's.
    pub(crate) fn override_with(&mut self, overrides: &Overrides, findings: &Findings) {
        if !overrides.listen.is_empty() {
            let at = At::Option("--listen");
            let mut addresses = Vec::with_capacity(overrides.listen.len());
            for (index, text) in overrides.listen.iter().enumerate() {
                findings.place(format!("server.listen[{index}]"), at);
                match listen_address(text) {
                    Ok(value) => addresses.push(Written { value, at }),
                    Err(instead) => findings.fault(at, format!("{text:?} is not a valid address; {instead}")),
                }
            }
            self.server.listen = Some(addresses);
            self.server.empty_listen = None;
        }
        if let Some(url) = &overrides.backend {
            ["tcp", "spawn", "maildir"]
                .iter()
                .for_each(|key| findings.place(format!("backend.{key}"), At::Option("--backend")));
            match target_of_url(url) {
                Ok(target) => self.set_target(At::Option("--backend"), target),
                Err(what) => findings.fault(At::Option("--backend"), what),
            }
        }
        if let Some(folder) = &overrides.control {
            findings.place("qmail.control".to_owned(), At::Option("--control"));
            self.qmail.control = Some(Written { value: folder.clone(), at: At::Option("--control") });
        }
    }

    /// Sets the backend in place of whatever was written.
    pub(crate) fn set_target(&mut self, at: At, value: Target) {
        self.backend.targets = vec![Written { value, at }];
        self.backend.written = vec![at];
    }
}

/// The line of the file that has this octet.
fn line_at(text: &str, octet: usize) -> &str {
    let octet = text.floor_char_boundary(octet);
    let start = text[..octet].rfind('\n').map_or(0, |end| end + 1);
    text[start..].lines().next().unwrap_or_default()
}

/// The value without quotes, brackets and comment that stands alone on its line.
fn unquoted(line: &str) -> Option<&str> {
    let value = line.split_once('=')?.1.split('#').next()?.trim();
    let is_plain = |c: char| !c.is_control() && !"\"'[]{},;“”‘’".contains(c);
    (!value.is_empty() && value.chars().all(is_plain)).then_some(value)
}

/// The library's words, and what to write where that helps.
fn syntax(error: &Error, text: &str) -> String {
    let message = error.message(text);
    let line = line_at(text, error.span().start as usize).trim();
    let instead = match error.kind() {
        ErrorKind::DuplicateKey { .. } | ErrorKind::DuplicateTable { .. } => "write it once",
        ErrorKind::UnterminatedString(_) => "close the text on the line where it began",
        ErrorKind::InvalidEscape(_) => "write \\\\ for a backslash, or the text in single quotes",
        ErrorKind::UnclosedArray | ErrorKind::UnclosedInlineTable => "close it with ] or }",
        ErrorKind::MissingArrayComma | ErrorKind::MissingInlineTableComma => {
            "write a comma between the values and close the list"
        }
        kind => match written_otherwise(line) {
            Some(instead) => return format!("{message}; {instead}"),
            None if matches!(kind, ErrorKind::UnquotedString) => "write it in quotes",
            None if matches!(kind, ErrorKind::InvalidInteger(_) | ErrorKind::InvalidFloat(_)) => {
                "write texts such as \"10MB\" or \"5m\" in quotes"
            }
            None => "write KEY = VALUE, or a [section]",
        },
    };
    format!("{message}; {instead}")
}

/// What to write in place of a line as other formats have it: INI, YAML, Python, C, and word processors' quotes.
fn written_otherwise(line: &str) -> Option<String> {
    if line.starts_with(';') || line.starts_with("//") {
        return Some("write # before a comment".to_owned());
    }
    if line.contains(['“', '”', '‘', '’', '„']) {
        return Some(format!("write straight quotes: {}", line.replace(['“', '”', '‘', '’', '„'], "\"")));
    }
    if let Some(value) = unquoted(line) {
        return Some(match value {
            "True" | "TRUE" | "yes" | "Yes" => "write true".to_owned(),
            "False" | "FALSE" | "no" | "No" => "write false".to_owned(),
            _ if value.bytes().all(|octet| octet.is_ascii_digit()) => {
                format!("write {}", Some(value.trim_start_matches('0')).filter(|it| !it.is_empty()).unwrap_or("0"))
            }
            _ => format!("write it in quotes: {value:?}"),
        });
    }
    let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c));
    if let Some((key, value)) = line.split_once('=') {
        let (key, value) = (key.trim(), value.trim());
        let is_quoted = is_word(key) && value.starts_with('"');
        return match value.strip_suffix(';') {
            Some(value) if is_quoted => Some(format!("write {key} = {value}")),
            None if is_quoted && value.contains("\",") => Some(format!("write {key} = [{value}]")),
            _ => None,
        };
    }
    let (key, value) = line.split_once(':').filter(|(key, _)| is_word(key.trim()))?;
    Some(match value.trim() {
        "" => format!("write [{}]", key.trim()),
        _ => format!("write = in place of the colon behind {}", key.trim()),
    })
}

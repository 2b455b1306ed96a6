//! `[senders]`, `[recipients]` and `[size]`: refused addresses and the size limits. It must not open a list.

use std::path::PathBuf;

use crate::config::faults::Written;
use crate::config::reader::Section;
use crate::config::sections::path;
use crate::config::units;
use crate::policy::list::Dialect;
use crate::policy::list::folded;

/// `[senders]` or `[recipients]`, as written.
pub(crate) struct Lists {
    pub(crate) blocked: Vec<Written<PathBuf>>,
    pub(crate) dialect: Dialect,
}

impl Lists {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        Self {
            blocked: section.list("blocked", r#""badmailfrom""#, path).unwrap_or_default(),
            dialect: section.choice("dialect", &DIALECTS).map_or(Dialect::Qmail, |written| written.value),
        }
    }
}

/// `[recipients]`, as written.
pub(crate) struct Recipients {
    pub(crate) lists: Lists,
    pub(crate) known: Vec<Written<PathBuf>>,
    pub(crate) routing: bool,
}

impl Recipients {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let lists = Lists::read(section);
        let known = section.list("known", r#""validrcptto.cdb""#, path).unwrap_or_default();
        Self { lists, known, routing: section.flag("routing").is_some_and(|written| written.value) }
    }
}

/// `[size]`, as written.
pub(crate) struct Size {
    pub(crate) limit: Option<u64>,
    pub(crate) caps: Vec<(Vec<String>, u64)>,
}

impl Size {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let limit = |text: &str| if text.is_empty() { Ok(None) } else { units::size(text).map(Some) };
        let limit = section.quantity("limit", limit).and_then(|written| written.value);
        let caps = section.tables("recipients", cap).unwrap_or_default();
        Self { limit, caps: caps.into_iter().flatten().collect() }
    }
}

/// `[[size.recipients]]`
fn cap(section: &mut Section<'_>) -> Option<(Vec<String>, u64)> {
    let matches = section.list("match", r#""fred@example.org""#, address_or_domain);
    let limit = section.quantity("limit", |text| match units::size(text)? {
        0 => Err("write a size such as \"10MB\", or leave the cap out".to_owned()),
        octets => Ok(octets),
    });
    if section.is_written() {
        let findings = section.findings();
        if section.is_empty_list("match") || !section.has(&["match"]) {
            let what = "this cap has no recipients; write match = [\"fred@example.org\", \"@lists.example.org\"]";
            findings.missing(section.key_at("match"), what);
        }
        if !section.has(&["limit"]) {
            findings.missing(section.at(), "this cap has no limit; write limit = \"10MB\"");
        }
    }
    let matches = matches?.into_iter().map(|written| written.value).collect();
    Some((matches, limit?.value))
}

/// Folded, for matching.
fn address_or_domain(text: &str) -> Result<String, String> {
    let domain = text.rsplit_once('@').map(|(_, domain)| domain);
    match domain {
        Some(domain) if !domain.is_empty() && !text.contains([' ', '*', '?']) => Ok(folded(text)),
        None if !text.is_empty() => Err(format!("write \"@{text}\" for a domain, or a whole address")),
        _ => Err("write an address or an \"@domain\"".to_owned()),
    }
}

const DIALECTS: [(&str, Dialect); 2] = [("qmail", Dialect::Qmail), ("extended", Dialect::Extended)];

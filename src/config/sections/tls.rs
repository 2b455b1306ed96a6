//! `[tls]`: certificates and whether they must be used. It must not read a certificate.

use std::path::PathBuf;

use crate::config::faults::At;
use crate::config::faults::Written;
use crate::config::reader::Section;
use crate::config::sections::path;

/// The section as written.
pub(crate) struct Tls {
    pub(crate) pair: Option<Pair>,
    /// A certificate or a key is written, readable or not.
    pub(crate) is_written: bool,
    pub(crate) more: Vec<Written<Pair>>,
    pub(crate) required: Option<At>,
}

/// Two PEM files.
pub(crate) struct Pair {
    pub(crate) certificate: Written<PathBuf>,
    pub(crate) key: Written<PathBuf>,
}

impl Tls {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let (certificate, key) = (file(section, "certificate"), file(section, "key"));
        let is_written = certificate.is_some()
            || key.is_some()
            || ["certificate", "key"].into_iter().any(|key| is_unreadable(section, key));
        let first = pair(section, certificate, key);
        let required = section.flag("required").filter(|required| required.value).map(|required| required.at);
        let more = section.tables("more", |more| {
            let parse = |text: &str| path(text);
            let (certificate, key) = (more.parsed("certificate", parse), more.parsed("key", parse));
            if more.is_written() && !more.has(&["certificate", "key"]) {
                more.findings().missing(more.at(), "this pair is empty; write certificate = \"...\" and key = \"...\"");
            }
            pair(more, certificate, key).map(|pair| Written { value: pair, at: more.at() })
        });
        Self { pair: first, is_written, more: more.unwrap_or_default().into_iter().flatten().collect(), required }
    }
}

fn file(section: &mut Section<'_>, key: &'static str) -> Option<Written<PathBuf>> {
    let text = section.optional_text(key)?;
    Some(Written { value: text.value.into(), at: text.at })
}

fn is_unreadable(section: &Section<'_>, key: &str) -> bool {
    section.has(&[key]) && section.text_at(key) != Some("")
}

fn pair(section: &Section<'_>, certificate: Option<Written<PathBuf>>, key: Option<Written<PathBuf>>) -> Option<Pair> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Some(Pair { certificate, key }),
        // One that cannot be read is told of already.
        (Some(_), None) if is_unreadable(section, "key") => None,
        (None, Some(_)) if is_unreadable(section, "certificate") => None,
        (Some(certificate), None) => {
            section.findings().missing(certificate.at, "a certificate needs its key; write key = \"...\" too");
            None
        }
        (None, Some(key)) => {
            section.findings().missing(key.at, "a key needs its certificate; write certificate = \"...\" too");
            None
        }
        (None, None) => None,
    }
}

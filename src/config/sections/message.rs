//! `[message]`: how a message is kept until it has been ruled on.

use std::path::PathBuf;

use crate::config::faults::Written;
use crate::config::reader::Section;
use crate::config::units;
use crate::smtp::data::BareNewline;

/// As written.
pub(crate) struct Message {
    pub(crate) hold: bool,
    pub(crate) hold_memory: Option<Written<u64>>,
    pub(crate) hold_total: Option<Written<u64>>,
    pub(crate) spool: Option<Written<PathBuf>>,
    pub(crate) min_free: u64,
    pub(crate) bare_newline: BareNewline,
    pub(crate) bare_newline_exempt_relay_client: bool,
}

impl Message {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let message = Self {
            hold: section.flag("hold").is_none_or(|written| written.value),
            hold_memory: section.quantity("hold_memory", units::size),
            hold_total: section.quantity("hold_total", units::size),
            spool: section.optional_text("spool").map(|text| Written { value: text.value.into(), at: text.at }),
            min_free: section.quantity("min_free", units::size).map_or(256 << 20, |written| written.value),
            bare_newline: section
                .choice("bare_newline", &BARE_NEWLINE)
                .map_or(BareNewline::Normalize, |written| written.value),
            bare_newline_exempt_relay_client: exempt(section),
        };
        hops(section);
        message
    }
}

fn exempt(section: &mut Section<'_>) -> bool {
    let relay_client = |text: &str| match text {
        "relayclient" => Ok(()),
        _ => Err("write \"relayclient\"".to_owned()),
    };
    section.list("bare_newline_exempt", "\"relayclient\"", relay_client).is_some_and(|groups| !groups.is_empty())
}

/// Hops are not counted in this version: a bound of one's own must not seem to hold.
fn hops(section: &mut Section<'_>) {
    for (key, default) in [("max_hops", 50), ("own_hops", 3)] {
        if let Some(hops) = section.number(key, 1..=10_000).filter(|hops| hops.value != default) {
            let what = format!("hops are not counted in this version; leave message.{key} out");
            section.findings().fault(hops.at, what);
        }
    }
}

const BARE_NEWLINE: [(&str, BareNewline); 2] = [("normalize", BareNewline::Normalize), ("reject", BareNewline::Reject)];

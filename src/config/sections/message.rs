//! `[message]`: how a message is kept until it has been ruled on. It must not look at the spool.

use std::path::PathBuf;

use crate::config::faults::Written;
use crate::config::reader::Section;
use crate::config::units;
use crate::policy::hops::HopRules;
use crate::smtp::data::BareNewline;

/// The section as written.
pub(crate) struct Message {
    pub(crate) hops: HopRules,
    /// `None`: the default, true.
    pub(crate) hold: Option<Written<bool>>,
    pub(crate) hold_memory: Option<Written<u64>>,
    pub(crate) hold_total: Option<Written<u64>>,
    pub(crate) spool: Option<Written<PathBuf>>,
    pub(crate) min_free: u64,
    pub(crate) bare_newline: BareNewline,
    pub(crate) bare_newline_exempt_relay_client: bool,
}

impl Message {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let hops = hops(section);
        Self {
            hops,
            hold: section.flag("hold"),
            hold_memory: section.quantity("hold_memory", units::size),
            hold_total: section.quantity("hold_total", units::size),
            spool: section.optional_text("spool").map(|text| Written { value: text.value.into(), at: text.at }),
            min_free: section.quantity("min_free", units::size).map_or(256 << 20, |written| written.value),
            bare_newline: section
                .choice("bare_newline", &BARE_NEWLINE)
                .map_or(BareNewline::Normalize, |written| written.value),
            bare_newline_exempt_relay_client: exempt(section),
        }
    }
}

fn exempt(section: &mut Section<'_>) -> bool {
    let written = section.choices("bare_newline_exempt", "\"relayclient\"", &[("relayclient", ())]);
    written.is_some_and(|groups| !groups.is_empty())
}

fn hops(section: &mut Section<'_>) -> HopRules {
    let mut number = |key, default| {
        section.number(key, 1..=10_000).map_or(default, |hops| u32::try_from(hops.value).unwrap_or(default))
    };
    let default = HopRules::default();
    HopRules { max: number("max_hops", default.max), own: number("own_hops", default.own) }
}

const BARE_NEWLINE: [(&str, BareNewline); 2] = [("normalize", BareNewline::Normalize), ("reject", BareNewline::Reject)];

//! `[qmail]`: where qmail's own files are. It must not read these files.

use std::path::PathBuf;

use crate::config::checked::Lookup;
use crate::config::faults::Written;
use crate::config::reader::Section;

/// The section as written: paths are not yet under the configuration's folder.
pub(crate) struct Qmail {
    pub(crate) control: Option<Written<PathBuf>>,
    pub(crate) queue: Option<Written<PathBuf>>,
    pub(crate) tcprules: Option<Written<PathBuf>>,
    pub(crate) lookup: Lookup,
}

impl Qmail {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let mut path = |key| {
            let text = section.optional_text(key)?;
            Some(Written { value: PathBuf::from(text.value), at: text.at })
        };
        let (control, queue, tcprules) = (path("control"), path("queue"), path("tcprules"));
        let lookup = section.choice("lookup", &LOOKUP);
        if let Some(wanted) = lookup.as_ref().filter(|lookup| lookup.value != Lookup::Off) {
            // Rules by host name would silently never match.
            let what = "names of clients are not looked up in this version; write lookup = \"off\"";
            section.findings().fault(wanted.at, what);
        }
        Self { control, queue, tcprules, lookup: lookup.map_or(Lookup::Off, |written| written.value) }
    }
}

const LOOKUP: [(&str, Lookup); 3] = [("off", Lookup::Off), ("ptr", Lookup::Ptr), ("paranoid", Lookup::Paranoid)];

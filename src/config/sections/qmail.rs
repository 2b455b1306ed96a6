//! `[qmail]`: where qmail's own files are. It must not read these files.

use std::path::PathBuf;

use crate::config::faults::Written;
use crate::config::key::Kind;
use crate::config::reader::Section;

/// The section as written: paths are not yet under the configuration's folder.
pub(crate) struct Qmail {
    pub(crate) control: Option<Written<PathBuf>>,
    pub(crate) queue: Option<Written<PathBuf>>,
    pub(crate) tcprules: Option<Written<PathBuf>>,
}

impl Qmail {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let mut path = |key| {
            let text = section.optional_text(key)?;
            Some(Written { value: PathBuf::from(text.value), at: text.at })
        };
        let (control, queue, tcprules) = (path("control"), path("queue"), path("tcprules"));
        // Rules by host name would silently never match.
        section.read_text("lookup", Kind::Word(vec!["off"]), |text| match text {
            "off" => Ok(()),
            _ => Err("names of clients are not looked up in this version: write \"off\"".to_owned()),
        });
        Self { control, queue, tcprules }
    }
}

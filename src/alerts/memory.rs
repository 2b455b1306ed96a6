//! What was told, in a file beside the state: a restart must neither tell it again nor leave out its end. A file that cannot
//! be read or written is no reason to tell less. It must not grow: it has what is told now.

use std::collections::BTreeMap;
use std::io;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use tempfile::NamedTempFile;

use crate::alerts::due::Due;
use crate::alerts::due::Kept;
use crate::text::bounded;

/// The file, and what is in it.
#[derive(Debug)]
pub(crate) struct Memory {
    path: Option<PathBuf>,
    /// What the process before left, by the alert's name, until it is taken.
    before: BTreeMap<String, Vec<Kept>>,
    written: String,
    is_failing: bool,
}

impl Memory {
    /// Reads the file, if there is one; without a path nothing is kept.
    pub(crate) fn open(path: Option<PathBuf>) -> Self {
        let text = path.as_deref().and_then(|path| bounded::read_text(path, LARGEST).ok()).unwrap_or_default();
        let before = serde_json::from_str(&text).unwrap_or_default();
        Self { path, before, written: text, is_failing: false }
    }

    /// What the alert of this name has told.
    pub(crate) fn take(&mut self, name: &str) -> Due {
        Due::restore(self.before.remove(name).unwrap_or_default())
    }

    /// Writes what all alerts have told, if that has changed.
    pub(crate) fn keep<'a>(&mut self, told: impl Iterator<Item = (&'a str, Vec<Kept>)>) {
        let Some(path) = &self.path else { return };
        let told: BTreeMap<&str, Vec<Kept>> = told.filter(|(_, kept)| !kept.is_empty()).collect();
        let text = match told.is_empty() {
            true => String::new(),
            // Plain values have a form in JSON.
            false => serde_json::to_string(&told).unwrap_or_default(),
        };
        if text == self.written {
            return;
        }
        match write(path, &text) {
            Ok(()) => (self.written, self.is_failing) = (text, false),
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    let path = path.display();
                    tracing::warn!(%error, %path, "what was told is not kept over a restart");
                }
            }
        }
    }
}

/// Whole, or not at all. The file's mode is 0600.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(path).map_err(|failed| failed.error)?;
    Ok(())
}

/// Octets of the file.
const LARGEST: u64 = 4 << 20;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_or_written_keeps_nothing_and_harms_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts");
        fs::write(&path, "{\"chat\":[{\"kind\":\"fire\"}]}").unwrap();
        let mut memory = Memory::open(Some(path.clone()));
        assert!(memory.take("chat").kept().is_empty());
        memory.keep(std::iter::empty());
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        let mut nowhere = Memory::open(Some(folder.path().join("no/such/folder")));
        nowhere.keep(std::iter::once(("chat", vec![Kept::example()])));
        assert!(nowhere.is_failing);
        Memory::open(None).keep(std::iter::once(("chat", vec![Kept::example()])));
    }

    #[test]
    fn what_was_told_is_there_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts");
        Memory::open(Some(path.clone())).keep(std::iter::once(("chat", vec![Kept::example()])));
        let mut memory = Memory::open(Some(path));
        assert_eq!(memory.take("chat").kept(), [Kept::example()]);
        assert_eq!(memory.take("pager").kept(), []);
    }
}

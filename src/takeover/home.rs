//! qmail's home, and what its control files say now. It must not judge what the files say.

use std::path::Path;
use std::path::PathBuf;

use serde::Serialize;

use crate::takeover::root::Root;

/// A folder with a `control`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Home {
    /// The folder as it is usually named.
    pub folder: PathBuf,
    /// The control files that Portcullis reads, as far as they are there.
    pub control: Vec<ControlFile>,
    /// Control files of patches that Portcullis does not read, as far as they are there, and what to do.
    pub others: Vec<OtherFile>,
}

/// A control file that only a patched qmail reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OtherFile {
    /// The file's name: `badhelo`.
    pub name: &'static str,
    /// What would have Portcullis do the same; may be empty.
    pub instead: &'static str,
}

/// One control file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ControlFile {
    /// The file's name: `badmailfrom`.
    pub name: &'static str,
    /// The file's first line, or its number of entries.
    pub says: String,
}

impl Home {
    /// The home at `folder`, if it is one.
    pub(super) fn at(root: &Root, folder: &Path) -> Option<Self> {
        let control = folder.join("control");
        let other = |(name, instead): &(&'static str, &'static str)| {
            root.exists(&control.join(name)).then_some(OtherFile { name, instead })
        };
        root.is_folder(&control).then(|| Self {
            folder: folder.to_owned(),
            control: files(root, &control),
            others: OTHERS.iter().filter_map(other).collect(),
        })
    }

    /// All homes in the usual places; one that is a link to another is the same.
    pub(super) fn find(root: &Root) -> Vec<Self> {
        let mut homes: Vec<Self> = Vec::new();
        for folder in PLACES.map(Path::new) {
            let control = root.canonical(&folder.join("control"));
            let known = homes.iter().any(|known| root.canonical(&known.folder.join("control")) == control);
            homes.extend(Self::at(root, folder).filter(|_| !known));
        }
        homes
    }

    /// The text of a file, if it is there.
    pub(super) fn says(&self, name: &str) -> Option<&str> {
        self.control.iter().find(|file| file.name == name).map(|file| file.says.as_str())
    }
}

fn files(root: &Root, control: &Path) -> Vec<ControlFile> {
    let file = |(name, is_list): &(&'static str, bool)| {
        let path = control.join(name);
        if !is_list {
            let text = root.text(&path)?;
            return Some(ControlFile { name, says: text.lines().next().unwrap_or_default().trim_end().to_owned() });
        }
        let text = root.read_up_to(&path, LARGEST_LIST)?;
        let says = match name.ends_with(".cdb") {
            true => format!("{} octets", text.len()),
            false => entries(&text),
        };
        Some(ControlFile { name, says })
    };
    FILES.iter().filter_map(file).collect()
}

fn entries(text: &[u8]) -> String {
    let is_entry = |line: &&[u8]| !matches!(line.trim_ascii().first(), None | Some(b'#'));
    match text.split(|octet| *octet == b'\n').filter(is_entry).count() {
        1 => "1 entry".to_owned(),
        count => format!("{count} entries"),
    }
}

/// Debian's programs look in the second.
pub(super) const PLACES: [&str; 2] = ["/var/qmail", "/var/lib/qmail"];
const LARGEST_LIST: u64 = 256 << 20;
/// Whether it is a list, of which only the number of entries is told.
const FILES: [(&str, bool); 9] = [
    ("me", false),
    ("badmailfrom", true),
    ("badrcptto", true),
    ("rcpthosts", true),
    ("morercpthosts.cdb", true),
    ("databytes", false),
    ("smtpgreeting", false),
    ("timeoutsmtpd", false),
    ("concurrencyincoming", false),
];

/// Lists of patches, and what would have Portcullis do the same.
const OTHERS: [(&str, &str); 21] = [
    ("badhelo", ""),
    ("badhelopatterns", ""),
    ("badloadertypes", ""),
    ("badmailfrom.cdb", IN_BADMAILFROM),
    ("badmailfromnorelay", ""),
    ("badmailfrompatterns", GLOBS),
    ("badmailfromto", ""),
    ("badmailpatterns", GLOBS),
    ("badmailto", "; or write its addresses into badrcptto"),
    ("badmailto.cdb", "; or write its addresses into badrcptto"),
    ("badmimetypes", ""),
    ("badrcptpatterns", RECIPIENT_GLOBS),
    ("badrcptto_patterns", RECIPIENT_GLOBS),
    ("goodrcptto", ""),
    ("morevalidrcptto.cdb", KNOWN),
    ("recipients", ""),
    ("recipients.cdb", ""),
    ("relaymailfrom", ""),
    ("spamdyke.conf", ""),
    ("validrcptto", KNOWN),
    ("validrcptto.cdb", KNOWN),
];
const IN_BADMAILFROM: &str = "; or write its addresses into badmailfrom";
const KNOWN: &str = "; or name it in recipients.known";
const GLOBS: &str = "; or write globs, with senders.dialect = \"extended\"";
const RECIPIENT_GLOBS: &str = "; or write globs, with recipients.dialect = \"extended\"";

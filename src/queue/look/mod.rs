//! qmail's queue, read-only: the files of each message, its state, and its contents.
//!
//! Terms are those of qmail's INTERNALS. `layout` knows the folders, `scan` walks them, `read` reads one message,
//! `envelope` and `header` parse, `filter` selects. The queue changes while it is read: a file gone before it is opened
//! is no error, the message is examined again. It must not change the queue.
//!
//! ```
//! # use std::fs;
//! # use std::os::unix::fs::MetadataExt;
//! use portcullis::queue::look::State;
//! use portcullis::queue::look::layout::Queue;
//! use portcullis::queue::look::read::Reader;
//! use portcullis::queue::look::read::Want;
//! use portcullis::queue::look::scan::scan;
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path();
//! # for name in ["bounce", "info/0", "intd", "local/0", "mess/0", "remote/0", "todo"] {
//! #     fs::create_dir_all(path.join(name))?;
//! # }
//! # fs::write(path.join("new"), "Subject: hello\n\ntext\n")?;
//! # let id = fs::metadata(path.join("new"))?.ino();
//! # fs::rename(path.join("new"), path.join(format!("mess/0/{id}")))?;
//! # fs::write(path.join(format!("info/0/{id}")), "Fjoe@example.org\0")?;
//! # fs::write(path.join(format!("remote/0/{id}")), "Ta@b.example\0Dc@d.example\0")?;
//! // `path` is /var/qmail/queue, or a copy of it.
//! let queue = Queue::open(path)?;
//! let scan = scan(&queue, &|_done, _folders| {})?;
//! assert_eq!((scan.entries.len(), scan.stray_count), (1, 0));
//! let want = Want { recipients: Some(10), ..Want::default() };
//! let message = Reader::new(&queue).read(scan.entries[0], &want).expect("it is still there");
//! assert_eq!(message.state(), State::S5);
//! assert_eq!(message.sender.as_deref(), Some(&b"joe@example.org"[..]));
//! assert_eq!(message.counts(), (1, 1));
//! assert_eq!(&*message.remote.unwrap().kept[0].address, b"a@b.example");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod envelope;
pub mod filter;
pub mod header;
pub mod layout;
pub mod list;
pub mod read;
pub mod retry;
pub mod scan;

use std::fmt;
use std::str::FromStr;

use crate::queue::look::header::Header;

/// The set of [`File`]s that a message has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Files(u8);

/// A kind of queue file, named as its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// The message itself; its number is its own inode's.
    Mess,
    /// The envelope while it is written.
    Intd,
    /// The envelope of a queued message, not preprocessed yet.
    Todo,
    /// The sender; its modification time is the message's birth.
    Info,
    /// Recipients on this host.
    Local,
    /// Recipients on other hosts.
    Remote,
    /// The permanent failures so far.
    Bounce,
}

impl File {
    /// All kinds, in the order in which they are listed.
    pub const ALL: [Self; 7] =
        [Self::Mess, Self::Intd, Self::Todo, Self::Info, Self::Local, Self::Remote, Self::Bounce];

    /// The folder's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mess => "mess",
            Self::Intd => "intd",
            Self::Todo => "todo",
            Self::Info => "info",
            Self::Local => "local",
            Self::Remote => "remote",
            Self::Bounce => "bounce",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Files {
    /// Whether the message has this file.
    pub fn has(self, file: File) -> bool {
        self.0 & file.bit() != 0
    }

    /// Whether the message has no file.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds a file.
    pub fn insert(&mut self, file: File) {
        self.0 |= file.bit();
    }

    /// The files present, in the order of [`File::ALL`].
    pub fn iter(self) -> impl Iterator<Item = File> {
        File::ALL.into_iter().filter(move |file| self.has(*file))
    }

    /// The state as INTERNALS defines it; `None` is S1, no file at all.
    pub fn state(self) -> Option<State> {
        match () {
            () if self.is_empty() => None,
            () if !self.has(File::Mess) => Some(State::Orphan),
            () if self.has(File::Todo) => Some(State::S4),
            () if self.has(File::Info) => Some(State::S5),
            () if self.has(File::Intd) => Some(State::S3),
            () => Some(State::S2),
        }
    }
}

/// The state of a message in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Only `mess`: being received, being removed, or left over.
    S2,
    /// Envelope being received, or left over.
    S3,
    /// Queued, not preprocessed.
    S4,
    /// Preprocessed, in delivery.
    S5,
    /// Files without their message.
    Orphan,
    /// Taken out of the queue into quarantine.
    Quarantined,
}

impl State {
    const ALL: [Self; 6] = [Self::S2, Self::S3, Self::S4, Self::S5, Self::Orphan, Self::Quarantined];

    /// The state as it is printed and parsed.
    pub fn name(self) -> &'static str {
        match self {
            Self::S2 => "S2",
            Self::S3 => "S3",
            Self::S4 => "S4",
            Self::S5 => "S5",
            Self::Orphan => "orphan",
            Self::Quarantined => "quarantined",
        }
    }

    /// The state in words for people who have not read INTERNALS.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::S2 => "being received or removed, or left behind by a crash",
            Self::S3 => "its envelope is being received, or left behind by a crash",
            Self::S4 => "received, waiting for qmail-send to preprocess it",
            Self::S5 => "waiting for its next attempt, or being delivered",
            Self::Orphan => "files without their message",
            Self::Quarantined => "taken out of the queue, kept in quarantine",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|state| state.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| "write S2, S3, S4, S5 or orphan".to_owned())
    }
}

/// A recipient, from one record of a queue file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Whether the record is done: delivered, or failed permanently.
    pub done: bool,
    /// The address as in the file; in `local/` with a virtual domain's user in front.
    pub address: Box<[u8]>,
}

/// The recipients of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipients {
    /// Number of recipients done.
    pub done: usize,
    /// Number of recipients not done.
    pub to_do: usize,
    /// The first recipients, as many as [`Want`](read::Want) asks for.
    pub kept: Vec<Recipient>,
    /// Modification time of the file, seconds since 1970: after a clean exit of qmail-send the next try, else the last
    /// change.
    pub modified: i64,
}

/// A message of the queue, as far as it could be read.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// The message's number.
    pub id: u64,
    /// The files that the message has.
    pub files: Files,
    /// Size of the message in octets.
    pub size: Option<u64>,
    /// The user that ran qmail-queue; known until the message is preprocessed.
    pub uid: Option<u32>,
    /// The pid of that qmail-queue.
    pub qp: Option<u32>,
    /// The envelope sender; empty is the null sender, `None` is unknown.
    pub sender: Option<Box<[u8]>>,
    /// Birth, seconds since 1970: of `info`, else the end of receipt.
    pub birth: Option<i64>,
    /// Recipients in `todo`.
    pub queued: Option<Recipients>,
    /// Recipients in `local`.
    pub local: Option<Recipients>,
    /// Recipients in `remote`.
    pub remote: Option<Recipients>,
    /// Size of `bounce` in octets.
    pub bounce_size: Option<u64>,
    /// The header, if it was wanted and could be read.
    pub header: Option<Header>,
    /// Read errors, one sentence each.
    pub troubles: Vec<String>,
    /// Whether the quarantine has a copy too: the files left here go by themselves.
    pub quarantined: bool,
}

impl Message {
    /// The state of the message.
    pub fn state(&self) -> State {
        self.files.state().unwrap_or(State::Quarantined)
    }

    /// Numbers of recipients done and not done.
    pub fn counts(&self) -> (usize, usize) {
        let sum = |(done, to_do), list: &Recipients| (done + list.done, to_do + list.to_do);
        self.recipients().fold((0, 0), sum)
    }

    /// The recipients in `todo`, `local` and `remote`, as far as read.
    pub fn recipients(&self) -> impl Iterator<Item = &Recipients> {
        [&self.queued, &self.local, &self.remote].into_iter().flatten()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn states_are_those_of_internals() {
        use File::*;
        let cases: &[(&str, &[File], Option<State>)] = &[
            ("nothing", &[], None),
            ("the message alone", &[Mess], Some(State::S2)),
            ("its envelope comes", &[Mess, Intd], Some(State::S3)),
            ("queued", &[Mess, Intd, Todo], Some(State::S4)),
            ("intd went first", &[Mess, Todo], Some(State::S4)),
            ("half written info does not count", &[Mess, Intd, Todo, Info, Local], Some(State::S4)),
            ("in delivery", &[Mess, Info, Remote, Bounce], Some(State::S5)),
            ("all is done", &[Mess, Info], Some(State::S5)),
            ("info without a message", &[Info, Remote], Some(State::Orphan)),
            ("recipients of nobody", &[Local], Some(State::Orphan)),
        ];
        for (what, list, expected) in cases {
            let mut files = Files::default();
            list.iter().for_each(|file| files.insert(*file));
            assert_eq!(files.state(), *expected, "{what}");
            assert_eq!(files.iter().collect::<Vec<_>>(), *list, "{what}");
        }
    }

    #[test]
    fn states_are_read_as_they_are_printed() {
        for state in State::ALL {
            assert_eq!(state.to_string().to_lowercase().parse(), Ok(state));
        }
        assert!("S6".parse::<State>().unwrap_err().contains("S2"));
    }
}

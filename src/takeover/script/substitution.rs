//! The commands that run scripts put between backquotes: a file's text, a user's number, the host's name. Which command
//! stands for which; the answer is somebody else's. It must not run a command.

use std::fmt;

/// A command between backquotes that is usual in run scripts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Substitution {
    /// `cat FILE`
    File(String),
    /// `head -1 FILE`
    FirstLine(String),
    /// `id -u NAME`
    UserId(String),
    /// `id -g NAME`
    GroupId(String),
    /// `getent passwd NAME`: the database, and the user or group.
    Account(String, String),
    /// `hostname`, `uname -n`
    Hostname,
    /// Several commands; only to be shown.
    Piped(String),
}

impl Substitution {
    /// The substitution that these words ask for; `None` if it is not understood.
    pub(super) fn of(words: &[&str]) -> Option<Self> {
        let (program, arguments) = words.split_first()?;
        let file = |file: &str| file.to_owned();
        Some(match (program.rsplit('/').next()?, arguments) {
            ("cat", [name]) if !name.starts_with('-') => Self::File(file(name)),
            ("head", ["-1" | "-n1", name] | ["-n", "1", name]) => Self::FirstLine(file(name)),
            ("sed", ["1q" | "-n1p", name] | ["-n", "1p", name]) => Self::FirstLine(file(name)),
            ("id", ["-u", name]) => Self::UserId(file(name)),
            ("id", ["-g", name]) => Self::GroupId(file(name)),
            ("getent", [database @ ("passwd" | "group"), name]) => Self::Account(file(database), file(name)),
            ("hostname", [] | ["-f" | "--fqdn" | "--long"]) | ("uname", ["-n"]) => Self::Hostname,
            _ => return None,
        })
    }

    /// The same for a script that is in another folder: names of files are whole.
    pub(super) fn below(self, folder: Option<&str>) -> Self {
        let whole = |file: String| match folder {
            Some(folder) if !file.starts_with('/') => format!("{folder}/{file}"),
            _ => file,
        };
        match self {
            Self::File(file) => Self::File(whole(file)),
            Self::FirstLine(file) => Self::FirstLine(whole(file)),
            other => other,
        }
    }

    /// The file that is read, if one is.
    pub fn file(&self) -> Option<&str> {
        match self {
            Self::File(file) | Self::FirstLine(file) => Some(file),
            _ => None,
        }
    }
}

impl fmt::Display for Substitution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => write!(f, "cat {file}"),
            Self::FirstLine(file) => write!(f, "head -1 {file}"),
            Self::UserId(name) => write!(f, "id -u {name}"),
            Self::GroupId(name) => write!(f, "id -g {name}"),
            Self::Account(database, name) => write!(f, "getent {database} {name}"),
            Self::Piped(text) => f.write_str(text),
            Self::Hostname => f.write_str("hostname"),
        }
    }
}

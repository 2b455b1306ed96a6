//! Users and groups by /etc/passwd and /etc/group of the host that is looked at, and the answers to what run scripts
//! ask. It must not ask the system that it runs on, which may be another one.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::takeover::root::Root;
use crate::takeover::script::Answers;
use crate::takeover::script::Substitution;
use crate::takeover::script::Word;

/// The host's users and groups.
#[derive(Debug)]
pub(super) struct Accounts {
    users: Vec<(String, u32, u32)>,
    groups: Vec<(String, u32)>,
}

impl Accounts {
    pub(super) fn read(root: &Root) -> Self {
        let lines = |file: &str| root.text(Path::new(file)).unwrap_or_default();
        let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
        let user = |line: &str| match fields(line).as_slice() {
            [name, _, uid, gid, ..] => Some((name.clone(), uid.parse().ok()?, gid.parse().ok()?)),
            _ => None,
        };
        let group = |line: &str| match fields(line).as_slice() {
            [name, _, gid, ..] => Some((name.clone(), gid.parse().ok()?)),
            _ => None,
        };
        Self {
            users: lines("/etc/passwd").lines().filter_map(user).collect(),
            groups: lines("/etc/group").lines().filter_map(group).collect(),
        }
    }

    pub(super) fn user_name(&self, uid: u32) -> Option<&str> {
        self.users.iter().find(|(_, id, _)| *id == uid).map(|(name, ..)| name.as_str())
    }

    pub(super) fn has_user(&self, name: &str) -> bool {
        self.users.iter().any(|(known, ..)| known == name)
    }

    /// The user's own group.
    pub(super) fn group_of(&self, user: &str) -> Option<u32> {
        self.users.iter().find(|(name, ..)| name == user).map(|(.., gid)| *gid)
    }

    /// A user by name or number, or by what a script asked for.
    pub(super) fn user(&self, word: &Word) -> Option<String> {
        let asked = word.sources.iter().find_map(|source| match source {
            Substitution::UserId(name) => Some(name.clone()),
            _ => None,
        });
        let by_text = || match word.known()?.parse() {
            Ok(uid) => self.user_name(uid).map(str::to_owned),
            Err(_) => word.known().map(str::to_owned),
        };
        asked.or_else(by_text)
    }

    /// A group's number, by number or name.
    pub(super) fn group_id(&self, text: &str) -> Option<u32> {
        text.parse().ok().or_else(|| self.groups.iter().find(|(name, _)| name == text).map(|(_, gid)| *gid))
    }

    pub(super) fn group_name(&self, gid: u32) -> Option<&str> {
        self.groups.iter().find(|(_, id)| *id == gid).map(|(name, _)| name.as_str())
    }
}

/// The output that the usual commands would have here.
pub(super) struct HostAnswers<'a> {
    pub(super) root: &'a Root,
    pub(super) accounts: &'a Accounts,
    /// Relative names of files are below it.
    pub(super) folder: &'a Path,
}

impl Answers for HostAnswers<'_> {
    fn answer(&self, substitution: &Substitution) -> Result<String, String> {
        let text = |file: &str| {
            self.root.text(&self.folder.join(file)).ok_or_else(|| "no such file, or it cannot be read".to_owned())
        };
        let number = |id: Option<u32>, name: &str| match id {
            Some(id) => Ok(id.to_string()),
            None => Err(format!("there is no user {name}")),
        };
        let user = |name: &str| self.accounts.users.iter().find(|(known, ..)| known == name);
        match substitution {
            Substitution::File(file) => text(file),
            Substitution::FirstLine(file) => text(file).map(|text| text.lines().next().unwrap_or_default().to_owned()),
            Substitution::UserId(name) => number(user(name).map(|(_, uid, _)| *uid), name),
            Substitution::GroupId(name) => number(user(name).map(|(.., gid)| *gid), name),
            Substitution::Account(database, name) => {
                let text = self.root.text(&Path::new("/etc").join(database)).unwrap_or_default();
                let line = text.lines().find(|line| line.split(':').next() == Some(name.as_str()));
                line.map(str::to_owned).ok_or_else(|| format!("{name} is not in /etc/{database}"))
            }
            Substitution::Piped(_) => Err("is not a single command".to_owned()),
            Substitution::Hostname => {
                let name = self.root.text(Path::new("/proc/sys/kernel/hostname"));
                let name = name.or_else(|| self.root.text(Path::new("/etc/hostname")));
                name.ok_or_else(|| "the host's name is not known".to_owned())
            }
        }
    }

    fn file_is(&self, kind: char, path: &str) -> Option<bool> {
        let Some(found) = self.root.seen(&self.folder.join(path))? else { return Some(false) };
        Some(match kind {
            'd' => found.is_dir(),
            'f' => found.is_file(),
            's' => found.len() > 0,
            'x' => found.permissions().mode() & 0o111 != 0,
            // Scripts run as root, who reads everything.
            _ => true,
        })
    }
}

//! Real queues in temporary folders: the sample queues unpacked, and queues whose messages have their inode's number as
//! name, as qmail requires. `QmailSend` holds the lock and marks recipients as qmail-send does.
#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests; each uses its part")]

use std::fs;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use nix::fcntl::Flock;
use nix::fcntl::FlockArg;
use nix::sys::stat::Mode;
use nix::unistd::User;
use tempfile::TempDir;

/// The split that qmail is compiled with.
pub(crate) const SPLIT: u64 = 23;

/// A queue with `queue`, `control` and `bin` as below /var/qmail.
pub(crate) struct TestQueue {
    home: TempDir,
    split: u64,
    big_todo: bool,
}

/// A message to be made.
pub(crate) struct Mail<'a> {
    pub(crate) sender: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) octets: usize,
    /// Records such as `Tjoe@example.org` or `Dfred@example.org`.
    pub(crate) local: &'a [&'a str],
    pub(crate) remote: &'a [&'a str],
    pub(crate) bounce: &'a str,
}

/// A message of the storm.
pub(crate) const STORM: Mail<'_> = Mail {
    sender: "newsletter@sillyplace.com",
    subject: "Silly news",
    octets: 3000,
    local: &["Djoe@mx.example.org", "Tfred@mx.example.org"],
    remote: &["Tann@remote.example"],
    bounce: "",
};

/// A message that must stay.
pub(crate) const GOOD: Mail<'_> = Mail {
    sender: "bob@good.example",
    subject: "Lunch?",
    octets: 300,
    local: &[],
    remote: &["Tdefer@remote.example"],
    bounce: "",
};

impl TestQueue {
    pub(crate) fn new() -> Self {
        Self::with(SPLIT, false)
    }

    pub(crate) fn with(split: u64, big_todo: bool) -> Self {
        Self::at(tempfile::tempdir().unwrap(), split, big_todo)
    }

    pub(crate) fn at(home: TempDir, split: u64, big_todo: bool) -> Self {
        let queue = Self { home, split, big_todo };
        for folder in ["mess", "info", "local", "remote"] {
            (0..split).for_each(|at| fs::create_dir_all(queue.path(&format!("{folder}/{at}"))).unwrap());
        }
        for folder in ["todo", "intd"] {
            match big_todo {
                true => (0..split).for_each(|at| fs::create_dir_all(queue.path(&format!("{folder}/{at}"))).unwrap()),
                false => fs::create_dir_all(queue.path(folder)).unwrap(),
            }
        }
        ["bounce", "pid", "lock"].iter().for_each(|folder| fs::create_dir_all(queue.path(folder)).unwrap());
        File::create(queue.path("lock/sendmutex")).unwrap();
        nix::unistd::mkfifo(&queue.path("lock/trigger"), Mode::from_bits_truncate(0o622)).unwrap();
        fs::set_permissions(queue.path("lock/trigger"), fs::Permissions::from_mode(0o622)).unwrap();
        fs::create_dir_all(queue.home().join("control")).unwrap();
        fs::create_dir_all(queue.home().join("bin")).unwrap();
        queue
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// A path below the queue.
    pub(crate) fn path(&self, place: &str) -> PathBuf {
        self.home.path().join("queue").join(place)
    }

    pub(crate) fn quarantine(&self, name: &str) -> PathBuf {
        self.home.path().join("quarantine").join(name)
    }

    pub(crate) fn file(&self, kind: &str, id: u64) -> PathBuf {
        let is_split = self.big_todo || !matches!(kind, "todo" | "intd" | "bounce");
        match is_split && kind != "bounce" {
            true => self.path(&format!("{kind}/{}/{id}", id % self.split)),
            false => self.path(&format!("{kind}/{id}")),
        }
    }

    /// Sets qmail's owners, on a host that has its users; otherwise all files belong to the user running the tests.
    pub(crate) fn own(&self) {
        let uid = |name: &str| User::from_name(name).ok().flatten().map(|user| user.uid.as_raw());
        let (Some(queue), Some(send)) = (uid("qmailq"), uid("qmails")) else { return };
        let kinds = [("mess", queue), ("intd", queue), ("todo", queue), ("pid", queue)];
        for (kind, uid) in kinds.into_iter().chain(["info", "local", "remote", "bounce"].map(|kind| (kind, send))) {
            let chowned = Command::new("chown").arg("-R").arg(uid.to_string()).arg(self.path(kind)).status();
            assert!(chowned.unwrap().success());
        }
    }

    /// Makes a message in S2, the message alone; gives its number.
    pub(crate) fn receive(&self, mail: &Mail<'_>) -> u64 {
        let made = self.path("pid/made");
        let header =
            format!("Received: (qmail 1 invoked from network)\nFrom: <{}>\nSubject: {}\n\n", mail.sender, mail.subject);
        let body = "x".repeat(mail.octets.saturating_sub(header.len() + 1));
        fs::write(&made, format!("{header}{body}\n")).unwrap();
        let id = fs::metadata(&made).unwrap().ino();
        fs::rename(&made, self.file("mess", id)).unwrap();
        id
    }

    /// Makes a message in S4, queued; gives its number.
    pub(crate) fn queued(&self, mail: &Mail<'_>) -> u64 {
        let id = self.receive(mail);
        let mut envelope = format!("u7791\0p1599\0F{}\0", mail.sender);
        for record in mail.local.iter().chain(mail.remote) {
            envelope.push_str(&format!("T{}\0", &record[1..]));
        }
        fs::write(self.file("intd", id), envelope).unwrap();
        fs::hard_link(self.file("intd", id), self.file("todo", id)).unwrap();
        id
    }

    /// Makes a message in S5, in delivery; gives its number.
    pub(crate) fn in_delivery(&self, mail: &Mail<'_>) -> u64 {
        let id = self.receive(mail);
        fs::write(self.file("info", id), format!("F{}\0", mail.sender)).unwrap();
        for (kind, records) in [("local", mail.local), ("remote", mail.remote)] {
            if !records.is_empty() {
                fs::write(self.file(kind, id), format!("{}\0", records.join("\0"))).unwrap();
            }
        }
        if !mail.bounce.is_empty() {
            fs::write(self.file("bounce", id), mail.bounce).unwrap();
        }
        id
    }

    /// Everything below the queue, to see that nothing has changed: paths, contents and links.
    pub(crate) fn picture(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        collect(&self.path(""), &self.path(""), &mut files);
        files.sort();
        files
    }

    /// The records of a file, as text.
    pub(crate) fn records(&self, kind: &str, id: u64) -> String {
        String::from_utf8(fs::read(self.file(kind, id)).unwrap()).unwrap().replace('\0', " ").trim_end().to_owned()
    }

    pub(crate) fn lock(&self) -> QmailSend {
        let file = File::options().write(true).open(self.path("lock/sendmutex")).unwrap();
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error).unwrap();
        QmailSend { _lock: lock }
    }
}

/// A sample queue, unpacked; its messages have wrong inodes.
pub(crate) fn sample(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let tar = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(name);
    let status = Command::new("tar").arg("-xf").arg(tar).arg("-C").arg(folder.path()).status().unwrap();
    assert!(status.success());
    folder
}

/// A holder of qmail-send's lock.
pub(crate) struct QmailSend {
    _lock: Flock<File>,
}

impl QmailSend {
    /// Marks the recipient at offset `at` as delivered, as `markdone` does.
    pub(crate) fn mark_done(&self, queue: &TestQueue, kind: &str, id: u64, at: u64) {
        let file = File::options().write(true).open(queue.file(kind, id)).unwrap();
        file.write_all_at(b"D", at).unwrap();
    }

    /// Makes a pass over the message: when nothing is left to do, its files are removed in qmail-send's order. Gives
    /// the recipients that it would deliver to now.
    pub(crate) fn pass(&self, queue: &TestQueue, id: u64) -> Vec<String> {
        let mut to_do = Vec::new();
        for kind in ["local", "remote"] {
            let Ok(octets) = fs::read(queue.file(kind, id)) else { continue };
            let records = octets.split(|octet| *octet == 0).filter(|record| record.starts_with(b"T"));
            let before = to_do.len();
            to_do.extend(records.map(|record| String::from_utf8(record[1..].to_vec()).unwrap()));
            if to_do.len() == before {
                fs::remove_file(queue.file(kind, id)).unwrap();
            }
        }
        if to_do.is_empty() && queue.file("info", id).exists() {
            assert!(!queue.file("bounce", id).exists(), "a bounce would go out for {id}");
            fs::remove_file(queue.file("info", id)).unwrap();
            fs::remove_file(queue.file("mess", id)).unwrap();
        }
        to_do
    }
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        let place = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        if kind.is_dir() {
            collect(root, &entry.path(), files);
        } else if kind.is_file() {
            files.push((place, fs::read(entry.path()).unwrap()));
        } else {
            files.push((place, Vec::new()));
        }
    }
}

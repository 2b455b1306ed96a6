//! One message into a Maildir (<https://cr.yp.to/proto/maildir.html>): written in `tmp`, flushed to the disk, moved to
//! `new`, and only then acknowledged. It must not leave a file behind that it did not acknowledge, and it never waits
//! for the disk on a thread of the runtime.

use std::fs::DirBuilder;
use std::fs::File;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::io;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use tokio::task::spawn_blocking;

/// A message on its way. Dropped before it was delivered, it takes its file along.
pub(super) struct Delivery {
    maildir: PathBuf,
    name: String,
    /// Made at the first write; away once the message stands in `new`.
    file: Option<File>,
    /// Octets to be written next.
    text: Vec<u8>,
    written: u64,
    /// The first fault: nothing is written after it.
    fault: Option<io::Error>,
}

impl Delivery {
    /// A message that begins at `now`. The folders are made when something is written.
    pub(super) fn new(maildir: PathBuf, hostname: &str, now: Timestamp) -> Self {
        Self { maildir, name: unique_name(hostname, now), file: None, text: Vec::new(), written: 0, fault: None }
    }

    /// The buffer that the message's text is added to.
    pub(super) fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// Whether enough text has gathered for a `write`.
    pub(super) fn is_due(&self) -> bool {
        self.text.len() >= AT_ONCE
    }

    /// Writes the text that has gathered. A fault of the file waits for `deliver`, since SMTP has no answer in the middle of a
    /// body; an error here is a panic or the end of the runtime.
    pub(super) async fn write(mut self) -> io::Result<Self> {
        let written = spawn_blocking(move || {
            self.write_text();
            self
        });
        Ok(written.await?)
    }

    /// Writes the rest and moves the message to `new`; gives the name of its file.
    ///
    /// When only the last flush of `new` fails the message may be there all the same: better twice than never.
    pub(super) async fn deliver(self) -> io::Result<String> {
        spawn_blocking(move || self.finish()).await?
    }

    fn finish(mut self) -> io::Result<String> {
        self.write_text();
        let file = match (&self.file, self.fault.take()) {
            (_, Some(fault)) => return Err(fault),
            (None, None) => return Err(io::Error::other("an empty message")),
            (Some(file), None) => file,
        };
        file.sync_all()?;
        let name = format!("{},S={}", self.name, self.written);
        let new = self.maildir.join("new");
        std::fs::rename(self.temporary(), new.join(&name))?;
        self.file = None;
        File::open(new)?.sync_all()?;
        Ok(name)
    }

    fn write_text(&mut self) {
        if self.fault.is_none() {
            self.fault = self.append_text().err();
        }
        self.text.clear();
    }

    fn append_text(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            make_folders(&self.maildir)?;
            // O_EXCL: a name that is not unique after all must not cost another message.
            self.file = Some(File::options().write(true).create_new(true).mode(0o600).open(self.temporary())?);
        }
        if let Some(file) = &mut self.file {
            file.write_all(&self.text)?;
        }
        self.written += self.text.len() as u64;
        Ok(())
    }

    fn temporary(&self) -> PathBuf {
        self.maildir.join("tmp").join(&self.name)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.file.is_some()
            && let Err(error) = std::fs::remove_file(self.temporary())
        {
            tracing::warn!(file = %self.temporary().display(), %error, "a temporary file remains");
        }
    }
}

/// The Maildir and its three folders, private, where they are missing.
fn make_folders(maildir: &Path) -> io::Result<()> {
    if !maildir.exists() {
        DirBuilder::new().mode(0o700).recursive(true).create(maildir)?;
        // The parent of a name without a slash is the folder we are in.
        let parent = maildir.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    let mut made = false;
    for folder in ["tmp", "new", "cur"] {
        match DirBuilder::new().mode(0o700).create(maildir.join(folder)) {
            Ok(()) => made = true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    if made { File::open(maildir)?.sync_all() } else { Ok(()) }
}

/// `time.MmicrosPpidQcounter_random.hostname`: unique by process and counter, the random part for two hosts or
/// containers of one name over one folder.
fn unique_name(hostname: &str, now: Timestamp) -> String {
    let (seconds, micros) = (now.as_second(), now.subsec_microsecond());
    let (process, counter) = (std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
    let random = RandomState::new().hash_one(counter);
    let hostname = hostname.replace('/', "\\057").replace(':', "\\072");
    format!("{seconds}.M{micros}P{process}Q{counter}_{random:016x}.{hostname}")
}

static COUNTER: AtomicU64 = AtomicU64::new(1);

/// Octets that are written at a time.
const AT_ONCE: usize = 256 * 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn files(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_name_is_unique_and_one_file_name() {
        let now = Timestamp::new(1_700_000_000, 1_234_567).unwrap();
        let (first, second) = (unique_name("a/b:c", now), unique_name("a/b:c", now));
        assert_ne!(first, second);
        assert!(first.starts_with("1700000000.M1234P"), "{first}");
        assert!(first.ends_with(r".a\057b\072c"), "{first}");
        assert!(!first.contains('/') && !first.contains(':') && !first.starts_with('.'));
    }

    #[tokio::test]
    async fn the_folders_are_made_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let maildir = folder.path().join("deep/mail");
        let mut delivery = Delivery::new(maildir.clone(), "host", Timestamp::now());
        delivery.text().extend_from_slice(b"text\n");
        let name = delivery.deliver().await.unwrap();
        assert!(name.ends_with(",S=5"), "{name}");
        assert_eq!(std::fs::read(maildir.join("new").join(name)).unwrap(), b"text\n");
        for made in ["", "tmp", "new", "cur"] {
            let mode = std::fs::metadata(maildir.join(made)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{made}");
        }
        assert_eq!((files(&maildir.join("tmp")), files(&maildir.join("cur"))), (0, 0));
    }

    #[tokio::test]
    async fn a_message_that_cannot_be_moved_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let mut delivery = Delivery::new(folder.path().into(), "host", Timestamp::now());
        delivery.text().extend_from_slice(b"text\n");
        let delivery = delivery.write().await.unwrap();
        assert_eq!(files(&folder.path().join("tmp")), 1);
        std::fs::remove_dir(folder.path().join("new")).unwrap();
        assert_eq!(delivery.deliver().await.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(files(&folder.path().join("tmp")), 0);
    }

    #[tokio::test]
    async fn a_full_disk_is_told_at_the_end_and_stops_the_writing() {
        let folder = tempfile::tempdir().unwrap();
        let mut delivery = Delivery::new(folder.path().into(), "host", Timestamp::now());
        delivery.text().extend_from_slice(b"text\n");
        let mut delivery = delivery.write().await.unwrap();
        // Every write to /dev/full is ENOSPC.
        delivery.file = Some(File::options().write(true).open("/dev/full").unwrap());
        delivery.text().extend_from_slice(b"more\n");
        let mut delivery = delivery.write().await.unwrap();
        delivery.text().extend_from_slice(b"more\n");
        assert_eq!(delivery.deliver().await.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!((files(&folder.path().join("tmp")), files(&folder.path().join("new"))), (0, 0));
    }
}

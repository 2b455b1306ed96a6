//! Notices that a file of the configuration has changed: the file itself, a list, tcprules, a certificate.
//! It must not read them: the caller reads, checks, and decides.
//!
//! Folders are watched and not files: a watch on a file is dead after the first rename over it. Every name on the way to
//! a file counts, so that a switched symbolic link, or a folder that is moved away and made anew, is a change too.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use notify::Event;
use notify::EventKind;
use notify::RecommendedWatcher;
use notify::RecursiveMode;
use notify::event::AccessKind;
use notify::event::AccessMode;
use notify::event::ModifyKind;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio::time::timeout;

/// Watches a set of files, which need not exist yet.
#[derive(Debug)]
pub struct Watcher {
    files: Vec<PathBuf>,
    /// Replaced as a whole whenever something changes: a watch may have died with its folder.
    inner: Option<RecommendedWatcher>,
    /// One waiting signal stands for any number of events.
    signals: mpsc::Receiver<()>,
    sender: mpsc::Sender<()>,
    /// A change was seen, or asked for, that was not told yet.
    pending: bool,
    /// Files that somebody has written to and not closed since.
    unclosed: Arc<Mutex<BTreeSet<PathBuf>>>,
}

/// The state of files without their contents: another look tells whether one was changed, made or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look(Vec<Option<(u64, u64, u64, i64, i64)>>);

impl Look {
    /// The state now.
    pub fn at<'p>(files: impl IntoIterator<Item = &'p PathBuf>) -> Self {
        let look = |file: &PathBuf| {
            let seen = file.metadata().ok()?;
            // The inode's own time: the others can be set, as `cp -p` does.
            Some((seen.dev(), seen.ino(), seen.size(), seen.ctime(), seen.ctime_nsec()))
        };
        Self(files.into_iter().map(look).collect())
    }

    /// This state with that of more files behind it.
    #[must_use]
    pub fn and(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }
}

/// A folder that cannot be watched, and why: changes in it are noticed at the next reload only.
#[derive(Debug)]
pub struct Unwatched {
    /// The folder.
    pub folder: PathBuf,
    /// The error of the system.
    pub error: notify::Error,
}

impl Watcher {
    /// Watches `files` from now on: read them after this call, or a change in between is missed.
    ///
    /// # Errors
    /// When a relative path has no working folder to be under.
    pub fn new(files: Vec<PathBuf>) -> io::Result<(Self, Vec<Unwatched>)> {
        let (sender, signals) = mpsc::channel(1);
        let unclosed = Arc::default();
        let mut watcher = Self { files: Vec::new(), inner: None, signals, sender, pending: false, unclosed };
        let unwatched = watcher.replace(files)?;
        Ok((watcher, unwatched))
    }

    /// Watches `files` instead, as after a reload that named others.
    ///
    /// # Errors
    /// When a relative path has no working folder to be under.
    pub fn replace(&mut self, files: Vec<PathBuf>) -> io::Result<Vec<Unwatched>> {
        self.files = files.iter().map(std::path::absolute).collect::<io::Result<_>>()?;
        Ok(self.watch())
    }

    /// Pretends that a file has changed: told as soon as all are quiet.
    pub fn ask(&mut self) {
        self.pending = true;
    }

    /// Resolves when a file has changed and has then been left alone for a moment: a program that writes in place leaves a
    /// truncated file first, and an empty list refuses nobody. Cancel-safe: a change is told later.
    pub async fn changed(&mut self) -> Vec<Unwatched> {
        if !self.pending {
            // We hold a sender ourselves: this never ends.
            self.signals.recv().await;
            self.pending = true;
        }
        self.settle().await;
        let unwatched = self.watch();
        self.pending = false;
        unwatched
    }

    /// Returns when nothing has happened for a moment, and nobody has a file open that he has written to.
    #[expect(clippy::disallowed_methods, reason = "files settle in real time")]
    async fn settle(&mut self) {
        let began = Instant::now();
        loop {
            // Names that cannot be watched (a remote file system) can still be looked at.
            let before = Look::at(&self.files);
            let is_quiet = timeout(SETTLED, self.signals.recv()).await.is_err() && Look::at(&self.files) == before;
            let is_closed = lock(&self.unclosed).is_empty();
            let latest = if is_closed { SETTLED_AT_LAST } else { CLOSED_AT_LAST };
            if is_quiet && is_closed || began.elapsed() >= latest {
                return;
            }
        }
    }

    fn watch(&mut self) -> Vec<Unwatched> {
        let mut names = BTreeSet::new();
        for file in &self.files {
            names_on_the_way(file, &mut names);
        }
        let folders: BTreeSet<PathBuf> = names.iter().filter_map(|name| name.parent()).map(Path::to_owned).collect();
        let (sender, unclosed) = (self.sender.clone(), self.unclosed.clone());
        // A close while nothing was watched was not seen.
        lock(&unclosed).clear();
        let tell = move |event: notify::Result<Event>| {
            // An error may hide an event that matters.
            if event.as_ref().map_or(true, |event| matters(event, &names)) {
                event.iter().for_each(|event| follow(event, &names, &unclosed));
                let _ = sender.try_send(());
            }
        };
        let mut unwatched = Vec::new();
        self.inner = match notify::recommended_watcher(tell) {
            Ok(mut watcher) => {
                watch_all(&mut watcher, folders, &self.files, &mut unwatched);
                Some(watcher)
            }
            Err(error) => {
                unwatched.push(Unwatched { folder: PathBuf::from("/"), error });
                None
            }
        };
        unwatched
    }
}

fn watch_all(
    watcher: &mut RecommendedWatcher,
    folders: BTreeSet<PathBuf>,
    files: &[PathBuf],
    unwatched: &mut Vec<Unwatched>,
) {
    let own = files.iter().filter_map(|file| fs::canonicalize(file.parent()?).ok());
    let led_to = files.iter().filter_map(|file| Some(fs::canonicalize(file).ok()?.parent()?.to_owned()));
    let nearest: BTreeSet<PathBuf> = own.chain(led_to).collect();
    for folder in folders {
        let watched = notify::Watcher::watch(watcher, &folder, RecursiveMode::NonRecursive);
        // A folder further up may be closed to us, one that is missing is told by the one above it.
        if let (Err(error), true) = (watched, nearest.contains(&folder)) {
            unwatched.push(Unwatched { folder, error });
        }
    }
}

/// Our own reading opens and closes the files: that must not lead to the next reading.
fn matters(event: &Event, names: &BTreeSet<PathBuf>) -> bool {
    let only_read = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        _ => false,
    };
    !only_read && (event.need_rescan() || event.paths.iter().any(|path| names.contains(path)))
}

/// Keeps up which of the files are being written.
fn follow(event: &Event, names: &BTreeSet<PathBuf>, unclosed: &Mutex<BTreeSet<PathBuf>>) {
    let is_open = match event.kind {
        EventKind::Modify(ModifyKind::Data(_)) => true,
        // Closed, or another file's name now, or nobody's.
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_) => false,
        _ => return,
    };
    let mut unclosed = lock(unclosed);
    for path in event.paths.iter().filter(|path| names.contains(*path)) {
        let _ = if is_open { unclosed.insert(path.clone()) } else { unclosed.remove(path) };
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds each name that is looked up to come from `/` to `file`, links followed.
fn names_on_the_way(file: &Path, names: &mut BTreeSet<PathBuf>) {
    let mut to_go = steps(file);
    let mut real = PathBuf::from("/");
    let mut links = 0;
    while let Some(step) = to_go.pop() {
        match step {
            Step::Down(name) => {
                let next = real.join(name);
                names.insert(next.clone());
                match fs::read_link(&next) {
                    Ok(target) if links < MAX_LINKS => {
                        links += 1;
                        to_go.extend(steps(&target));
                    }
                    _ => real = next,
                }
            }
            Step::Root => real = PathBuf::from("/"),
            Step::Up => {
                real.pop();
            }
        }
    }
}

enum Step {
    Down(OsString),
    Root,
    Up,
}

/// The first step last.
fn steps(path: &Path) -> Vec<Step> {
    let step = |component: Component<'_>| match component {
        Component::Normal(name) => Some(Step::Down(name.to_owned())),
        Component::ParentDir => Some(Step::Up),
        Component::RootDir => Some(Step::Root),
        Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(step).collect()
}

/// Symbolic links of one path, as for the kernel: path_resolution(7).
const MAX_LINKS: usize = 40;

/// Left alone for so long, a file is whole.
const SETTLED: Duration = Duration::from_millis(100);

/// A file that is written without a pause is told of after this time, and again.
const SETTLED_AT_LAST: Duration = Duration::from_millis(700);

/// A file that somebody has open for writing is half of one. It may stay open for ever.
const CLOSED_AT_LAST: Duration = Duration::from_secs(5);

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use notify::event::CreateKind;
    use notify::event::DataChange;
    use notify::event::Flag;
    use notify::event::RenameMode;
    use tempfile::TempDir;

    use super::*;

    fn watch(files: &[PathBuf]) -> Watcher {
        let (watcher, unwatched) = Watcher::new(files.to_vec()).unwrap();
        assert!(unwatched.is_empty(), "{unwatched:?}");
        watcher
    }

    async fn must_notice(watcher: &mut Watcher, what: &str) {
        timeout(Duration::from_secs(10), watcher.changed()).await.unwrap_or_else(|_| panic!("not noticed: {what}"));
    }

    /// A folder with a file `list`.
    fn folder() -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list");
        fs::write(&list, "a@example.org\n").unwrap();
        (folder, list)
    }

    #[tokio::test]
    async fn a_file_that_is_written_in_place() {
        let (_folder, list) = folder();
        let mut watcher = watch(std::slice::from_ref(&list));
        for text in ["one", "two", "three"] {
            fs::write(&list, text).unwrap();
            must_notice(&mut watcher, text).await;
        }
    }

    #[tokio::test]
    async fn a_file_that_is_renamed_over_more_than_once() {
        let (folder, list) = folder();
        let mut watcher = watch(std::slice::from_ref(&list));
        for text in ["one", "two", "three"] {
            let new = folder.path().join("list.new");
            fs::write(&new, text).unwrap();
            fs::rename(&new, &list).unwrap();
            must_notice(&mut watcher, text).await;
        }
    }

    #[tokio::test]
    async fn a_file_that_goes_and_comes_back() {
        let (_folder, list) = folder();
        let mut watcher = watch(std::slice::from_ref(&list));
        fs::remove_file(&list).unwrap();
        must_notice(&mut watcher, "removed").await;
        fs::write(&list, "again").unwrap();
        must_notice(&mut watcher, "created").await;
    }

    #[tokio::test]
    async fn a_file_whose_folder_comes_later_and_is_replaced() {
        let (folder, _) = folder();
        let (control, new) = (folder.path().join("control"), folder.path().join("control.new"));
        let mut watcher = watch(&[control.join("badmailfrom")]);
        fs::create_dir(&control).unwrap();
        must_notice(&mut watcher, "the folder").await;
        fs::write(control.join("badmailfrom"), "a").unwrap();
        must_notice(&mut watcher, "the file in it").await;
        fs::create_dir(&new).unwrap();
        fs::write(new.join("badmailfrom"), "b").unwrap();
        fs::rename(&control, folder.path().join("control.old")).unwrap();
        fs::rename(&new, &control).unwrap();
        must_notice(&mut watcher, "another folder").await;
        fs::write(control.join("badmailfrom"), "c").unwrap();
        must_notice(&mut watcher, "the file in the other folder").await;
    }

    #[tokio::test]
    async fn a_link_that_is_switched_and_the_files_it_led_to() {
        let (folder, _) = folder();
        let (first, second) = (folder.path().join("v1"), folder.path().join("v2"));
        for version in [&first, &second] {
            fs::create_dir(version).unwrap();
            fs::write(version.join("list"), "a").unwrap();
        }
        let current = folder.path().join("current");
        symlink("v1", &current).unwrap();
        let mut watcher = watch(&[current.join("list")]);
        fs::write(first.join("list"), "b").unwrap();
        must_notice(&mut watcher, "the target was written").await;
        let new = folder.path().join("new");
        symlink("v2", &new).unwrap();
        fs::rename(&new, &current).unwrap();
        must_notice(&mut watcher, "the link was switched").await;
        fs::write(second.join("list"), "c").unwrap();
        must_notice(&mut watcher, "the new target was written").await;
    }

    #[tokio::test]
    async fn a_file_that_is_a_link_to_another_folder() {
        let (folder, list) = folder();
        let link = folder.path().join("deep").join("link");
        fs::create_dir(folder.path().join("deep")).unwrap();
        symlink("../list", &link).unwrap();
        let mut watcher = watch(std::slice::from_ref(&link));
        fs::write(&list, "b").unwrap();
        must_notice(&mut watcher, "the target").await;
    }

    #[tokio::test]
    async fn other_files_after_a_reload() {
        let (folder, list) = folder();
        let other = folder.path().join("other");
        let mut watcher = watch(std::slice::from_ref(&list));
        assert!(watcher.replace(vec![other.clone()]).unwrap().is_empty());
        fs::write(&other, "a").unwrap();
        must_notice(&mut watcher, "the other").await;
    }

    #[tokio::test]
    async fn a_change_that_nobody_waited_for_is_told_later() {
        let (_folder, list) = folder();
        let mut watcher = watch(std::slice::from_ref(&list));
        fs::write(&list, "b").unwrap();
        watcher.signals.recv().await.unwrap();
        watcher.pending = true; // as a cancelled `changed` leaves it
        must_notice(&mut watcher, "before").await;
    }

    #[tokio::test]
    async fn who_never_stops_writing_is_told_of_too() {
        let (_folder, list) = folder();
        let mut watcher = watch(std::slice::from_ref(&list));
        let (stop, mut stopped) = mpsc::channel::<()>(1);
        let writer = tokio::task::spawn_blocking(move || {
            let mut file = fs::File::create(&list).unwrap();
            while stopped.try_recv().is_err() {
                file.write_all(b"a").unwrap();
                std::thread::yield_now();
            }
        });
        must_notice(&mut watcher, "while it is being written").await;
        stop.send(()).await.unwrap();
        writer.await.unwrap();
    }

    /// Writes with pauses that are longer than any quiet.
    #[tokio::test]
    async fn half_a_file_is_never_told_of_whether_asked_or_not() {
        for is_asked in [true, false] {
            let (_folder, list) = folder();
            let mut watcher = watch(std::slice::from_ref(&list));
            let (go, mut may_go) = mpsc::channel::<()>(1);
            let path = list.clone();
            let writer = tokio::task::spawn_blocking(move || {
                let mut file = fs::File::create(&path).unwrap();
                file.write_all(b"first half,").unwrap();
                may_go.blocking_recv();
                file.write_all(b" second half").unwrap();
            });
            if is_asked {
                watcher.ask();
            }
            let half = timeout(SETTLED_AT_LAST * 2, watcher.changed()).await;
            assert!(half.is_err(), "told of a half");
            go.send(()).await.unwrap();
            must_notice(&mut watcher, "the whole").await;
            assert_eq!(fs::read(&list).unwrap(), b"first half, second half");
            writer.await.unwrap();
        }
    }

    #[tokio::test]
    async fn who_asks_is_told_where_nothing_has_changed() {
        let (_folder, list) = folder();
        let mut watcher = watch(std::slice::from_ref(&list));
        watcher.ask();
        must_notice(&mut watcher, "asked").await;
    }

    #[test]
    fn another_look_tells_what_was_changed_made_and_removed() {
        let (folder, list) = folder();
        let (link, missing) = (folder.path().join("link"), folder.path().join("missing"));
        symlink("list", &link).unwrap();
        let files = [list.clone(), link.clone(), missing.clone()];
        let changes: [&dyn Fn(); 5] = [
            &|| fs::write(&missing, "made").unwrap(),
            &|| fs::write(&list, "longer than it was").unwrap(),
            &|| fs::remove_file(&missing).unwrap(),
            &|| fs::remove_file(&list).unwrap(),
            &|| fs::write(folder.path().join("list"), "made again").unwrap(),
        ];
        for change in changes {
            let before = Look::at(&files);
            assert_eq!(Look::at(&files), before, "reading changes nothing");
            change();
            assert_ne!(Look::at(&files), before);
        }
    }

    #[test]
    fn what_matters() {
        let names = BTreeSet::from([PathBuf::from("/etc/list")]);
        let event = |kind, path: &str| Event::new(kind).add_path(PathBuf::from(path));
        let open = EventKind::Access(AccessKind::Open(AccessMode::Any));
        let read = EventKind::Access(AccessKind::Close(AccessMode::Read));
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        let table = [
            ("it was opened, perhaps by ourselves", event(open, "/etc/list"), false),
            ("it was read", event(read, "/etc/list"), false),
            ("it was written", event(written, "/etc/list"), true),
            ("it is being written", event(EventKind::Modify(ModifyKind::Data(DataChange::Any)), "/etc/list"), true),
            ("something was renamed to it", event(renamed, "/etc/list"), true),
            ("it was created", event(EventKind::Create(CreateKind::File), "/etc/list"), true),
            ("another was written", event(written, "/etc/other"), false),
            ("events were lost", Event::new(EventKind::Other).set_flag(Flag::Rescan), true),
        ];
        for (what, event, expected) in table {
            assert_eq!(matters(&event, &names), expected, "{what}");
        }
    }

    #[test]
    fn links_in_a_circle_end() {
        let (folder, _) = folder();
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();
        let mut names = BTreeSet::new();
        names_on_the_way(&folder.path().join("a"), &mut names);
        assert!(names.contains(&folder.path().join("b")));
    }
}

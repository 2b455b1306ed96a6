//! `--follow`: prints lines as they are written, through rotation. multilog renames `current` and makes a new one;
//! logrotate does the same, or truncates the file. The old file is read to its end before the new one, and so are files
//! written and rotated away between two looks. It must not lose a line, nor print one twice.

use std::collections::HashSet;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::fs::File;
use std::fs::Metadata;
use std::io;
use std::io::Seek;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use jiff::Timestamp;
use jiff::ZonedDateTime;
use notify::EventKind;
use notify::RecommendedWatcher;
use notify::RecursiveMode;
use notify::Watcher;

use crate::cli::log::digest::Digest;
use crate::cli::log::lines::Lines;
use crate::cli::log::source;
use crate::cli::log::source::Input;
use crate::cli::log::source::Progress;
use crate::cli::log::source::read;
use crate::logs::folder;
use crate::logs::line::Line;
use crate::logs::line::parse;
use crate::logs::stamp::Stamps;
use crate::logs::stamp::Tai;

/// Follows logs until it is interrupted, nobody reads the output, or standard input ends. False if it could not begin.
pub(super) fn follow(inputs: Vec<Input>, tai: Tai, now: &ZonedDateTime, digest: &mut Digest) -> bool {
    if inputs.iter().any(|input| matches!(input, Input::Stdin)) {
        if inputs.len() > 1 {
            eprintln!("standard input cannot be followed together with files");
            return false;
        }
        return read(inputs, tai, now, &Progress::new(&[Input::Stdin], true), digest);
    }
    let since = digest.select().filter().since;
    let stamps = Stamps::new(tai, now);
    let mut tails: Vec<Tail> = inputs.iter().map(|input| Tail::new(input, since, stamps.clone())).collect();
    // Before the first look: changes in between would be missed.
    let (watcher, changed) = watch(&tails);
    digest.set_silent(since.is_none());
    for tail in &mut tails {
        if let Err(error) = tail.begin().and_then(|()| tail.look(digest)) {
            eprintln!("{}: {error}", tail.path.display());
            return false;
        }
    }
    digest.set_silent(false);
    tails.iter_mut().for_each(|tail| tail.stamps.follow());
    while digest.flush().is_continue() {
        // The time limit is for file systems without notifications.
        let _ = changed.recv_timeout(BETWEEN_LOOKS);
        for tail in &mut tails {
            match tail.look(digest) {
                Ok(ControlFlow::Break(())) => return true,
                Ok(ControlFlow::Continue(())) => {}
                Err(error) => eprintln!("{}: {error}", tail.path.display()),
            }
        }
    }
    drop(watcher);
    true
}

/// A growing file.
struct Tail {
    path: PathBuf,
    /// The multilog folder, if the log is one.
    folder: Option<PathBuf>,
    /// Rotated files of the folder that were read, or need not be.
    known: HashSet<OsString>,
    /// Files that were read and had no lasting name yet. They are kept open, so that no other file gets their number.
    unnamed: VecDeque<File>,
    since: Option<Timestamp>,
    file: Option<Lines<File>>,
    stamps: Stamps,
    time: Option<Timestamp>,
}

impl Tail {
    fn new(input: &Input, since: Option<Timestamp>, stamps: Stamps) -> Self {
        let (path, folder) = match input {
            Input::Folder(folder) => (folder.join(folder::CURRENT), Some(folder.clone())),
            Input::File(path) => (path.clone(), None),
            Input::Stdin => (PathBuf::from("-"), None),
        };
        Self { path, folder, known: HashSet::new(), unnamed: VecDeque::new(), since, file: None, stamps, time: None }
    }

    /// Opens the log at its end. Without `--since`, rotated files are past.
    fn begin(&mut self) -> io::Result<()> {
        match &self.folder {
            Some(folder) if self.since.is_none() => {
                let rotated = folder::rotated(source::names(folder)?);
                self.known = rotated.into_iter().filter(|name| name != PREVIOUS).collect();
            }
            Some(_) => {}
            None => drop(File::open(&self.path)?),
        }
        Ok(())
    }

    /// Reads everything new.
    fn look(&mut self, digest: &mut Digest) -> io::Result<ControlFlow<()>> {
        for _ in 0..MOST_ROTATIONS {
            if self.drain(digest)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            let now = match File::open(&self.path) {
                Ok(file) => file,
                // The file was just renamed, and the next does not exist yet.
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            };
            let (old, new) = (self.metadata()?, now.metadata()?);
            match old {
                Some(old) if is_same(&old, &new) => {
                    if self.was_cut(&new) {
                        self.file = Some(begin_again(now)?);
                        continue;
                    }
                    break;
                }
                _ => {
                    // Lines written before the renaming, and a last line without an end.
                    if self.finish(digest)?.is_break() || self.between(&new, digest)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                    self.file = Some(Lines::new(now));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn metadata(&self) -> io::Result<Option<Metadata>> {
        self.file.as_ref().map(|lines| lines.get_ref().metadata()).transpose()
    }

    fn was_cut(&self, now: &Metadata) -> bool {
        self.file.as_ref().is_some_and(|lines| now.len() < lines.read())
    }

    /// The rotated files that came since the last look, but neither those that were read under another name nor the one
    /// that is next.
    fn between(&mut self, new: &Metadata, digest: &mut Digest) -> io::Result<ControlFlow<()>> {
        let Some(folder) = self.folder.clone() else { return Ok(ControlFlow::Continue(())) };
        for name in self.older(&folder, new)? {
            let Ok(file) = File::open(folder.join(&name)) else { continue };
            let metadata = file.metadata()?;
            if self.rotated(name, file, &metadata, digest)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The rotated files that are older than `new`, which was `current` a moment ago, while files are being renamed.
    fn older(&self, folder: &Path, new: &Metadata) -> io::Result<Vec<OsString>> {
        let is_new = |path: &Path| fs::metadata(path).is_ok_and(|it| is_same(&it, new));
        let previous = folder.join(PREVIOUS);
        for _ in 0..MOST_LISTS {
            if !self.is_settled(&previous, new) {
                std::thread::yield_now();
                continue;
            }
            let mut names = folder::rotated(source::names(folder)?);
            names.retain(|name| name != PREVIOUS && !self.known.contains(name));
            let at = names.iter().position(|name| is_new(&folder.join(name)));
            names.truncate(at.unwrap_or(names.len()));
            if at.is_some() || is_new(&self.path) || is_new(&previous) {
                return Ok(names);
            }
        }
        // The program that renames files stopped in the middle of it.
        let mut names = folder::rotated(source::names(folder)?);
        names.retain(|name| !is_new(&folder.join(name)));
        Ok(names)
    }

    /// Whether `previous` needs no reading of its own: it gets its lasting name in a moment.
    fn is_settled(&self, previous: &Path, new: &Metadata) -> bool {
        fs::metadata(previous).map_or(true, |it| is_same(&it, new) || self.was_read(&it))
    }

    fn was_read(&self, metadata: &Metadata) -> bool {
        self.unnamed.iter().any(|one| one.metadata().is_ok_and(|it| is_same(&it, metadata)))
    }

    /// Reads one rotated file.
    fn rotated(
        &mut self,
        name: OsString,
        file: File,
        metadata: &Metadata,
        digest: &mut Digest,
    ) -> io::Result<ControlFlow<()>> {
        let is_old = self.since.is_some_and(|since| folder::is_older(&name, since));
        if is_old || self.known.contains(&name) {
            return Ok(ControlFlow::Continue(()));
        }
        if !self.was_read(metadata) {
            self.file = Some(Lines::new(file));
            if self.finish(digest)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if name != PREVIOUS {
            self.unnamed.retain(|one| !one.metadata().is_ok_and(|it| is_same(&it, metadata)));
            self.known.insert(name);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Reads the file to its end; one of a folder is kept open until it has a lasting name.
    fn finish(&mut self, digest: &mut Digest) -> io::Result<ControlFlow<()>> {
        if self.drain(digest)?.is_break() || self.end(digest).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if let Some(lines) = self.file.take().filter(|_| self.folder.is_some()) {
            self.unnamed.push_back(lines.into_inner());
            if self.unnamed.len() > MOST_UNNAMED {
                self.unnamed.pop_front();
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn drain(&mut self, digest: &mut Digest) -> io::Result<ControlFlow<()>> {
        let Some(lines) = &mut self.file else { return Ok(ControlFlow::Continue(())) };
        while let Some(line) = lines.next()? {
            if give(&mut self.stamps, &mut self.time, lines.octets(line), digest).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn end(&mut self, digest: &mut Digest) -> ControlFlow<()> {
        let Some(lines) = &mut self.file else { return ControlFlow::Continue(()) };
        match lines.rest() {
            Some(line) => give(&mut self.stamps, &mut self.time, lines.octets(line), digest),
            None => ControlFlow::Continue(()),
        }
    }
}

fn give(stamps: &mut Stamps, last: &mut Option<Timestamp>, octets: &[u8], digest: &mut Digest) -> ControlFlow<()> {
    let (stamp, text) = stamps.split(octets);
    let (inside, parsed) = parse(text);
    *last = stamp.or(inside).or(*last);
    digest.push(&Line { time: *last, text, parsed })
}

fn begin_again(mut file: File) -> io::Result<Lines<File>> {
    file.rewind()?;
    Ok(Lines::new(file))
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Watches the folders of the logs; without a watcher only the time limit remains.
fn watch(tails: &[Tail]) -> (Option<RecommendedWatcher>, Changes) {
    let (tell, changed) = sync_channel(1);
    let keep = tell.clone();
    let told = move |event: notify::Result<notify::Event>| {
        // Our own opening and reading is no change.
        if !matches!(event, Ok(notify::Event { kind: EventKind::Access(_), .. })) {
            // One pending notification is enough.
            let _ = tell.try_send(());
        }
    };
    let mut watcher = notify::recommended_watcher(told).ok();
    for tail in tails {
        let folder = tail.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let Some(watcher) = &mut watcher {
            let _ = watcher.watch(folder, RecursiveMode::NonRecursive);
        }
    }
    (watcher, Changes { changed, _keep: keep })
}

/// The notifications; waiting works without a watcher too.
struct Changes {
    changed: Receiver<()>,
    _keep: SyncSender<()>,
}

impl Changes {
    fn recv_timeout(&self, limit: Duration) -> bool {
        self.changed.recv_timeout(limit).is_ok()
    }
}

const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// The name that multilog gives `current` until it has a lasting one.
const PREVIOUS: &str = "previous";
/// Listings of a folder in which files are being renamed.
const MOST_LISTS: usize = 10_000;
/// Unnamed files kept open; more than multilog has at a time.
const MOST_UNNAMED: usize = 8;
/// Rotated files read in one look; the next look continues.
const MOST_ROTATIONS: usize = 100;

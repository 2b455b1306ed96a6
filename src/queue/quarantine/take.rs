//! Takes messages out of the queue into quarantine, as a list of atomic steps. It must not leave, after any step, a
//! queue that qmail-send does not understand.
//!
//! While qmail-send runs, only its own kind of change is made: recipients are marked `D` in place, and it ends the
//! message at its next look. With its lock held that is done first too, so that an interrupted run delivers nothing
//! twice; then the files are removed, `mess` last. Files must not be removed while it runs: it keeps numbers in memory,
//! and numbers are used again.
//! files go, `mess` last. Files are never removed while it runs: it keeps numbers in memory, and numbers are used again.

mod earlier;
mod mark;

use std::collections::HashMap;
use std::io;
use std::io::Write;

use nix::fcntl::OFlag;
use nix::unistd::UnlinkatFlags;

use crate::policy::virtualdomains::VirtualDomains;
use crate::queue::look::File;
use crate::queue::look::Files;
use crate::queue::look::State;
use crate::queue::look::filter::Filter;
use crate::queue::look::layout::Queue;
use crate::queue::look::layout::is_regular;
use crate::queue::look::layout::with_remedy;
use crate::queue::look::read::MAX_ENVELOPE;
use crate::queue::look::read::Reader;
use crate::queue::look::read::Want;
use crate::queue::look::read::slurp;
use crate::queue::look::scan::Entry;
use crate::queue::quarantine::folder;
use crate::queue::quarantine::folder::Quarantine;
use crate::queue::quarantine::saved;
use crate::queue::quarantine::saved::Stage;

/// One step. The steps of one message come in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Link the message into the quarantine.
    Link(u64),
    /// Write its envelope beside it, if the filter still selects it.
    Save(u64),
    /// Flush all of that to disk.
    Sync,
    /// Mark the message as to be completed from here on.
    Commit(u64),
    /// Keep its failures so far, so that they are not reported.
    Bounce(u64),
    /// Mark its recipients done: nothing is left for qmail-send to do.
    Mark(u64),
    /// Remove one of its files, with the lock held.
    Unlink(u64, File),
    /// Mark the message as out of the queue.
    Settle(u64),
}

/// One run over the queue.
#[derive(Debug)]
pub struct QuarantineRun<'q> {
    queue: &'q Queue,
    quarantine: &'q Quarantine,
    filter: &'q Filter,
    domains: VirtualDomains,
    is_live: bool,
    now: i64,
    /// Messages copied by this run, and whether they had been copied before.
    kept: HashMap<u64, bool>,
    /// Messages out of the queue.
    pub taken: Vec<u64>,
    /// Messages not taken, and why.
    pub skipped: Vec<(u64, String)>,
    /// Messages taken on behalf of an earlier, interrupted run.
    pub finished: Vec<u64>,
    /// Messages taken by an earlier run while qmail-send ran, and removed only now.
    pub cleared: Vec<u64>,
}

impl<'q> QuarantineRun<'q> {
    /// A run that has done nothing yet. `domains` are those of qmail's control folder, `now` is in seconds since 1970.
    pub fn new(
        queue: &'q Queue,
        quarantine: &'q Quarantine,
        filter: &'q Filter,
        domains: VirtualDomains,
        is_live: bool,
        now: i64,
    ) -> Self {
        let (kept, taken, skipped, finished, cleared) = Default::default();
        Self { queue, quarantine, filter, domains, is_live, now, kept, taken, skipped, finished, cleared }
    }

    /// Whether qmail-send is running.
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// The steps for these messages. All are copied before the first is taken, so that a full disk changes nothing.
    pub fn steps(&self, ids: &[u64]) -> Vec<Step> {
        let ids: Vec<u64> = ids.iter().filter(|id| !self.finished.contains(id)).copied().collect();
        let mut steps: Vec<Step> = ids.iter().flat_map(|id| [Step::Link(*id), Step::Save(*id)]).collect();
        steps.push(Step::Sync);
        for some in ids.chunks(IN_DOUBT) {
            steps.extend(some.iter().map(|id| Step::Commit(*id)));
            steps.push(Step::Sync);
            some.iter().for_each(|id| steps.extend(self.ends(*id)));
        }
        steps.push(Step::Sync);
        steps
    }

    /// The steps from the first change of the queue to the end.
    fn ends(&self, id: u64) -> Vec<Step> {
        // Twice, because a delivery that fails permanently in between would be reported.
        let mut steps = vec![Step::Bounce(id), Step::Mark(id), Step::Bounce(id)];
        if !self.is_live {
            steps.extend(REMOVAL.map(|file| Step::Unlink(id, file)));
        }
        steps.push(Step::Settle(id));
        steps
    }

    /// Does one step; skipped messages are passed over.
    ///
    /// # Errors
    /// The step that failed and why. Before the first `Commit` this run's copies are removed again, and nothing has
    /// changed.
    pub fn act(&mut self, step: Step) -> Result<(), String> {
        let id = match step {
            Step::Link(id) => Some(id),
            Step::Sync => None,
            Step::Save(id)
            | Step::Commit(id)
            | Step::Bounce(id)
            | Step::Mark(id)
            | Step::Unlink(id, _)
            | Step::Settle(id)
                if self.kept.contains_key(&id) =>
            {
                Some(id)
            }
            _ => return Ok(()),
        };
        let outcome = match step {
            Step::Link(id) => self.link(id),
            Step::Save(id) => self.save(id),
            Step::Sync => self.quarantine.dir().sync(),
            Step::Commit(id) => self.quarantine.change(id, 0, Stage::Taking.letter()),
            Step::Bounce(id) => self.hold_bounce(id),
            Step::Mark(id) => self.mark(id),
            Step::Unlink(id, file) => self.unlink(id, file),
            Step::Settle(id) => self.quarantine.change(id, 0, Stage::Taken.letter()).map(|()| self.taken.push(id)),
        };
        match (id, outcome) {
            (_, Ok(())) => Ok(()),
            (Some(id), Err(error)) if is_of_one(step, &error) => {
                self.give_up(id, &format!("{}; a later run completes it", with_remedy(&error)));
                Ok(())
            }
            (_, Err(error)) => Err(self.fault(id, &error)),
        }
    }

    /// Removes the copies that this run made and that nothing in the queue depends on.
    pub fn undo(&mut self) {
        for (id, was_kept) in std::mem::take(&mut self.kept) {
            let is_only_saved =
                self.quarantine.saved(id).is_ok_and(|saved| saved.is_none_or(|saved| saved.stage == Stage::Saved));
            if !was_kept && is_only_saved {
                // The next run undoes whatever stays.
                let _ = self.quarantine.remove(id);
            }
        }
    }

    fn link(&mut self, id: u64) -> io::Result<()> {
        let place = self.queue.place(File::Mess, id);
        match self.queue.stat(&place) {
            Ok(stat) if is_regular(&stat) && stat.st_ino == id => {}
            Ok(_) => {
                self.skip(id, "its name is not the number of its inode: see portcullis queue check");
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.skip(id, GONE);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        match self.quarantine.dir().link(self.queue, &place, &id.to_string()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.skip(id, GONE);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        // Between the check and the link, another message may have taken the number.
        if !self.quarantine.has(id) {
            self.skip(
                id,
                "another file has its name in quarantine, or its place in the queue: restore or delete that first",
            );
            return Ok(());
        }
        self.kept.insert(id, false);
        Ok(())
    }

    /// Saves the envelope. With the link the number cannot be used again: what is read now belongs to the linked file.
    fn save(&mut self, id: u64) -> io::Result<()> {
        if self.quarantine.saved(id)?.is_some_and(|saved| saved.stage != Stage::Saved) {
            self.kept.insert(id, true);
            return Ok(());
        }
        let want = self.filter.want(&Want { recipients: Some(usize::MAX), header: None, ..Want::default() });
        let message = Reader::new(self.queue).read(Entry { id, files: Files::default() }, &want);
        let why = match &message {
            None => GONE.to_owned(),
            Some(message) => match message.state() {
                _ if self.has_odd_file(id) => {
                    "one of its files is not a regular file: see portcullis queue check".to_owned()
                }
                _ if !message.troubles.is_empty() => message.troubles.join(", "),
                State::S5 | State::S4 if !self.filter.matches(message, self.now) => "it no longer matches".to_owned(),
                State::S5 if message.counts().1 == 0 && message.bounce_size.is_none() => {
                    "nothing is left to deliver: qmail-send removes it".to_owned()
                }
                State::S5 => String::new(),
                State::S4 if !self.is_live => String::new(),
                State::S4 => S4.to_owned(),
                state => format!("it is {}", state.meaning()),
            },
        };
        let octets = message.filter(|_| why.is_empty()).and_then(|message| saved::write(&message, &self.domains));
        let Some(octets) = octets else {
            self.kept.remove(&id);
            self.skip(id, if why.is_empty() { "its envelope is incomplete, or over 64 MiB" } else { &why });
            return self.quarantine.remove(id);
        };
        match self.quarantine.dir().link(self.queue, &self.queue.place(File::Bounce, id), &folder::bounce(id)) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) => {
                return Err(error);
            }
            _ => {}
        }
        self.quarantine.dir().write(&folder::envelope(id), &octets)
    }

    fn has_odd_file(&self, id: u64) -> bool {
        let is_odd = |file| self.queue.stat(&self.queue.place(file, id)).is_ok_and(|stat| !is_regular(&stat));
        File::ALL.into_iter().any(is_odd)
    }

    /// Links the failures into the quarantine; they may be linked already, or have grown.
    fn hold_bounce(&mut self, id: u64) -> io::Result<()> {
        let (place, name) = (self.queue.place(File::Bounce, id), folder::bounce(id));
        let stat = match self.queue.stat(&place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            outcome => outcome?,
        };
        match self.quarantine.dir().inode(&name) {
            Some(inode) if inode == stat.st_ino => {}
            None => self.quarantine.dir().link(self.queue, &place, &name)?,
            Some(_) => {
                let mut text = Vec::new();
                let length = slurp(&self.queue.open_file(&place, OFlag::O_RDONLY)?, &mut text, MAX_ENVELOPE)?;
                let mut kept = self.quarantine.dir().file(&name, OFlag::O_WRONLY | OFlag::O_APPEND)?;
                kept.write_all(&text[..length])?;
                kept.sync_data()?;
            }
        }
        self.remove(&place)
    }

    /// Skips a message, leaving it as it is for a later run to complete.
    fn give_up(&mut self, id: u64, why: &str) {
        self.kept.remove(&id);
        self.skip(id, why);
    }

    fn unlink(&mut self, id: u64, file: File) -> io::Result<()> {
        let place = self.queue.place(file, id);
        // `mess` goes last, and never if it is another message's by now.
        if file == File::Mess && self.queue.stat(&place).is_ok_and(|stat| stat.st_ino != id) {
            return Err(io::Error::other("another file took its place"));
        }
        self.remove(&place)
    }

    fn remove(&self, place: &str) -> io::Result<()> {
        match nix::unistd::unlinkat(self.queue.root(), place, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(nix::errno::Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn skip(&mut self, id: u64, why: &str) {
        self.skipped.push((id, why.to_owned()));
    }

    fn fault(&self, id: Option<u64>, error: &io::Error) -> String {
        let which = id.map_or(String::new(), |id| format!("message {id}: "));
        match error.raw_os_error() {
            Some(nix::libc::EXDEV) => format!(
                "{which}{} is on another file system than the queue: name a folder beside the queue with --quarantine DIR",
                self.quarantine.path().display()
            ),
            _ => format!("{which}{}", with_remedy(error)),
        }
    }
}

/// Whether an error concerns one message only; a full disk, or not being root, concerns all.
fn is_of_one(step: Step, error: &io::Error) -> bool {
    let of_all = [
        io::ErrorKind::StorageFull,
        io::ErrorKind::QuotaExceeded,
        io::ErrorKind::ReadOnlyFilesystem,
        io::ErrorKind::CrossesDevices,
    ];
    let may_be = match step {
        Step::Link(_) | Step::Save(_) => nix::unistd::geteuid().is_root(),
        Step::Bounce(_) | Step::Mark(_) | Step::Unlink(..) => true,
        Step::Sync | Step::Commit(_) | Step::Settle(_) => false,
    };
    may_be && !of_all.contains(&error.kind()) && error.raw_os_error() != Some(nix::libc::EIO)
}

/// Order of removal: after each, the rest are leftovers that qmail-send never reads.
const REMOVAL: [File; 7] = [File::Bounce, File::Local, File::Remote, File::Info, File::Todo, File::Intd, File::Mess];
/// Messages that an interrupted run can leave to be completed.
const IN_DOUBT: usize = 64;
const S4: &str = "qmail-send has not preprocessed it yet (S4): try again in a moment, or stop qmail-send";
const GONE: &str = "it has left the queue";

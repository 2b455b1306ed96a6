//! Completes or undoes earlier runs: messages taken half way, and taken ones that are still in the queue. It must not
//! touch any other.

use std::io;

use crate::queue::look::File;
use crate::queue::quarantine::folder;
use crate::queue::quarantine::saved::Stage;
use crate::queue::quarantine::take::IN_DOUBT;
use crate::queue::quarantine::take::QuarantineRun;
use crate::queue::quarantine::take::Step;

impl QuarantineRun<'_> {
    /// Finishes interrupted runs: undone where the queue was not touched, else completed.
    ///
    /// # Errors
    /// The message that could not be finished, and what to do about it.
    pub fn sweep(&mut self) -> Result<(), String> {
        let ids = self.quarantine.ids().map_err(|error| self.fault(None, &error))?;
        for id in ids {
            if self.is_to_complete(id).map_err(|error| self.fault(Some(id), &error))? {
                self.kept.insert(id, true);
                for step in self.ends(id) {
                    self.act(step)?;
                }
                self.kept.remove(&id);
                if self.taken.pop_if(|taken| *taken == id).is_some() {
                    self.finished.push(id);
                }
            }
        }
        Ok(())
    }

    /// Whether to complete a message; otherwise it is undone, or left alone where it may be the last copy.
    fn is_to_complete(&self, id: u64) -> io::Result<bool> {
        let is_there = self.quarantine.is_there(id);
        // A file with another inode was copied here: its number means nothing in this queue.
        let (saved, is_own) = (self.quarantine.saved(id)?, self.quarantine.has(id));
        match saved.map(|saved| saved.stage) {
            None if self.quarantine.dir().inode(&folder::restored(id)).is_some() => {
                self.quarantine.forget_restored(id, None).map(|()| false)
            }
            // Until the envelope is whole, the message is in the queue too.
            None if is_there && (self.quarantine.is_begun(id) || !self.stands(id)) => Ok(false),
            Some(Stage::Taking) if is_own => Ok(true),
            Some(Stage::Saved) if is_there && !is_own => Ok(false),
            Some(Stage::Taking | Stage::Taken) if is_there => Ok(false),
            None | Some(_) => self.quarantine.remove(id).map(|()| false),
        }
    }

    /// Whether the copy is a link to the message in the queue.
    fn stands(&self, id: u64) -> bool {
        self.quarantine.has(id)
            && self.queue.stat(&self.queue.place(File::Mess, id)).is_ok_and(|stat| stat.st_ino == id)
    }

    /// Removes the leftovers of messages taken while qmail-send ran, if it is stopped; else leaves them to it. They are
    /// treated like an interrupted run, so that this one may be interrupted too.
    ///
    /// # Errors
    /// The message that could not be removed, and what to do about it.
    pub fn clear(&mut self, taken: &[u64]) -> Result<(), String> {
        let taken: Vec<u64> = taken.iter().copied().filter(|id| self.quarantine.has(*id)).collect();
        if self.is_live || taken.is_empty() {
            return Ok(());
        }
        for some in taken.chunks(IN_DOUBT) {
            self.kept.extend(some.iter().map(|id| (*id, true)));
            let begin = some.iter().map(|id| Step::Commit(*id)).chain([Step::Sync]);
            let steps: Vec<Step> = begin.chain(some.iter().flat_map(|id| self.ends(*id))).collect();
            steps.into_iter().try_for_each(|step| self.act(step))?;
            some.iter().for_each(|id| _ = self.kept.remove(id));
            self.cleared.append(&mut self.taken);
        }
        self.act(Step::Sync)
    }
}

//! What earlier runs left: messages that were taken half way, and taken ones that stand in the queue still. It must not
//! touch any other.

use crate::ops::queue::folder;
use crate::ops::queue::take::IN_DOUBT;
use crate::ops::queue::take::Step;
use crate::ops::queue::take::Take;
use crate::qmail::queue::saved::Stage;

impl Take<'_> {
    /// What an earlier run left half way: undone where the queue was not touched, else completed.
    ///
    /// # Errors
    /// What could not be done, and what to do about it.
    pub fn sweep(&mut self) -> Result<(), String> {
        let ids = self.quarantine.ids().map_err(|error| self.told(None, &error))?;
        for id in ids {
            let outcome = self.quarantine.saved(id).and_then(|saved| match saved {
                // A second name without an envelope, an envelope without a message, a message that is back in the queue.
                None if self.quarantine.inode(&folder::restored(id)).is_some() => {
                    self.quarantine.forget_restored(id, None).map(|()| false)
                }
                None => self.quarantine.remove(id).map(|()| false),
                Some(_) if !self.quarantine.has(id) => self.quarantine.remove(id).map(|()| false),
                Some(saved) if saved.stage == Stage::Saved => self.quarantine.remove(id).map(|()| false),
                Some(saved) => Ok(saved.stage == Stage::Taking),
            });
            if outcome.map_err(|error| self.told(Some(id), &error))? {
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

    /// What is left in the queue of messages that were taken while qmail-send ran: removed where it is stopped, else left to
    /// it. They are as if an earlier run had ended half way, so that this one may end half way too.
    ///
    /// # Errors
    /// What could not be done, and what to do about it.
    pub fn clear(&mut self, taken: &[u64]) -> Result<(), String> {
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

//! Marks recipients as done, so that nothing is left for qmail-send to do, and learns what it did since the message was
//! copied. One octet at a time, in place. It must not remove files.

use std::collections::HashSet;
use std::io;
use std::iter::Peekable;
use std::iter::Zip;
use std::os::unix::fs::FileExt;
use std::slice;

use nix::fcntl::OFlag;

use crate::queue::look::File;
use crate::queue::look::Recipient;
use crate::queue::look::envelope;
use crate::queue::look::read::MAX_ENVELOPE;
use crate::queue::look::read::slurp;
use crate::queue::quarantine::take::QuarantineRun;
use crate::queue::quarantine::take::S4;

/// The recipients of a message while they are marked.
struct Marks<'a> {
    id: u64,
    /// The recipients not reached yet, and their offsets in the quarantined envelope.
    places: Peekable<Zip<slice::Iter<'a, u64>, slice::Iter<'a, Recipient>>>,
    /// All recipients, in a run that completes another's.
    known: Option<HashSet<&'a [u8]>>,
}

impl QuarantineRun<'_> {
    /// Marks the recipients that are left as done, in the queue, and those that qmail-send has delivered since, in the
    /// copy. Gives the message up if its recipients are not those of the copy.
    pub(super) fn mark(&mut self, id: u64) -> io::Result<()> {
        // Files beside `todo` are half written, and qmail-send will write them anew.
        if self.queue.stat(&self.queue.place(File::Todo, id)).is_ok() {
            if self.is_live {
                self.give_up(id, S4);
            }
            return Ok(());
        }
        let saved = self.quarantine.saved(id)?;
        let saved = saved.ok_or_else(|| io::Error::other("its envelope in quarantine is not whole"))?;
        let was_kept = self.kept.get(&id).copied().unwrap_or(true);
        let mut marks = Marks {
            id,
            places: saved.places.iter().zip(&saved.recipients).peekable(),
            known: was_kept.then(|| saved.recipients.iter().map(|recipient| &*recipient.address).collect()),
        };
        for file in [File::Local, File::Remote] {
            if !self.mark_file(file, &mut marks)? {
                self.give_up(id, "its recipients are not those that were kept of it: look at it with queue show");
                return Ok(());
            }
        }
        marks.places.filter(|_| !was_kept).try_for_each(|(at, recipient)| self.delivered(id, *at, recipient))
    }

    /// Marks the recipients in one file; `false` if it has a recipient that is not in the envelope.
    fn mark_file(&self, file: File, marks: &mut Marks<'_>) -> io::Result<bool> {
        let opened = match self.queue.open_file(&self.queue.place(file, marks.id), OFlag::O_RDWR) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            outcome => outcome?,
        };
        let mut octets = Vec::new();
        let length = slurp(&opened, &mut octets, MAX_ENVELOPE)?;
        let was_kept = marks.known.is_some();
        for record in envelope::recipients(&octets[..length]) {
            let original = if file == File::Local { self.domains.original(record.text) } else { record.text };
            // Delivered since the copy was made, up to this one: qmail-send removes a file when all in it is done. In a
            // run that completes another's it may be our own mark; in doubt a recipient is not done.
            while let Some((at, recipient)) =
                marks.places.next_if(|(_, recipient)| !was_kept && *recipient.address != *original)
            {
                self.delivered(marks.id, *at, recipient)?;
            }
            let is_known = match &marks.known {
                Some(known) => known.contains(original),
                None => marks.places.peek().is_some(),
            };
            if !is_known {
                return Ok(false);
            }
            match record.kind {
                // One octet in place, as qmail-send's `markdone` does.
                b'T' => opened.write_all_at(b"D", record.at)?,
                _ => marks
                    .places
                    .peek()
                    .filter(|_| !was_kept)
                    .map_or(Ok(()), |(at, recipient)| self.delivered(marks.id, **at, recipient))?,
            }
            marks.places.next();
        }
        Ok(true)
    }

    fn delivered(&self, id: u64, at: u64, recipient: &Recipient) -> io::Result<()> {
        match recipient.done {
            true => Ok(()),
            false => self.quarantine.change(id, at, b'D'),
        }
    }
}

//! Reads one message of the queue: its envelope, sizes, times, and as much of its header as is wanted. What vanishes
//! meanwhile is looked for once more where it would have gone to; it must not write.

use std::fs;
use std::io;
use std::io::Read;

use memchr::memmem;
use nix::sys::stat::FileStat;

use crate::queue::look::File;
use crate::queue::look::Files;
use crate::queue::look::Message;
use crate::queue::look::Recipient;
use crate::queue::look::Recipients;
use crate::queue::look::State;
use crate::queue::look::envelope;
use crate::queue::look::header;
use crate::queue::look::header::MAX_HEADER;
use crate::queue::look::layout::Queue;
use crate::queue::look::layout::is_regular;
use crate::queue::look::scan::Entry;

/// How much of a message is read.
#[derive(Clone, Debug, Default)]
pub struct Want {
    /// Recipients, and so many of each file kept.
    pub recipients: Option<usize>,
    /// Fields of the header; an empty list is all of them.
    pub header: Option<Vec<String>>,
    /// The end of receipt will do for the birth, which spares a look at `info`: they differ when somebody touched that.
    pub rough: bool,
}

/// Reads one message after the other, with the same buffers.
#[derive(Debug)]
pub struct Reader<'q> {
    queue: &'q Queue,
    buffer: Vec<u8>,
    place: String,
}

/// A file that was there is not there any more.
struct Gone;

impl<'q> Reader<'q> {
    /// For messages of this queue.
    pub fn new(queue: &'q Queue) -> Self {
        Self { queue, buffer: vec![0; BUFFER], place: String::new() }
    }

    /// The message, unless it has left the queue.
    pub fn read(&mut self, entry: Entry, want: &Want) -> Option<Message> {
        let mut files = match entry.files.state() {
            Some(State::S4 | State::S5) => entry.files,
            // A message that came or went while the folders were read looks like debris.
            _ => self.look(entry.id),
        };
        let mut found = None;
        for _ in 0..TRIES {
            if files.is_empty() {
                return None;
            }
            if let Ok(message) = self.try_read(entry.id, files, want) {
                // What is odd in a message that moves, or whose number a new one took, is not so at the next look.
                let is_odd = files.state() == Some(State::Orphan) || !message.troubles.is_empty();
                found = Some(message);
                if !is_odd {
                    break;
                }
            }
            files = self.look(entry.id);
        }
        found.or_else(|| {
            let troubles = vec!["it changes faster than it can be read".to_owned()];
            Some(Message { id: entry.id, files, troubles, ..Message::default() })
        })
    }

    /// Which files it has now, in the order in which qmail makes the later of them from the earlier.
    pub fn look(&mut self, id: u64) -> Files {
        let mut files = Files::default();
        for file in [File::Intd, File::Todo, File::Info, File::Local, File::Remote, File::Bounce, File::Mess] {
            if self.queue.stat_of(file, id, &mut self.place).as_ref().is_ok_and(is_regular) {
                files.insert(file);
            }
        }
        files
    }

    fn try_read(&mut self, id: u64, files: Files, want: &Want) -> Result<Message, Gone> {
        let mut message = Message { id, files, ..Message::default() };
        if files.has(File::Mess) {
            match &want.header {
                // `info` has the birth, and a message that was read to its end has told its size.
                Some(names) => self.read_header(&mut message, names, want.rough || files.state() != Some(State::S5))?,
                None => {
                    let stat = self.stat(File::Mess, &mut message)?;
                    message.size = stat.map(|stat| stat.st_size.cast_unsigned());
                    message.birth = stat.map(|stat| stat.st_mtime);
                }
            }
        }
        match files.state() {
            Some(State::S4) => self.read_todo(&mut message, want)?,
            Some(State::S5 | State::Orphan) => self.read_preprocessed(&mut message, want)?,
            _ => {}
        }
        Ok(message)
    }

    fn read_todo(&mut self, message: &mut Message, want: &Want) -> Result<(), Gone> {
        let Some((length, stat)) = self.contents(File::Todo, message, true)? else { return Ok(()) };
        let octets = &self.buffer[..length];
        let envelope = envelope::envelope(octets);
        (message.uid, message.qp, message.sender) = (envelope.uid, envelope.qp, envelope.sender.map(Box::from));
        message.queued = want.recipients.map(|keep| recipients(octets, keep, stat));
        self.shrink();
        Ok(())
    }

    fn read_preprocessed(&mut self, message: &mut Message, want: &Want) -> Result<(), Gone> {
        if message.files.has(File::Info)
            && let Some((length, birth)) = self.contents(File::Info, message, !want.rough)?
        {
            let sender = envelope::sender(&self.buffer[..length]).map(Box::from);
            if sender.is_none() {
                message.troubles.push("info has no sender".to_owned());
            }
            message.sender = sender;
            if !want.rough {
                message.birth = Some(birth);
            }
        }
        if message.files.has(File::Bounce) {
            let stat = self.stat(File::Bounce, message)?;
            message.bounce_size = stat.map(|stat| stat.st_size.cast_unsigned());
        }
        let Some(keep) = want.recipients else { return Ok(()) };
        for file in [File::Local, File::Remote] {
            if !message.files.has(file) {
                continue;
            }
            let Some((length, modified)) = self.contents(file, message, keep > 0)? else { continue };
            let octets = &self.buffer[..length];
            let list = Some(recipients(octets, keep, modified));
            if envelope::is_odd(octets) {
                message.troubles.push(format!("{} has a record that qmail-send does not read", file.name()));
            }
            match file {
                File::Local => message.local = list,
                _ => message.remote = list,
            }
        }
        self.shrink();
        Ok(())
    }

    /// The header and the size, and the birth where it is that of the file.
    fn read_header(&mut self, message: &mut Message, names: &[String], time: bool) -> Result<(), Gone> {
        let mut read = |buffer: &mut Vec<u8>| {
            let opened = self.queue.read_of(File::Mess, message.id, &mut self.place)?;
            let (length, is_whole) = slurp_header(&opened, buffer)?;
            let stat = if time || !is_whole { Some(nix::sys::stat::fstat(&opened)?) } else { None };
            Ok((length, stat))
        };
        match read(&mut self.buffer) {
            Ok((length, stat)) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                message.header = Some(header::parse(&self.buffer[..length], &names));
                message.size = Some(stat.map_or(length as u64, |stat| stat.st_size.cast_unsigned()));
                message.birth = stat.filter(|_| time).map(|stat| stat.st_mtime);
            }
            Err(error) => {
                self.trouble(File::Mess, message, &error)?;
                let stat = self.stat(File::Mess, message)?;
                message.size = stat.map(|stat| stat.st_size.cast_unsigned());
                message.birth = stat.map(|stat| stat.st_mtime);
            }
        }
        Ok(())
    }

    /// Length in the buffer, and when it was changed, if that is asked for; else 0.
    fn contents(&mut self, file: File, message: &mut Message, time: bool) -> Result<Option<(usize, i64)>, Gone> {
        let mut read = |buffer: &mut Vec<u8>| {
            let opened = self.queue.read_of(file, message.id, &mut self.place)?;
            let modified = if time { nix::sys::stat::fstat(&opened)?.st_mtime } else { 0 };
            let length = slurp(&opened, buffer, MAX_ENVELOPE)?;
            match length == MAX_ENVELOPE {
                true => Err(io::Error::other("it is over 64 MiB")),
                false => Ok((length, modified)),
            }
        };
        match read(&mut self.buffer) {
            Ok(found) => Ok(Some(found)),
            Err(error) => self.trouble(file, message, &error).map(|()| None),
        }
    }

    fn stat(&mut self, file: File, message: &mut Message) -> Result<Option<FileStat>, Gone> {
        match self.queue.stat_of(file, message.id, &mut self.place) {
            Ok(stat) => Ok(Some(stat)),
            Err(error) => self.trouble(file, message, &error).map(|()| None),
        }
    }

    fn trouble(&self, file: File, message: &mut Message, error: &io::Error) -> Result<(), Gone> {
        if error.kind() == io::ErrorKind::NotFound {
            return Err(Gone);
        }
        message.troubles.push(format!("{} cannot be read: {error}", file.name()));
        Ok(())
    }

    /// A message with a million recipients is rare: its memory is given back.
    fn shrink(&mut self) {
        if self.buffer.len() > MAX_BUFFER {
            self.buffer = vec![0; BUFFER];
        }
    }
}

fn recipients(octets: &[u8], keep: usize, modified: i64) -> Recipients {
    let mut list = Recipients { modified, ..Recipients::default() };
    for record in envelope::recipients(octets) {
        let done = record.kind == b'D';
        *(if done { &mut list.done } else { &mut list.to_do }) += 1;
        if list.kept.len() < keep {
            list.kept.push(Recipient { done, address: record.text.into() });
        }
    }
    list
}

/// Reads up to `limit` octets. A regular file gives all it has, so that less than was asked for is its end.
pub fn slurp(mut file: &fs::File, buffer: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
    let mut length = 0;
    loop {
        if length == buffer.len() {
            buffer.resize((length * 2).max(BUFFER), 0);
        }
        let room = buffer.len().min(limit);
        match file.read(&mut buffer[length..room]) {
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        if length < room || length == limit {
            return Ok(length);
        }
    }
}

/// Reads a message up to the end of its header, or a little further. How much, and whether that is all of it.
fn slurp_header(mut file: &fs::File, buffer: &mut Vec<u8>) -> io::Result<(usize, bool)> {
    let mut length = 0;
    loop {
        if length == buffer.len() {
            buffer.resize((length * 2).max(BUFFER), 0);
        }
        let room = buffer.len().min(MAX_HEADER);
        match file.read(&mut buffer[length..room]) {
            Ok(count) if length + count < room => return Ok((length + count, true)),
            Ok(_) if room == MAX_HEADER || has_empty_line(&buffer[..room]) => return Ok((room, false)),
            Ok(_) => length = room,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn has_empty_line(octets: &[u8]) -> bool {
    memmem::find(octets, b"\n\n").is_some() || memmem::find(octets, b"\n\r\n").is_some()
}

/// Octets of an envelope file: a million recipients and more.
pub const MAX_ENVELOPE: usize = 64 << 20;
/// Enough for most envelopes and headers in one read.
const BUFFER: usize = 4 << 10;
const MAX_BUFFER: usize = 1 << 20;
/// Looks at a message that changes meanwhile.
const TRIES: usize = 8;

//! Reads one message of the queue: envelope, sizes, times, and as much of the header as is wanted. A file that vanishes
//! meanwhile is looked for where qmail would have moved it. It must not write.

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

/// The parts of a message to read.
#[derive(Clone, Debug, Default)]
pub struct Want {
    /// Read recipients, and keep this many of each file.
    pub recipients: Option<usize>,
    /// Read these header fields; an empty list is all.
    pub header: Option<Vec<String>>,
    /// Take the end of receipt as birth, which saves looking at `info`; they differ only if somebody touched that file.
    pub rough: bool,
}

/// A reader of messages, one after the other, with buffers that are used again.
#[derive(Debug)]
pub struct Reader<'q> {
    queue: &'q Queue,
    buffer: Vec<u8>,
    place: String,
}

/// A file that existed no longer does.
struct Gone;

impl<'q> Reader<'q> {
    /// A reader for the messages of this queue.
    pub fn new(queue: &'q Queue) -> Self {
        Self { queue, buffer: vec![0; BUFFER], place: String::new() }
    }

    /// Reads the message; `None` if it has left the queue.
    pub fn read(&mut self, entry: Entry, want: &Want) -> Option<Message> {
        let mut files = match entry.files.state() {
            Some(State::S4 | State::S5) => entry.files,
            // A message that came or went during the scan looks like a leftover.
            _ => self.look(entry.id),
        };
        let mut found = None;
        for _ in 0..TRIES {
            if files.is_empty() {
                return None;
            }
            if let Ok(message) = self.try_read(entry.id, files, want) {
                // A fault that comes from the message moving, or from its number being used again, is gone at the next
                // look.
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

    /// The files that the message has now, looked up in the order in which qmail makes them.
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
                // `info` has the birth, and a message read to its end has its size.
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
        if message.sender.is_none() {
            message.troubles.push("todo has no sender".to_owned());
        }
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

    /// Reads header and size, and the birth if `time`.
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

    /// Reads a file into the buffer: its length, and its modification time if `time`, else 0.
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

    /// Frees the memory of a very long envelope, which is rare.
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

/// Reads up to `limit` octets. From a regular file fewer octets than asked for mean its end.
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

/// Reads a message to the end of its header, or a little further: the length read, and whether the file ended.
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

/// Largest envelope file read, in octets: a million recipients and more.
pub const MAX_ENVELOPE: usize = 64 << 20;
/// Initial buffer: most envelopes and headers fit in one read.
const BUFFER: usize = 4 << 10;
const MAX_BUFFER: usize = 1 << 20;
/// Attempts to read a message that changes meanwhile.
const TRIES: usize = 8;

//! The sources of lines: files, folders of multilog, standard input. Several are merged by time, so that tcpserver's
//! line comes before smtpfront-qmail's and that before qmail-send's, whichever folder each is in. It must not read a
//! whole file into memory.

use std::collections::VecDeque;
use std::fs;
use std::fs::File;
use std::io;
use std::io::Read;
use std::ops::ControlFlow;
use std::ops::Range;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::path::PathBuf;

use indicatif::ProgressBar;
use indicatif::ProgressStyle;
use jiff::Timestamp;
use jiff::ZonedDateTime;

use crate::cli::log::digest::Digest;
use crate::cli::log::lines::Lines;
use crate::logs::folder;
use crate::logs::line::Line;
use crate::logs::line::parse;
use crate::logs::stamp::Stamps;
use crate::logs::stamp::Tai;

/// One log.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// Standard input.
    Stdin,
    /// One file.
    File(PathBuf),
    /// A folder of multilog, svlogd or s6-log.
    Folder(PathBuf),
}

impl Input {
    /// The inputs that an operator names: a file, `-`, such a folder, a service's folder with one inside, or a folder of
    /// such folders.
    pub(super) fn at(path: &Path) -> Vec<Self> {
        if path.as_os_str() == "-" {
            return vec![Self::Stdin];
        }
        if !path.is_dir() {
            return vec![Self::File(path.to_owned())];
        }
        let own = ["", "log/main", "main", "log"].iter().map(|name| path.join(name)).find(|folder| is_log(folder));
        if own.is_none() && !holds_rotated(path) {
            let inside = names(path).unwrap_or_default();
            let mut inside: Vec<PathBuf> = inside.iter().map(|name| path.join(name)).filter(|it| is_log(it)).collect();
            inside.sort();
            if !inside.is_empty() {
                return inside.into_iter().map(Self::Folder).collect();
            }
        }
        vec![Self::Folder(own.unwrap_or_else(|| path.to_owned()))]
    }

    /// Files in the order in which they were written, without those whose lines are all older than `since`.
    pub(super) fn files(&self, since: Option<Timestamp>) -> io::Result<Vec<PathBuf>> {
        match self {
            Self::Stdin => Ok(Vec::new()),
            Self::File(file) => Ok(vec![file.clone()]),
            Self::Folder(path) => {
                let names = names(path)?;
                let rotated = folder::rotated(names);
                let is_wanted = |name: &&std::ffi::OsString| since.is_none_or(|since| !folder::is_older(name, since));
                let mut files: Vec<PathBuf> = rotated.iter().filter(is_wanted).map(|name| path.join(name)).collect();
                let current = path.join(folder::CURRENT);
                if !rotated.is_empty() && !current.exists() {
                    // The file is being rotated, or its writer never came back.
                    return Ok(files);
                }
                if !current.exists() && path.is_dir() {
                    let what = "there is no log in this folder: name a file, or the folder that multilog writes \
                                (it has a file named current)";
                    return Err(io::Error::new(io::ErrorKind::NotFound, what));
                }
                files.push(current);
                Ok(files)
            }
        }
    }
}

fn is_log(folder: &Path) -> bool {
    folder.join(folder::CURRENT).is_file()
}

fn holds_rotated(folder: &Path) -> bool {
    names(folder).is_ok_and(|names| !folder::rotated(names).is_empty())
}

/// The names in a folder.
pub(super) fn names(folder: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name())).take(MOST_FILES).collect()
}

/// Whether something is piped in: a terminal and /dev/null are no log.
pub(super) fn is_piped() -> bool {
    let kind = fs::metadata("/dev/stdin").map(|metadata| metadata.file_type());
    kind.is_ok_and(|kind| kind.is_fifo() || kind.is_socket() || kind.is_file())
}

/// A progress bar on a terminal, in octets read.
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn new(inputs: &[Input], quiet: bool) -> Self {
        if quiet || inputs.iter().any(|input| matches!(input, Input::Stdin)) {
            return Self(ProgressBar::hidden());
        }
        let files = inputs.iter().flat_map(|input| input.files(None).unwrap_or_default());
        let octets = files.filter_map(|file| Some(fs::metadata(file).ok()?.len())).sum();
        let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta}");
        Self(ProgressBar::new(octets).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// Gives all lines to `digest`; false if something could not be read, which standard error says.
pub(super) fn read(
    inputs: Vec<Input>,
    tai: Tai,
    now: &ZonedDateTime,
    progress: &Progress,
    digest: &mut Digest,
) -> bool {
    let since = digest.select().filter().since;
    let stamps = Stamps::new(tai, now);
    let mut sources: Vec<Source> = inputs.iter().map(|input| Source::new(input, since, stamps.clone())).collect();
    let mut ahead: Vec<bool> = sources.iter_mut().map(|source| source.advance(progress)).collect();
    // Takes the earliest of the next lines; a line without a time follows its predecessor.
    while let Some(next) = (0..sources.len()).filter(|at| ahead[*at]).min_by_key(|at| sources[*at].time) {
        if sources[next].give(digest).is_break() {
            break;
        }
        ahead[next] = sources[next].advance(progress);
    }
    let _ = digest.flush();
    sources.iter().all(|source| source.whole)
}

/// A log that is being read.
struct Source {
    files: VecDeque<PathBuf>,
    lines: Option<(PathBuf, Lines<Box<dyn Read>>)>,
    stamps: Stamps,
    /// The next line: its stamp, and the range of its text.
    line: (Option<Timestamp>, Range<usize>),
    /// The time of the next line, or of the last one that had a time.
    time: Option<Timestamp>,
    counted: u64,
    whole: bool,
}

impl Source {
    fn new(input: &Input, since: Option<Timestamp>, stamps: Stamps) -> Self {
        let mut source = Self {
            files: VecDeque::new(),
            lines: None,
            stamps,
            line: (None, 0..0),
            time: None,
            counted: 0,
            whole: true,
        };
        match input {
            Input::Stdin => {
                let lines: Lines<Box<dyn Read>> = Lines::new(Box::new(io::stdin()));
                source.lines = Some((PathBuf::from("standard input"), lines));
            }
            Input::File(path) | Input::Folder(path) => match input.files(since) {
                Ok(files) => source.files = files.into(),
                Err(error) => source.fail(path, &error),
            },
        }
        source
    }

    fn fail(&mut self, path: &Path, error: &io::Error) {
        eprintln!("{}: {}", path.display(), error);
        self.whole = false;
    }

    /// Goes to the next line; false at the end of the last file.
    fn advance(&mut self, progress: &Progress) -> bool {
        loop {
            let Some((path, lines)) = &mut self.lines else {
                match self.files.pop_front() {
                    Some(path) => self.open(path),
                    None => return false,
                }
                continue;
            };
            let line = match lines.next() {
                Ok(line) => line.or_else(|| lines.rest()),
                Err(error) => {
                    let path = path.clone();
                    self.fail(&path, &error);
                    None
                }
            };
            let Some((_, lines)) = &self.lines else { continue };
            progress.0.inc(lines.read() - self.counted);
            self.counted = lines.read();
            let Some(line) = line else {
                self.lines = None;
                continue;
            };
            let (stamp, text) = self.stamps.split(lines.octets(line.clone()));
            self.line = (stamp, line.end - text.len()..line.end);
            self.time = stamp.or(self.time);
            return true;
        }
    }

    fn open(&mut self, path: PathBuf) {
        self.counted = 0;
        match File::open(&path) {
            Ok(file) => self.lines = Some((path, Lines::new(Box::new(file)))),
            // A file that was just rotated away has its lines under another name.
            Err(error) => self.fail(&path, &error),
        }
    }

    fn give(&mut self, digest: &mut Digest) -> ControlFlow<()> {
        let Some((_, lines)) = &self.lines else { return ControlFlow::Continue(()) };
        let (stamp, text) = self.line.clone();
        let text = lines.octets(text);
        let (inside, parsed) = parse(text);
        // A line without a time belongs to the one before.
        let time = stamp.or(inside).or(self.time);
        self.time = time;
        digest.push(&Line { time, text, parsed })
    }
}

/// Files read of one folder.
const MOST_FILES: usize = 1_000_000;

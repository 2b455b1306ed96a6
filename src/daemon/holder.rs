//! The process that has a port or a socket, as /proc tells it (proc(5)), so that an error can name it. It must not connect
//! to it, nor signal it.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;

use nix::unistd::Uid;
use nix::unistd::User;

use crate::config;
use crate::front::settings::overlap;
use crate::text::processes;
use crate::text::sockets::Listening;
use crate::text::sockets::TABLES;
use crate::text::sockets::listening;

/// A process that listens, as far as we may know it. Two sockets of one process have equal holders, but for a user that
/// only one kind tells.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    /// The process and its program; `None`: another user's, which only root may see.
    process: Option<(u32, String)>,
    uid: Option<u32>,
}

impl PartialEq for Holder {
    fn eq(&self, other: &Self) -> bool {
        self.process.is_some() && self.process == other.process
    }
}

impl Holder {
    /// The holder of a TCP port; `None` where nobody listens.
    pub(super) fn of_port(address: SocketAddr) -> Option<Self> {
        let listening = TABLES.into_iter().flat_map(read_lines).filter_map(|line| listening(&line));
        let mut found: Vec<Listening> = listening.filter(|found| found.address.port() == address.port()).collect();
        // The very address first, then one that covers it, then all of the other family.
        let distance = |found: &Listening| match () {
            () if found.address == address => 0,
            () if overlap(found.address, address) => 1,
            () if found.address.ip().is_unspecified() || address.ip().is_unspecified() => 2,
            () => 3,
        };
        found.sort_by_key(distance);
        let nearest = found.into_iter().next().filter(|found| distance(found) < 3)?;
        Some(Self { process: process(nearest.inode), uid: Some(nearest.uid) })
    }

    /// The holder of a port that could not be bound, where that is the reason.
    pub(super) fn of_error(address: SocketAddr, error: &io::Error) -> Option<Self> {
        (error.kind() == io::ErrorKind::AddrInUse).then(|| Self::of_port(address)).flatten()
    }

    /// The holder of a Unix socket that listens; `None` where nobody does.
    pub(super) fn of_socket(path: &Path) -> Option<Self> {
        let path = real(path);
        // A relative path is under the folder of who bound it, as far as that may be seen.
        let is_it = |(theirs, inode): (PathBuf, u64)| {
            let process = process(inode);
            let folder = || fs::read_link(format!("/proc/{}/cwd", process.as_ref()?.0)).ok();
            let theirs = if theirs.is_absolute() { theirs } else { folder()?.join(theirs) };
            (real(&theirs) == path).then_some(Self { process, uid: None })
        };
        let name = path.file_name();
        let named = read_lines("/proc/net/unix").filter_map(|line| unix_listener(&line));
        named.filter(|(theirs, _)| theirs.file_name() == name).find_map(is_it)
    }

    /// Whether it keeps listeners for others, and hands them over when they start.
    pub(super) fn hands_over(&self) -> bool {
        self.process.as_ref().is_some_and(|(_, name)| ["systemd", "s6-fdholderd", "systemfd"].contains(&name.as_str()))
    }

    /// Whether it is a Portcullis that serves the configuration `file`; also where that cannot be seen.
    pub(super) fn serves(&self, file: Option<&Path>) -> bool {
        let Some((pid, name)) = &self.process else { return false };
        if name != env!("CARGO_PKG_NAME") {
            return false;
        }
        let Some(theirs) = configuration(*pid) else { return true };
        theirs.as_deref().map(real) == file.map(real)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user =
            |uid| User::from_uid(Uid::from_raw(uid)).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
        match (&self.process, self.uid) {
            (Some((pid, name)), _) => write!(f, "{name}, pid {pid}"),
            (None, Some(uid)) => write!(f, "a process of user {} (as root, its name is shown)", user(uid)),
            (None, None) => f.write_str("another process (as root, its name is shown)"),
        }
    }
}

/// The path and the inode of a line of /proc/net/unix, if its socket listens.
fn unix_listener(line: &str) -> Option<(PathBuf, u64)> {
    let words: Vec<&str> = line.split_whitespace().take(7).collect();
    let [_, _, _, ACCEPTS, _, _, inode] = words[..] else { return None };
    // Last of all, and it may have blanks in it.
    let (_, path) = line.split_once(&format!(" {inode} "))?;
    Some((PathBuf::from(path), inode.parse().ok()?))
}

/// The path with its links followed, as far as its folder exists.
fn real(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (fs::canonicalize(folder), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

/// The first process that has the socket open, by its number.
fn process(inode: u64) -> Option<(u32, String)> {
    let wanted = format!("socket:[{inode}]");
    let mut all: Vec<u32> = processes::all().collect();
    all.sort_unstable();
    let has = |pid: &u32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"));
        descriptors
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == OsStr::new(&wanted)))
    };
    let pid = all.into_iter().find(has)?;
    Some((pid, processes::name(pid)?))
}

/// The configuration file of a Portcullis, `Some(None)` for the built-in default; `None` where it cannot be seen.
fn configuration(pid: u32) -> Option<Option<PathBuf>> {
    let words = zero_terminated(pid, "cmdline")?;
    let folder = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
    let environment = zero_terminated(pid, "environ")?;
    let named = environment.iter().find_map(|word| word.strip_prefix(b"PORTCULLIS_CONFIG="));
    let named = named.filter(|name| !name.is_empty()).map(|name| PathBuf::from(OsStr::from_bytes(name)));
    Some(config::find_for(option(&words).as_deref(), named, &folder))
}

/// The value of `-c FILE`, `-cFILE`, `--config FILE` or `--config=FILE`.
fn option(words: &[Vec<u8>]) -> Option<PathBuf> {
    let path = |octets: &[u8]| PathBuf::from(OsStr::from_bytes(octets));
    words.iter().enumerate().find_map(|(index, word)| match word.as_slice() {
        b"-c" | b"--config" => words.get(index + 1).map(|word| path(word)),
        word => word.strip_prefix(b"--config=").or_else(|| word.strip_prefix(b"-c")).map(path),
    })
}

fn zero_terminated(pid: u32, name: &str) -> Option<Vec<Vec<u8>>> {
    let mut octets = Vec::new();
    let file = fs::File::open(format!("/proc/{pid}/{name}")).ok()?;
    file.take(LARGEST).read_to_end(&mut octets).ok()?;
    Some(octets.split(|octet| *octet == 0).map(<[u8]>::to_vec).collect())
}

fn read_lines(name: &'static str) -> impl Iterator<Item = String> {
    let mut octets = Vec::new();
    if let Ok(file) = fs::File::open(name) {
        let _ = file.take(LARGEST).read_to_end(&mut octets);
    }
    let lines: Vec<String> = String::from_utf8_lossy(&octets).lines().map(str::to_owned).collect();
    lines.into_iter()
}

/// The flags of a socket that listens (__SO_ACCEPTCON of the kernel's net.h).
const ACCEPTS: &str = "00010000";
/// Octets of a file in /proc; a hundred thousand connections have 15 MB.
const LARGEST: u64 = 32 << 20;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn who_listens_is_found() {
        for (bound, asked) in
            [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "0.0.0.0"), ("0.0.0.0", "127.0.0.1"), ("[::1]", "[::]")]
        {
            let listener = TcpListener::bind(format!("{bound}:0")).unwrap();
            let asked: SocketAddr = format!("{asked}:{}", listener.local_addr().unwrap().port()).parse().unwrap();
            let holder = Holder::of_port(asked).unwrap();
            assert_eq!(holder.process.as_ref().unwrap().0, std::process::id(), "{bound} {asked}");
            assert!(!holder.serves(None) && !holder.hands_over());
            drop(listener);
            assert!(Holder::of_port(asked).is_none());
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a socket");
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(Holder::of_socket(&path).unwrap().process.unwrap().0, std::process::id());
        drop(listener);
        assert!(Holder::of_socket(&path).is_none(), "the file alone is nobody's");
    }

    #[test]
    fn the_configuration_of_a_command_line() {
        let table = [
            (&["portcullis", "serve"][..], None),
            (&["portcullis", "serve", "-c", "a b"], Some("a b")),
            (&["portcullis", "serve", "-ca"], Some("a")),
            (&["portcullis", "serve", "--config", "a"], Some("a")),
            (&["portcullis", "--config=a", "serve"], Some("a")),
            (&["portcullis", "serve", "-c"], None),
        ];
        for (words, expected) in table {
            let octets: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
            assert_eq!(option(&octets), expected.map(PathBuf::from), "{words:?}");
        }
    }
}

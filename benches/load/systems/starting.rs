//! Steps in starting any system: a folder, a free port, a log, and waiting until it listens.

use std::cell::Cell;
use std::fs;
use std::fs::File;
use std::io;
use std::io::Read;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use crate::process;
use crate::process::Group;
use crate::workload::Setup;

/// A system that is being started.
pub(super) struct Starting<'a> {
    pub(super) group: &'a Group,
    /// The system's folder, which all users may enter: some programs change their user.
    pub(super) folder: PathBuf,
    pub(super) setup: Setup,
    /// Start of the last of its programs.
    pub(super) began: Cell<Instant>,
}

impl<'a> Starting<'a> {
    pub(super) fn new(group: &'a Group, scratch: &Path, name: &str, setup: Setup) -> io::Result<Self> {
        let folder = scratch.join(name);
        fs::create_dir(&folder)?;
        for folder in [scratch, &folder] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        }
        Ok(Self { group, folder, setup, began: Cell::new(Instant::now()) })
    }

    /// Writes a file in its folder, and gives the path.
    pub(super) fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.folder.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Starts a program, whose output goes to a log of its own.
    pub(super) fn spawn(&self, command: &mut Command, log: &str) -> io::Result<PathBuf> {
        let path = self.folder.join(log);
        let file = File::create(&path)?;
        self.began.set(Instant::now());
        self.group.start(command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file))?;
        Ok(path)
    }

    /// Polls until it is ready, has ended, or the time is over.
    pub(super) fn until<T>(&self, log: &Path, mut ready: impl FnMut() -> Option<T>) -> io::Result<T> {
        let (mut found, mut ended) = (None, false);
        process::wait(PATIENCE, || {
            found = ready();
            ended = self.group.has_ended();
            found.is_some() || ended
        });
        found.ok_or_else(|| {
            let said = fs::read(log).unwrap_or_default();
            let said = String::from_utf8_lossy(&said[said.len().saturating_sub(MOST_SAID)..]).trim().to_owned();
            match ended {
                true => io::Error::other(format!("it ended at once: {said}")),
                false => io::Error::new(io::ErrorKind::TimedOut, format!("it does not listen in time: {said}")),
            }
        })
    }

    /// Waits until it greets.
    pub(super) fn until_greeting(&self, log: &Path, address: SocketAddr) -> io::Result<SocketAddr> {
        self.until(log, || {
            let mut stream = TcpStream::connect(address).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).ok()?;
            let mut code = [0; 3];
            stream.read_exact(&mut code).ok()?;
            (&code == b"220").then_some(address)
        })
    }

    /// Waits until its log names its address.
    pub(super) fn until_said(&self, log: &Path) -> io::Result<SocketAddr> {
        self.until(log, || {
            let text = fs::read_to_string(log).ok()?;
            let (_, address) = text.lines().find(|line| line.contains("listening"))?.split_once("address=")?;
            address.split_whitespace().next()?.parse().ok()
        })
    }
}

/// The path of a program, from Debian's places or else from PATH.
pub(super) fn program(paths: &[&str]) -> Option<PathBuf> {
    let found = paths.iter().map(PathBuf::from).find(|path| path.is_file());
    let name = Path::new(paths.first()?).file_name()?;
    found.or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
    })
}

/// The reason to leave out a system whose program is missing.
pub(super) fn missing(paths: &[&str], package: &str) -> Option<String> {
    program(paths).is_none().then(|| format!("it is not installed: Debian's package {package}"))
}

/// Octets of a log's end that are shown.
const MOST_SAID: usize = 500;
/// Time limit of a start: Postfix takes a second, a state with millions of rows several.
const PATIENCE: Duration = Duration::from_secs(30);

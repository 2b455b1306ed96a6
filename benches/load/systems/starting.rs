//! What starting any of the systems takes: a folder, a free port, a log, and waiting until it listens.

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

/// A system that is about to run.
pub(super) struct Starting<'a> {
    pub(super) group: &'a Group,
    /// Its own, which all may enter: some change their user.
    pub(super) folder: PathBuf,
    pub(super) setup: Setup,
    /// When the last of its programs was started.
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

    /// Writes a file of its folder, and gives its path.
    pub(super) fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.folder.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, text)?;
        Ok(path)
    }

    /// What it says goes to `log`, which it has for itself.
    pub(super) fn spawn(&self, command: &mut Command, log: &str) -> io::Result<PathBuf> {
        let path = self.folder.join(log);
        let file = File::create(&path)?;
        self.began.set(Instant::now());
        self.group.start(command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file))?;
        Ok(path)
    }

    /// Asks again until it is ready, has ended, or the time is over.
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

    /// Until it greets.
    pub(super) fn until_greeting(&self, log: &Path, address: SocketAddr) -> io::Result<SocketAddr> {
        self.until(log, || {
            let mut stream = TcpStream::connect(address).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).ok()?;
            let mut code = [0; 3];
            stream.read_exact(&mut code).ok()?;
            (&code == b"220").then_some(address)
        })
    }

    /// Until it says in its log where it listens.
    pub(super) fn until_said(&self, log: &Path) -> io::Result<SocketAddr> {
        self.until(log, || {
            let text = fs::read_to_string(log).ok()?;
            let (_, address) = text.lines().find(|line| line.contains("listening"))?.split_once("address=")?;
            address.split_whitespace().next()?.parse().ok()
        })
    }
}

/// Where Debian keeps it, or else where the path finds it.
pub(super) fn program(paths: &[&str]) -> Option<PathBuf> {
    let found = paths.iter().map(PathBuf::from).find(|path| path.is_file());
    let name = Path::new(paths.first()?).file_name()?;
    found.or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
    })
}

/// Why a system is left out whose program is not here.
pub(super) fn missing(paths: &[&str], package: &str) -> Option<String> {
    program(paths).is_none().then(|| format!("it is not installed: Debian's package {package}"))
}

/// Of its log, its end.
const MOST_SAID: usize = 500;
/// Postfix takes a second, a state with millions of rows some.
const PATIENCE: Duration = Duration::from_secs(30);

//! What the commands of an operator work with: the configuration, or what could be read of it where it has errors, since
//! the proxy goes on by its last good one meanwhile. It must not pretend that a configuration with errors is in force.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Once;
use std::time::Duration;

use serde_json::Value;

use crate::admin::client;
use crate::admin::client::Wish;
use crate::admin::client::following;
use crate::admin::client::following::Heard;
use crate::cli::Source;
use crate::config;
use crate::config::checked::Admin;
use crate::config::checked::AdminListen;
use crate::daemon::assemble::Refused;
use crate::daemon::assemble::Salvage;
use crate::text::number;

/// The configuration as a command of an operator has it.
pub(super) struct Desk {
    /// What could be read.
    pub(super) read: Salvage,
    /// Whether the files have errors, so that the running proxy goes by others.
    pub(super) is_faulty: bool,
    /// The file that it was read from.
    file: Option<PathBuf>,
}

impl Desk {
    /// Asks the running proxy.
    ///
    /// # Errors
    /// As [`client::ask`], with the places where a configuration was looked for if there is none.
    pub(super) fn ask(&self, wish: &Wish) -> Result<(String, Value), String> {
        client::ask(&self.read.config.admin, wish).map_err(|what| self.located(what))
    }

    /// Follows a session of the running proxy.
    ///
    /// # Errors
    /// As [`following::session`], with the same.
    pub(super) fn follow(&self, id: &str, take: impl FnMut(Heard<'_>) -> ControlFlow<()>) -> Result<(), String> {
        following::session(&self.read.config.admin, id, take).map_err(|what| self.located(what))
    }

    /// Why the proxy was not reached, with the places where a configuration was looked for if there is none.
    pub(super) fn located(&self, what: String) -> String {
        match self.file {
            Some(_) => what,
            None => format!("{what}\n{}; name the proxy's with -c FILE", none_found()),
        }
    }
}

impl Source {
    /// The configuration for a command that has to work also where it has errors: these are told in one line, with the
    /// first, on standard error.
    ///
    /// # Errors
    /// The exit code where nothing can be read, or the command line is at fault; all errors are printed.
    pub(super) fn desk(&self) -> Result<Desk, ExitCode> {
        let (mut desk, refused) = self.look()?;
        if let Some(refused) = refused {
            // A command may need it twice.
            REMARK.call_once(|| eprintln!("{}", self.remark(&refused)));
            let admin = &mut desk.read.config.admin;
            *admin = reachable(admin.clone(), desk.file.as_deref());
        }
        Ok(desk)
    }

    /// The configuration as far as it can be read, and its errors, which are not printed.
    ///
    /// # Errors
    /// As [`Source::desk`].
    pub(super) fn look(&self) -> Result<(Desk, Option<Refused>), ExitCode> {
        let origin = self.origin(&[], None);
        let refused = match origin.assemble() {
            Ok(assembly) => {
                let (config, snapshot) = (assembly.config, assembly.snapshot);
                let read = Salvage { config, snapshot, lists_are_whole: true };
                return Ok((Desk { read, is_faulty: false, file: origin.file }, None));
            }
            Err(refused) => refused,
        };
        let Some(read) = origin.salvage() else {
            refused.faults.iter().for_each(|fault| eprintln!("{fault}"));
            return Err(ExitCode::FAILURE);
        };
        Ok((Desk { read, is_faulty: true, file: origin.file }, Some(refused)))
    }

    /// The first error, the number of all, and the command that names them.
    fn remark(&self, refused: &Refused) -> String {
        let first = refused.faults.first().map(ToString::to_string).unwrap_or_default();
        let count = number::count(refused.faults.len() as u64, "error");
        let check = self.config.as_ref().map_or(String::new(), |file| format!(" -c {}", file.display()));
        format!("{first} ({count}, run portcullis check{check}; continuing with what could be read)")
    }
}

/// `admin`, or where its address could not be read and nobody answers at the default, a usual place where somebody does.
fn reachable(admin: Admin, file: Option<&Path>) -> Admin {
    if admin.listen != AdminListen::Tcp(DEFAULT) {
        return admin;
    }
    let folder = file.and_then(Path::parent).unwrap_or(Path::new(""));
    let token_file = match ["portcullis-token", "state/portcullis-token"].map(|name| folder.join(name)) {
        [usual, of_init] if !usual.exists() && of_init.exists() && !admin.token_file.exists() => of_init,
        _ => admin.token_file,
    };
    if TcpStream::connect_timeout(&DEFAULT, PATIENCE).is_ok() {
        return Admin { token_file, ..admin };
    }
    let sockets = std::iter::once(folder.join("admin.sock")).chain(USUAL_SOCKETS.map(PathBuf::from));
    match sockets.into_iter().find(|path| UnixStream::connect(path).is_ok()) {
        Some(path) => {
            eprintln!("admin.listen could not be read: trying {}", path.display());
            Admin { listen: AdminListen::Unix(path), token_file }
        }
        None => Admin { token_file, ..admin },
    }
}

/// The places where a configuration was looked for in vain.
pub(super) fn none_found() -> String {
    format!("no configuration found (looked at $PORTCULLIS_CONFIG, {})", config::DEFAULT_FILES.join(", "))
}

/// `admin.listen`
const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8025);
const USUAL_SOCKETS: [&str; 4] = [
    "/run/portcullis.sock",
    "/run/portcullis/admin.sock",
    "/var/lib/portcullis/admin.sock",
    "/etc/portcullis/state/admin.sock",
];
static REMARK: Once = Once::new();
const PATIENCE: Duration = Duration::from_secs(1);

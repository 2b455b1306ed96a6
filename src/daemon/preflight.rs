//! What `serve` would find on this host: ports, sockets, folders and accounts, beside what the files say. `check` reports it.
//! It must not change anything, nor connect to anybody: a port is tried by taking it for a moment without listening.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::path::PathBuf;

use crate::admin;
use crate::backend::Endpoint;
use crate::backend::Target;
use crate::config::checked::AdminListen;
use crate::config::checked::Config;
use crate::daemon::access::Account;
use crate::daemon::assemble::Assembly;
use crate::daemon::fault::not_bound;
use crate::daemon::holder::Holder;
use crate::front::bind;
use crate::store::state;
use crate::text::finding::Finding;

/// The findings about this host.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// What would keep `serve` from starting, or from keeping mail or state.
    pub faults: Vec<Finding>,
    /// Remarks that are no errors: the proxy is running.
    pub notes: Vec<Finding>,
}

/// Looks at the host for a configuration that was read from `file`. Without `ports`, another program may have them still.
pub fn look(assembly: &Assembly, file: Option<&Path>, ports: bool) -> Findings {
    let mut preflight = Preflight { assembly, file, found: Findings::default(), running: Vec::new() };
    if ports {
        preflight.ports();
    }
    preflight.admin();
    let config = &assembly.config;
    if let Some(account) = Account::of(config.user.as_deref(), config.group.as_deref()) {
        let who = config.user.clone().unwrap_or_else(|| OURSELVES.to_owned());
        let faults = needs(config).into_iter().filter_map(|need| Some((need.key, need.fault(&account, &who)?)));
        faults.for_each(|(key, what)| preflight.fault(key, what));
    }
    for (holder, held) in std::mem::take(&mut preflight.running) {
        preflight.note(format!("this configuration is running: {holder}, which has {}", held.join(", ")));
    }
    preflight.found.faults.sort_by_key(|fault| (fault.line, fault.column));
    preflight.found
}

struct Preflight<'a> {
    assembly: &'a Assembly,
    file: Option<&'a Path>,
    found: Findings,
    /// Proxies that run with this configuration, and what they hold.
    running: Vec<(Holder, Vec<String>)>,
}

impl Preflight<'_> {
    fn ports(&mut self) {
        let front = &self.assembly.config.front;
        let keyed = |key: &'static str, all: &[SocketAddr]| -> Vec<_> {
            all.iter().enumerate().map(|(index, address)| (format!("{key}[{index}]"), *address)).collect()
        };
        let mut all = keyed("server.listen", &front.listen);
        all.extend(keyed("server.listen_tls", &front.listen_tls));
        for (key, address) in all {
            self.port(&key, "server.listen", address, front.only_v6(address));
        }
        if let AdminListen::Tcp(address) = self.assembly.config.admin.listen {
            self.port("admin.listen", "admin.listen", address, false);
        }
    }

    fn port(&mut self, key: &str, name: &str, address: SocketAddr, only_v6: bool) {
        let anywhere = SocketAddr::new(address.ip(), 0);
        let tried = bind::bound(anywhere, false).and_then(|_| bind::bound(address, only_v6));
        let Err(error) = tried else { return };
        let holder = match error.kind() {
            // Who may not bind it is not told whether it is in use.
            io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Holder::of_port(address),
            _ => None,
        };
        match (error.kind(), holder) {
            (_, Some(holder)) if self.is_fine(&holder, &address.to_string()) => {}
            (io::ErrorKind::PermissionDenied, None) => {
                self.note(format!("{address} needs root: start `serve` as root and set server.user"));
            }
            (_, Some(holder)) => {
                let in_use = io::ErrorKind::AddrInUse.into();
                self.fault(key, not_bound(address, &in_use, Some(&holder), name));
            }
            (_, None) => self.fault(key, not_bound(address, &error, None, name)),
        }
    }

    fn admin(&mut self) {
        let admin = &self.assembly.config.admin;
        if let Some((key, what)) = admin::obstacle(admin) {
            return self.fault(key, what);
        }
        let AdminListen::Unix(path) = &admin.listen else { return };
        let Some(holder) = Holder::of_socket(path) else { return };
        if !self.is_fine(&holder, &path.display().to_string()) {
            self.fault(
                "admin.listen",
                format!("{}: the socket is in use by {holder}; write another path", path.display()),
            );
        }
    }

    /// Whether the holder is this proxy, or keeps the listener for it.
    fn is_fine(&mut self, holder: &Holder, what: &str) -> bool {
        if holder.serves(self.file) {
            match self.running.iter_mut().find(|(running, _)| running == holder) {
                Some((_, held)) => held.push(what.to_owned()),
                None => self.running.push((holder.clone(), vec![what.to_owned()])),
            }
            return true;
        }
        if holder.hands_over() {
            self.note(format!("{what} is held by {holder}, which hands it over"));
            return true;
        }
        false
    }

    fn note(&mut self, what: String) {
        self.found.notes.push(Finding { file: String::new(), line: 0, column: 0, what });
    }

    fn fault(&mut self, key: &str, what: String) {
        self.found.faults.push(self.assembly.places.fault(key, what).into());
    }
}

/// A file or folder that the process needs, and what for.
struct Need {
    key: &'static str,
    path: PathBuf,
    purpose: Purpose,
}

enum Purpose {
    /// A folder in which files are made.
    Folder,
    /// A file that is read and written, and made where it is missing.
    File,
    /// A folder with its parents, made where they are missing.
    Made,
    /// A socket that is made.
    Socket,
    /// A program to be started.
    Program,
    /// A socket that a server listens on.
    Server,
}

fn needs(config: &Config) -> Vec<Need> {
    let mut all = vec![Need { key: "message.spool", path: config.hold.spool.clone(), purpose: Purpose::Folder }];
    if let state::Settings::File(path) = &config.state {
        all.push(Need { key: "state.url", path: path.clone(), purpose: Purpose::File });
    }
    match &config.backend.target {
        Target::Maildir(path) => {
            all.push(Need { key: "backend.maildir", path: path.clone(), purpose: Purpose::Made });
        }
        Target::Queue(program) => {
            all.push(Need { key: "backend.queue", path: program.clone(), purpose: Purpose::Program });
        }
        Target::Spawn(words) => {
            let program = words.first().map(PathBuf::from).unwrap_or_default();
            all.push(Need { key: "backend.spawn[0]", path: program, purpose: Purpose::Program });
        }
        Target::Lmtp(Endpoint::Unix(path)) => {
            all.push(Need { key: "backend.lmtp", path: path.clone(), purpose: Purpose::Server });
        }
        Target::Lmtp(Endpoint::Tcp(_)) | Target::Tcp(_) => {}
    }
    match &config.admin.listen {
        AdminListen::Off => {}
        AdminListen::Tcp(_) => {
            all.push(Need { key: "admin.token_file", path: config.admin.token_file.clone(), purpose: Purpose::File });
        }
        AdminListen::Unix(path) => {
            all.push(Need { key: "admin.listen", path: path.clone(), purpose: Purpose::Socket });
        }
    }
    all
}

impl Need {
    fn fault(&self, account: &Account, who: &str) -> Option<String> {
        let (key, path) = (self.key.trim_end_matches("[0]"), self.path.display());
        match self.purpose {
            Purpose::Folder => unwritable(key, &self.path, account, who),
            Purpose::File if self.path.is_file() => {
                let may = match self.key {
                    // It is only read where it is there.
                    "admin.token_file" => account.cannot_read(&self.path).is_none(),
                    _ => account.may_write_file(&self.path),
                };
                (!may).then(|| {
                    format!("{key}: {who} may not use {path}; give it to {who} (chown), or write another path")
                })
            }
            Purpose::File if self.path.exists() => {
                Some(format!("{key}: {path} is not a regular file; write another path"))
            }
            Purpose::File | Purpose::Socket => unwritable(key, parent(&self.path), account, who),
            Purpose::Made => {
                let there =
                    self.path.ancestors().find(|folder| folder.exists()).filter(|folder| *folder != Path::new(""));
                unwritable(key, there.unwrap_or(Path::new(".")), account, who)
            }
            Purpose::Server => unreachable_server(key, &self.path, account, who),
            Purpose::Program => (!account.may_execute(&self.path))
                .then(|| format!("{key}: {path}: {who} may not execute it; chmod it, or write another program")),
        }
    }
}

/// The reason why no server can be reached by this socket, and the remedy.
fn unreachable_server(key: &str, socket: &Path, account: &Account, who: &str) -> Option<String> {
    let path = socket.display();
    match socket.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some(format!("{key}: no such socket: {path}; start its server, or write another path"))
        }
        Err(error) => Some(format!("{key}: {path}: {error}; write another path")),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Some(format!("{key}: {path} is not a socket; write another path"))
        }
        Ok(_) if account.may_connect(socket) => None,
        Ok(_) => Some(format!(
            "{key}: {who} may not connect to {path}; let its server make it with another mode (Dovecot: unix_listener lmtp \
             {{ mode = 0666 }})"
        )),
    }
}

/// The reason why no file can be made in this folder, and the remedy.
fn unwritable(key: &str, folder: &Path, account: &Account, who: &str) -> Option<String> {
    let path = folder.display();
    match folder.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(format!(
            "{key}: no such folder: {path}; make it ({}), or write another path",
            install(who, &path.to_string())
        )),
        Err(error) => Some(format!("{key}: {path}: {error}; write another path")),
        Ok(metadata) if !metadata.is_dir() => Some(format!("{key}: {path} is not a folder; write another path")),
        Ok(_) if account.may_write_in(folder) => None,
        // Not to be given away: it may be /usr.
        Ok(_) => Some(format!(
            "{key}: {who} may not write to {path}; write a path in a folder of its own ({})",
            install(who, "FOLDER")
        )),
    }
}

fn install(who: &str, folder: &str) -> String {
    match who {
        OURSELVES => format!("mkdir -p {folder}"),
        user => format!("install -d -o {user} -m 700 {folder}"),
    }
}

fn parent(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

const OURSELVES: &str = "this user";

//! The services of this host that receive mail: run scripts of daemontools, runit and s6, units of systemd, xinetd,
//! inetd. Scripts are read, never run. It must not ask a supervisor.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use crate::takeover::accounts::Accounts;
use crate::takeover::accounts::HostAnswers;
use crate::takeover::nested;
use crate::takeover::root::Root;
use crate::takeover::script;
use crate::takeover::script::Chain;
use crate::takeover::script::Exec;
use crate::takeover::script::RunScript;
use crate::takeover::script::Word;
use crate::takeover::units;

/// A service that receives mail, or seems to.
#[derive(Debug)]
pub(super) struct Service {
    /// The service as the operator names it: the link in the folder of services, or the unit.
    pub(super) entry: PathBuf,
    /// The folder without links; relative names in its script are below it.
    pub(super) folder: PathBuf,
    /// The file that was read.
    pub(super) file: PathBuf,
    pub(super) supervisor: Supervisor,
    /// Whether it is in a folder that a supervisor watches, and not marked as down.
    pub(super) active: bool,
    pub(super) script: RunScript,
    pub(super) chain: Chain,
    /// The service of its log: the file, and what it starts.
    pub(super) log: Option<(PathBuf, Chain)>,
}

/// The program that starts services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Supervisor {
    Daemontools,
    Runit,
    S6,
    Systemd,
    /// A socket unit of systemd, which starts a service for each connection.
    Socket,
    Xinetd,
    Inetd,
}

impl Supervisor {
    /// It watches a folder of services with run scripts.
    pub(super) fn scans(self) -> bool {
        matches!(self, Self::Daemontools | Self::Runit | Self::S6)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Daemontools => "daemontools",
            Self::Runit => "runit",
            Self::S6 => "s6",
            Self::Systemd => "systemd",
            Self::Socket => "systemd, a socket",
            Self::Xinetd => "xinetd",
            Self::Inetd => "inetd",
        }
    }
}

impl Service {
    /// The port that its command names.
    pub(super) fn port(&self) -> Option<u16> {
        port(&self.chain.server.as_ref()?.port)
    }

    fn receives_mail(&self, text: &str) -> bool {
        let by_port = self.port().is_some_and(|port| MAIL_PORTS.contains(&port));
        let names = |text: &str| PROGRAMS.iter().any(|program| text.contains(program));
        let by_program = self.chain.program().is_some_and(|program| program.words.iter().any(|word| names(&word.text)));
        // A script that is not understood is judged by its text.
        by_port || by_program || self.is_ours() || self.chain.server.is_none() && names(text)
    }

    /// Whether it is Portcullis.
    pub(super) fn is_ours(&self) -> bool {
        let serves =
            |exec: &Exec| exec.name() == "portcullis" && exec.words.get(1).is_some_and(|word| word.text == "serve");
        self.chain.server.is_none() && self.chain.behind.iter().any(serves)
    }
}

/// The number of a port.
pub(super) fn port(word: &Word) -> Option<u16> {
    match word.known()? {
        "smtp" | "mail" => Some(25),
        "submission" | "msa" => Some(587),
        "smtps" | "submissions" | "ssmtp" | "urd" => Some(465),
        number => number.parse().ok(),
    }
}

/// All services that receive mail; the same folder under two names is one.
pub(super) fn find(root: &Root, accounts: &Accounts) -> Vec<Service> {
    let mut services: Vec<Service> = Vec::new();
    for (scanned, watched) in FOLDERS {
        for name in root.names(Path::new(scanned)) {
            let entry = Path::new(scanned).join(name);
            let folder = root.canonical(&entry);
            if services.iter().all(|known| known.folder != folder) {
                services.extend(supervised(root, accounts, &entry, watched));
            }
        }
    }
    services.extend(systemd(root, accounts));
    services.extend(internet(root, accounts));
    services
}

/// The service of one folder, whatever it is called, or unit of systemd.
pub(super) fn at(root: &Root, accounts: &Accounts, entry: &Path) -> Option<Service> {
    match entry.extension().and_then(|extension| extension.to_str()) {
        Some("service") => return unit(root, accounts, entry).map(|(service, _)| service),
        Some("socket") => return socket(root, accounts, entry),
        _ => {}
    }
    read_supervised(root, accounts, entry, true).map(|(service, _)| service)
}

fn supervised(root: &Root, accounts: &Accounts, entry: &Path, watched: bool) -> Option<Service> {
    let (service, text) = read_supervised(root, accounts, entry, watched)?;
    service.receives_mail(&text).then_some(service)
}

fn read_supervised(root: &Root, accounts: &Accounts, entry: &Path, watched: bool) -> Option<(Service, String)> {
    let folder = root.canonical(entry);
    let file = entry.join("run");
    let text = root.read(&file)?;
    let answers = HostAnswers { root, accounts, folder: &folder };
    let script = nested::unfolded(root, &folder, &answers, script::read(&text, &answers));
    let log_file = entry.join("log/run");
    let log = root.read(&log_file).map(|text| Chain::of(&script::read(&text, &answers).command));
    let log = log.map(|chain| (log_file, chain));
    let active = watched && (!root.exists(&folder.join("down")) || is_running(root, &folder));
    let mut service = Service {
        entry: entry.to_owned(),
        file,
        supervisor: Supervisor::Daemontools,
        active,
        chain: Chain::of(&script.command),
        script,
        log,
        folder,
    };
    service.supervisor = supervisor(root, &service);
    Some((service, String::from_utf8_lossy(&text).into_owned()))
}

/// Whether the supervisor's status has a process: daemontools and runit write its number behind the time.
fn is_running(root: &Root, folder: &Path) -> bool {
    let file = folder.join("supervise/status");
    if !matches!(root.length(&file), Some(18 | 20)) {
        return false;
    }
    root.read(&file).is_some_and(|status| status.get(12..16).is_some_and(|pid| pid != [0; 4]))
}

/// The supervisor, by the status that it keeps, else by the programs that the scripts use, else by the place.
fn supervisor(root: &Root, service: &Service) -> Supervisor {
    match root.length(&service.folder.join("supervise/status")) {
        Some(18) => return Supervisor::Daemontools,
        Some(20) => return Supervisor::Runit,
        Some(35..) => return Supervisor::S6,
        _ => {}
    }
    let log = service.log.iter().flat_map(|(_, chain)| &chain.behind).flat_map(|exec| &exec.words);
    let mut names = service.script.command.iter().chain(log).map(Word::name);
    let telling = names.find_map(|name| match name {
        "chpst" | "svlogd" | "tcpsvd" => Some(Supervisor::Runit),
        "envuidgid" | "multilog" | "setuidgid" => Some(Supervisor::Daemontools),
        _ if name.starts_with("s6-") => Some(Supervisor::S6),
        _ => None,
    });
    let in_runits_folder = service.entry.starts_with("/etc/sv") || service.folder.starts_with("/etc/sv");
    telling.unwrap_or(if in_runits_folder { Supervisor::Runit } else { Supervisor::Daemontools })
}

fn systemd(root: &Root, accounts: &Accounts) -> Vec<Service> {
    let mut services: Vec<Service> = Vec::new();
    for folder in UNITS {
        for name in root.names(Path::new(folder)) {
            // A unit in /etc stands over one of the same name elsewhere.
            let is_known = services.iter().any(|known| known.entry.file_name() == Some(&name));
            let file = Path::new(folder).join(name);
            let is_masked = || root.canonical(&file) == Path::new("/dev/null");
            if is_known || is_masked() {
                continue;
            }
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("service") => {
                    let found = unit(root, accounts, &file).filter(|(service, text)| service.receives_mail(text));
                    services.extend(found.map(|(service, _)| service));
                }
                Some("socket") => services.extend(socket(root, accounts, &file)),
                _ => {}
            }
        }
    }
    services
}

/// What a socket unit starts for each connection, if that is mail.
fn socket(root: &Root, accounts: &Accounts, file: &Path) -> Option<Service> {
    let socket = root.text(file).filter(|text| units::accepts(text))?;
    let stem = file.file_stem()?.to_str()?;
    let template = UNITS.into_iter().map(|folder| Path::new(folder).join(format!("{stem}@.service")));
    let (template, text) =
        template.into_iter().find_map(|file| Some((root.text(&file)?, file))).map(|(a, b)| (b, a))?;
    let script = units::systemd(&text, &drop_ins(root, &template), Some(&socket));
    let service = translated(root, accounts, &template, &script, Supervisor::Socket);
    let service = Service { entry: file.to_owned(), active: is_enabled(root, "sockets", file), ..service };
    service.receives_mail(&text).then_some(service)
}

fn is_enabled(root: &Root, target: &str, file: &Path) -> bool {
    let wanted = PathBuf::from(format!("/etc/systemd/system/{target}.target.wants"));
    root.names(&wanted).iter().any(|known| Some(known.as_os_str()) == file.file_name())
}

fn unit(root: &Root, accounts: &Accounts, file: &Path) -> Option<(Service, String)> {
    let text = root.text(file)?;
    // Most units are somebody else's.
    let is_meant = PROGRAMS.iter().chain(&UNIT_PROGRAMS).any(|program| text.contains(program));
    // A template is started by its socket.
    let is_template = file.file_stem()?.to_str()?.ends_with('@');
    if !is_meant || is_template {
        return None;
    }
    let script = units::systemd(&text, &drop_ins(root, file), None);
    let service = translated(root, accounts, file, &script, Supervisor::Systemd);
    Some((Service { active: is_enabled(root, "multi-user", file), ..service }, text))
}

fn internet(root: &Root, accounts: &Accounts) -> Vec<Service> {
    let mut services = Vec::new();
    let mut files = vec![PathBuf::from("/etc/xinetd.conf")];
    let defaults = root.text(&files[0]).unwrap_or_default();
    files.extend(root.names(Path::new("/etc/xinetd.d")).into_iter().map(|name| Path::new("/etc/xinetd.d").join(name)));
    for file in files {
        let Some(text) = root.text(&file) else { continue };
        let Some(script) = units::xinetd(&text, &defaults) else { continue };
        let service = translated(root, accounts, &file, &script, Supervisor::Xinetd);
        services.push(Service { active: !units::is_disabled(&text), ..service });
    }
    let file = Path::new("/etc/inetd.conf");
    if let Some(script) = root.text(file).and_then(|text| units::inetd(&text)) {
        services.push(translated(root, accounts, file, &script, Supervisor::Inetd));
    }
    services
}

/// The texts of the drop-ins of a unit, in the order of their names; of one name, the first folder's stands.
fn drop_ins(root: &Root, file: &Path) -> Vec<String> {
    let Some(name) = file.file_name().map(|name| format!("{}.d", name.to_string_lossy())) else { return Vec::new() };
    let mut found = BTreeMap::new();
    for folder in UNITS.map(|folder| Path::new(folder).join(&name)) {
        let names = root.names(&folder).into_iter().filter(|name| Path::new(name).extension() == Some("conf".as_ref()));
        names.for_each(|name| _ = found.entry(name.clone()).or_insert_with(|| folder.join(name)));
    }
    found.values().filter_map(|file| root.text(file)).collect()
}

fn translated(
    root: &Root,
    accounts: &Accounts,
    file: &Path,
    translated: &units::Translated,
    supervisor: Supervisor,
) -> Service {
    let folder = PathBuf::from("/");
    let answers = HostAnswers { root, accounts, folder: &folder };
    let script = script::read(translated.script.as_bytes(), &answers);
    let mut script = nested::unfolded(root, &folder, &answers, script);
    script.remarks.extend(translated.remarks.iter().cloned());
    Service {
        entry: file.to_owned(),
        folder,
        file: file.to_owned(),
        supervisor,
        active: true,
        chain: Chain::of(&script.command),
        script,
        log: None,
    }
}

/// Folders of services, and whether a supervisor watches them; those first, so that a service has the name there.
pub(super) const FOLDERS: [(&str, bool); 10] = [
    ("/service", true),
    ("/etc/service", true),
    ("/var/service", true),
    ("/var/lib/svscan", true),
    ("/run/service", true),
    ("/var/lib/service", true),
    ("/etc/sv", false),
    ("/var/qmail/supervise", false),
    ("/var/lib/qmail/supervise", false),
    ("/var/supervise", false),
];
/// Folders of units; the first of a name stands.
pub(super) const UNITS: [&str; 3] = ["/etc/systemd/system", "/lib/systemd/system", "/usr/lib/systemd/system"];
const MAIL_PORTS: [u16; 3] = [25, 465, 587];
/// Programs in units that may receive mail.
const UNIT_PROGRAMS: [&str; 5] = ["tcpserver", "tcpsvd", "sslserver", "s6-tcpserver", "portcullis"];
/// Programs that receive mail.
const PROGRAMS: [&str; 3] = ["qmail-smtpd", "smtpfront-", "mailfront"];

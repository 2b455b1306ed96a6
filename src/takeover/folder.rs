//! The new folder: configuration, service, steps. It is new, or it is empty; nothing else is touched. It must not write
//! over a file.

use std::fs;
use std::fs::DirBuilder;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

use crate::takeover::Findings;
use crate::takeover::Options;
use crate::takeover::accounts::Accounts;
use crate::takeover::configuration;
use crate::takeover::logger::Logger;
use crate::takeover::root::Root;
use crate::takeover::services;
use crate::takeover::services::Service;
use crate::takeover::services::Supervisor;
use crate::takeover::site::Site;
use crate::text::readable::shown;
use crate::text::shell;

/// The files to be written, in this order.
#[derive(Debug)]
pub struct Files {
    /// Name below the folder, text, and mode.
    pub files: Vec<(&'static str, String, u32)>,
    /// The text of the last of them, to be printed.
    pub steps: String,
}

/// Writes the files.
///
/// # Errors
/// The folder exists and is not empty, or the system's error. Nothing is left of what was written then.
pub fn write(folder: &Path, files: &Files) -> Result<(), String> {
    let is_new = make_new(folder)?;
    write_into(folder, files).inspect_err(|_| {
        // It was empty, so that all that is in it is ours.
        files.files.iter().for_each(|(name, ..)| _ = fs::remove_file(folder.join(name)));
        ["service/log", "service", "systemd", "state"].iter().for_each(|name| _ = fs::remove_dir(folder.join(name)));
        if is_new {
            let _ = fs::remove_dir(folder);
        }
    })
}

fn write_into(folder: &Path, files: &Files) -> Result<(), String> {
    let told = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    for (name, text, mode) in &files.files {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(|error| told(parent, error))?;
        let mut file = OpenOptions::new();
        let file = file.write(true).create_new(true).mode(*mode).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| told(&path, error))?;
    }
    let state = folder.join("state");
    DirBuilder::new().mode(0o750).create(&state).map_err(|error| told(&state, error))
}

/// Makes the folder; false if it was there, and empty.
fn make_new(folder: &Path) -> Result<bool, String> {
    let shown = folder.display();
    match DirBuilder::new().mode(0o755).create(folder) {
        Ok(()) => return Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = folder.parent().unwrap_or(folder).display();
            return Err(format!("{shown}: {parent} does not exist: make it first, or name another folder with --to"));
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(format!("{shown}: permission denied: run it as root, or name another folder with --to"));
        }
        Err(error) => return Err(format!("{shown}: {error}")),
    }
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(false),
        Ok(false) if folder.join("STEPS").exists() => Err(format!(
            "{shown}: an earlier init wrote there; nothing was written. Follow {shown}/STEPS, or name a new folder \
             with --to"
        )),
        Ok(false) => Err(format!("{shown} is not empty: name a new folder with --to; nothing was written")),
        Err(error) => Err(format!("{shown}: {error}: name a new folder with --to")),
    }
}

/// Where everything will be, for what was found.
pub(super) fn site(
    root: &Root,
    accounts: &Accounts,
    options: &Options,
    findings: &Findings,
    service: Option<&Service>,
) -> Site {
    Site {
        folder: options.folder.clone(),
        program: options.program.clone(),
        supervisor: supervisor(root, service),
        link: link(root, service).filter(|_| supervisor(root, service).scans()),
        service: service.map(|service| (service.entry.clone(), service.supervisor)),
        user: findings.plan.user.clone(),
        logger: Logger::of(accounts, service, supervisor(root, service)),
    }
}

/// The files of that service; `steps` is the text of the last.
pub(super) fn files(site: &Site, findings: &Findings, steps: String) -> Files {
    let mut files = vec![
        ("portcullis.toml", configuration::text(findings), 0o644),
        ("service/run", run(site, findings), 0o755),
        ("service/log/run", log_run(&site.logger), 0o755),
        // Linked first, started when the other one has ended.
        ("service/down", String::new(), 0o644),
    ];
    if site.supervisor == Supervisor::S6 {
        files.push(("service/notification-fd", format!("{NOTIFIED}\n"), 0o644));
    }
    if site.supervisor == Supervisor::Systemd {
        files.push(("systemd/portcullis.service", unit(site), 0o644));
    }
    files.push(("STEPS", steps.clone(), 0o644));
    Files { files, steps }
}

/// The supervisor; inetd and xinetd cannot start a server that listens itself.
fn supervisor(root: &Root, service: Option<&Service>) -> Supervisor {
    let has = |folder: &str| root.is_folder(Path::new(folder));
    match service.map(|service| service.supervisor) {
        Some(Supervisor::Socket) => Supervisor::Systemd,
        Some(Supervisor::Xinetd | Supervisor::Inetd) | None if scanned(root).is_none() && has(SYSTEMD) => {
            Supervisor::Systemd
        }
        Some(Supervisor::Xinetd | Supervisor::Inetd) | None if has("/etc/runit") => Supervisor::Runit,
        Some(Supervisor::Xinetd | Supervisor::Inetd) | None => Supervisor::Daemontools,
        Some(known) => known,
    }
}

/// The first folder that a supervisor of run scripts watches on this host.
fn scanned(root: &Root) -> Option<&'static str> {
    let mut watched = services::FOLDERS.iter().filter(|(_, watched)| *watched).map(|(folder, _)| *folder);
    watched.find(|folder| root.is_folder(Path::new(folder)))
}

/// A name for the new service beside the old one, or where services are watched.
fn link(root: &Root, service: Option<&Service>) -> Option<PathBuf> {
    let beside = service.filter(|service| service.supervisor.scans()).and_then(|service| service.entry.parent());
    let unlinked =
        |folder: &Path| services::FOLDERS.iter().any(|(known, watched)| !watched && folder == Path::new(known));
    let folder = beside.filter(|folder| !unlinked(folder)).or_else(|| scanned(root).map(Path::new))?;
    let names =
        (1..100).map(|number| if number == 1 { "portcullis".to_owned() } else { format!("portcullis-{number}") });
    names.map(|name| folder.join(name)).find(|link| root.link(link).is_none() && !root.exists(link))
}

fn run(site: &Site, findings: &Findings) -> String {
    let instead =
        site.service.as_ref().map(|(service, _)| format!(" in place of {}", shown(&service.display().to_string())));
    let mut words: Vec<String> = findings.plan.in_front.iter().map(|word| shell::word(word)).collect();
    let path = |path: &Path| shell::word(&path.to_string_lossy());
    words.push(format!("{} serve -c {}", path(&site.program), path(&site.configuration())));
    if site.supervisor == Supervisor::S6 {
        words.push(format!("--notify-fd {NOTIFIED}"));
    }
    let in_front = match findings.plan.in_front.is_empty() {
        true => "",
        false => "# Programs that ran before tcpserver and set its environment are kept in front.\n",
    };
    format!(
        "#!/bin/sh\n\
         # Portcullis{}. It starts as root for its port and becomes `server.user` of the\n\
         # configuration. HUP reloads; TERM closes the port, lets running transactions end, and a second TERM stops at once.\n\
         {in_front}exec {} 2>&1\n",
        instead.unwrap_or_default(),
        words.join(" ")
    )
}

fn log_run(logger: &Logger) -> String {
    let like = logger
        .like
        .as_ref()
        .map_or_else(String::new, |file| format!("# As in {}.\n", shown(&file.display().to_string())));
    format!(
        "#!/bin/sh\n# The logger stamps the lines, so Portcullis writes no time: log.time = \"auto\" detects it.\n{like}exec {}\n",
        logger.command
    )
}

/// Our unit, with the user and the paths of this host, and a folder in which the state may be written.
fn unit(site: &Site) -> String {
    let (program, configuration) = (site.program.display(), site.configuration());
    let user = site.user.as_ref().map(|user| format!("User={user}\n")).unwrap_or_default();
    let state = format!("ReadWritePaths={}\n", site.folder.join("state").display());
    let (_, settings) = UNIT.split_once("[Unit]\n").unwrap_or_default();
    let unit = settings
        .replace("User=qmaild\n", &user)
        .replace("Environment=PORTCULLIS_CONFIG=/etc/portcullis.toml\n", "")
        .replace("=portcullis serve", &format!("={program} serve -c {}", configuration.display()))
        .replace("StateDirectory=portcullis\nStateDirectoryMode=0700\n", &state);
    format!("# Portcullis under systemd; STEPS says how to switch to it.\n[Unit]\n{unit}")
}

const UNIT: &str = include_str!("../../config/systemd/portcullis.service");
/// The descriptor on which s6 hears that it listens.
const NOTIFIED: u32 = 3;
const SYSTEMD: &str = "/etc/systemd/system";

//! `init`: what this host has for receiving mail, and the configuration and service that would take over. It only
//! looks; the one thing that it writes is a new folder. It must not change anything that is there.

mod accounts;
mod configuration;
mod folder;
mod home;
mod listeners;
mod logger;
mod nested;
mod ours;
mod plan;
mod root;
pub mod script;
mod services;
mod site;
mod steps;
mod units;

use std::path::Path;
use std::path::PathBuf;

use serde::Serialize;

use crate::takeover::accounts::Accounts;
pub use crate::takeover::folder::Files;
pub use crate::takeover::folder::write;
pub use crate::takeover::home::ControlFile;
pub use crate::takeover::home::Home;
pub use crate::takeover::listeners::Listener;
pub use crate::takeover::ours::Ours;
use crate::takeover::plan::Plan;
pub use crate::takeover::plan::Setting;
use crate::takeover::root::Root;
use crate::takeover::services::Service;
use crate::takeover::services::Supervisor;

/// All that was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// qmail's homes.
    pub homes: Vec<Home>,
    /// The home that is taken.
    pub home: Option<PathBuf>,
    /// The reason why it is that one.
    pub why_home: String,
    /// Services that receive mail.
    pub services: Vec<Found>,
    /// The service that is taken over.
    pub takes_over: Option<PathBuf>,
    /// Portcullis, where it is already; nothing is planned then.
    pub ours: Option<Ours>,
    /// Sockets that listen on its port, or on 25.
    pub listeners: Vec<Listener>,
    /// Files that could not be read, and why.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Folders and files that were looked for.
    pub looked_for: Vec<String>,
    /// The configuration to be.
    pub plan: Plan,
}

/// A service that receives mail.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// The service as the operator names it.
    pub entry: PathBuf,
    /// The supervisor that starts it.
    pub supervisor: &'static str,
    /// A supervisor watches it, and it is not marked as down.
    pub active: bool,
    /// The port, as far as it is understood.
    pub port: Option<u16>,
    /// Whether it is Portcullis.
    pub ours: bool,
    /// The command that its script becomes.
    pub command: String,
    /// Lines that were not understood.
    pub remarks: Vec<String>,
}

/// The outcome of looking.
#[derive(Debug)]
pub struct Outcome {
    /// All that was found.
    pub findings: Findings,
    /// The files to write; `None` where several services could be meant, or where Portcullis is already.
    pub files: Option<Files>,
}

/// The host to look at, and the folder of the files to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// `/`, or a copy of a host.
    pub root: PathBuf,
    /// The service to take over, if not the one on port 25.
    pub service: Option<PathBuf>,
    /// The folder to be, with its whole path.
    pub folder: PathBuf,
    /// The program that will serve.
    pub program: PathBuf,
    /// The backend to write.
    pub wanted: Wanted,
}

/// The backend that an operator wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// The program that speaks SMTP now.
    #[default]
    Spawn,
    /// qmail-queue, or a program in its place; without a path the one of the qmail home.
    Queue(Option<PathBuf>),
}

/// Looks. Nothing is written.
///
/// # Errors
/// There is no such service.
pub fn look(options: &Options) -> Result<Outcome, String> {
    let root = Root::new(&options.root);
    let accounts = Accounts::read(&root);
    let mut services = services::find(&root, &accounts);
    if let Some(named) = &options.service
        && !services.iter().any(|service| service.is(&root, named))
    {
        let what = format!("{}: no service with a run script that can be read, and no unit", named.display());
        services.push(services::at(&root, &accounts, named).ok_or(what)?);
    }
    let candidates: Vec<&Service> = match &options.service {
        Some(named) => services.iter().filter(|service| service.is(&root, named)).collect(),
        None => {
            let is_meant = |service: &&Service| matches!(service.port(), None | Some(25)) && !service.is_ours();
            services.iter().filter(is_meant).collect()
        }
    };
    let active: Vec<&Service> = candidates.iter().copied().filter(|service| service.active).collect();
    // Services marked as down, or linked nowhere, do not matter if there is one active.
    let meant = if active.len() == 1 { active } else { candidates };
    let ambiguous = meant.len() > 1;
    let chosen = meant.first().copied().filter(|_| !ambiguous);
    let mut findings = Findings {
        homes: Home::find(&root),
        services: services.iter().map(Found::of).collect(),
        listeners: listeners::on_port(&root, &accounts, chosen.and_then(Service::port).unwrap_or(25)),
        looked_for: looked_for(),
        ..Findings::default()
    };
    // A service that is named is taken over though another is ours.
    if options.service.is_none() || chosen.is_some_and(Service::is_ours) {
        findings.ours = Ours::find(&root, &services, &findings.listeners);
    }
    let files = match findings.ours.is_none() && !ambiguous {
        true => Some(planned(&root, &accounts, options, &mut findings, chosen)),
        false => None,
    };
    findings.unreadable = root.unreadable();
    Ok(Outcome { findings, files })
}

/// Plans, and makes the files of the plan.
fn planned(
    root: &Root,
    accounts: &Accounts,
    options: &Options,
    findings: &mut Findings,
    chosen: Option<&Service>,
) -> Files {
    findings.takes_over = chosen.map(|service| service.entry.clone());
    let home = choose_home(root, chosen, findings);
    findings.plan = plan::plan(root, accounts, findings, chosen, home.as_ref(), &options.wanted);
    let site = folder::site(root, accounts, options, findings, chosen);
    findings.plan.remarks.extend(site.logger.remark.clone());
    folder::files(&site, findings, steps::text(&site, findings))
}

/// QMAILHOME of the script, else where the program is, else the only one that there is.
fn choose_home(root: &Root, service: Option<&Service>, findings: &mut Findings) -> Option<Home> {
    let exported = service.and_then(|service| service.script.exported.iter().find(|(name, _)| name == "QMAILHOME"));
    let only = || match findings.homes.as_slice() {
        [only] => Some((only.clone(), "the only qmail home that was found".to_owned())),
        _ => None,
    };
    let (home, why) = match (service, exported) {
        // Even if there are other homes, the script's is the one in use.
        (Some(service), Some((_, value))) => {
            let home = Home::at(root, Path::new(value.known()?))?;
            (home, format!("{}:{}: QMAILHOME", service.file.display(), value.line))
        }
        _ => service.and_then(|service| home_of_program(root, service)).or_else(only)?,
    };
    findings.home = Some(home.folder.clone());
    findings.why_home = why;
    Some(home)
}

/// `/var/qmail/bin/qmail-smtpd` has its home above.
fn home_of_program(root: &Root, service: &Service) -> Option<(Home, String)> {
    let program = service.chain.program()?.words.first()?;
    let folder = Path::new(&program.text).parent().filter(|folder| folder.ends_with("bin"))?.parent()?;
    let home = Home::at(root, folder)?;
    Some((home, format!("{}:{}: the home of {}", service.file.display(), program.line, program.text)))
}

fn looked_for() -> Vec<String> {
    let homes = home::PLACES.iter().map(|home| format!("{home}/control"));
    let services = services::FOLDERS.iter().map(|(folder, _)| format!("{folder}/*/run"));
    let units = services::UNITS.iter().map(|folder| format!("{folder}/*.service, *.socket"));
    let others = ["/etc/xinetd.conf", "/etc/xinetd.d/*", "/etc/inetd.conf", "/proc/net/tcp", "/proc/net/tcp6"];
    homes.chain(services).chain(units).chain(others.map(str::to_owned)).collect()
}

impl Service {
    /// Whether it has this name, or a link to it has.
    fn is(&self, root: &Root, named: &Path) -> bool {
        let is_file = self.supervisor == Supervisor::Socket && self.file == named;
        self.entry == named || is_file || root.canonical(&self.entry) == root.canonical(named)
    }
}

impl Found {
    fn of(service: &Service) -> Self {
        let all = service.script.remarks.iter().chain(&service.chain.remarks);
        Self {
            entry: service.entry.clone(),
            supervisor: service.supervisor.name(),
            active: service.active,
            port: service.port(),
            ours: service.is_ours(),
            command: service.script.command.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" "),
            remarks: all.map(|remark| format!("{}:{}: {}", service.file.display(), remark.line, remark.what)).collect(),
        }
    }
}

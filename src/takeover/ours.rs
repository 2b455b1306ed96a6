//! Portcullis where it is already: as a service that runs, as one that an earlier `init` left, or as a process without
//! a service. It must not judge its configuration.

use std::path::Path;
use std::path::PathBuf;

use serde::Serialize;

use crate::takeover::listeners::Listener;
use crate::takeover::root::Root;
use crate::takeover::script::Word;
use crate::takeover::services::Service;
use crate::takeover::services::Supervisor;
use crate::text::shell;

/// A Portcullis on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ours {
    /// The service as the operator names it; `None` for a process that no service here starts.
    pub entry: Option<PathBuf>,
    /// Whether it receives the mail of this host now.
    pub serves: bool,
    /// Its configuration, if its command names one.
    pub configuration: Option<PathBuf>,
    /// What the operator can do about it, as lines of text and commands.
    pub advice: Vec<String>,
}

impl Ours {
    /// The one that is there, if one is.
    pub(super) fn find(root: &Root, services: &[Service], listeners: &[Listener]) -> Option<Self> {
        let listens = listeners.iter().find(|listener| listener.program.as_deref() == Some(NAME));
        let is_used = |service: &&Service| {
            // A package brings its unit whether it is used or not.
            let is_packaged = service.supervisor == Supervisor::Systemd && !service.entry.starts_with("/etc");
            service.is_ours() && (service.active || listens.is_some() || !is_packaged)
        };
        let mut found: Vec<&Service> = services.iter().filter(is_used).collect();
        found.sort_by_key(|service| !service.active);
        match (found.first(), listens) {
            (Some(service), _) => Some(Self::service(root, service, listens.is_some())),
            (None, Some(listener)) => Some(Self::process(root, listener)),
            (None, None) => None,
        }
    }

    fn service(root: &Root, service: &Service, listens: bool) -> Self {
        let words: Vec<&str> =
            service.chain.program().into_iter().flat_map(|exec| &exec.words).filter_map(Word::known).collect();
        let configuration = configuration(&words);
        let serves = service.active || listens;
        let advice = if serves { update(service, configuration.as_deref()) } else { go_on(root, service) };
        Self { entry: Some(service.entry.clone()), serves, configuration, advice }
    }

    fn process(root: &Root, listener: &Listener) -> Self {
        let command = listener.pid.and_then(|pid| root.text(Path::new(&format!("/proc/{pid}/cmdline"))));
        let command = command.unwrap_or_default();
        let configuration = configuration(&command.split('\0').collect::<Vec<_>>());
        let pid = listener.pid.map_or_else(|| "PID".to_owned(), |pid| pid.to_string());
        let advice = vec![
            "It is started by something that is not read here. To make a change of its configuration take effect:"
                .to_owned(),
            format!("  kill -HUP {pid}"),
        ];
        Self { entry: None, serves: true, configuration, advice }
    }
}

/// `serve -c FILE`
fn configuration(words: &[&str]) -> Option<PathBuf> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "-c" | "--config" => return words.next().map(PathBuf::from),
            _ => {
                let attached = word.strip_prefix("--config=").or_else(|| word.strip_prefix("-c"));
                if let Some(attached) = attached.filter(|attached| attached.starts_with('/')) {
                    return Some(PathBuf::from(attached));
                }
            }
        }
    }
    None
}

/// How to change a running one, and how to run a newer program.
fn update(service: &Service, configuration: Option<&Path>) -> Vec<String> {
    let entry = shell::word(&service.entry.to_string_lossy());
    let unit = service.entry.file_name().map(|name| shell::word(&name.to_string_lossy())).unwrap_or_default();
    let [reload, restart] = match service.supervisor {
        Supervisor::Runit => [format!("sv hup {entry}"), format!("sv term {entry}")],
        Supervisor::S6 => [format!("s6-svc -h {entry}"), format!("s6-svc -t {entry}")],
        Supervisor::Systemd => [format!("systemctl reload {unit}"), format!("systemctl restart {unit}")],
        _ => [format!("svc -h {entry}"), format!("svc -t {entry}")],
    };
    let check = match configuration {
        Some(file) => format!("portcullis check -c {}", shell::word(&file.to_string_lossy())),
        None => "portcullis check".to_owned(),
    };
    vec![
        "To change its configuration, edit the file, then:".to_owned(),
        format!("  {check} && {reload}"),
        "To run a newer version, install the program, then:".to_owned(),
        format!("  {restart}"),
    ]
}

/// What to do with a service that has never been started.
fn go_on(root: &Root, service: &Service) -> Vec<String> {
    let folder = service.folder.parent().unwrap_or(Path::new("/"));
    let steps = folder.join("STEPS");
    let mut advice = Vec::new();
    if root.exists(&steps) {
        advice.push(format!("To go on from there, follow its steps: {}", shell::word(&steps.to_string_lossy())));
    }
    let entry = shell::word(&service.entry.to_string_lossy());
    match root.link(&service.entry) {
        Some(_) => advice.push(format!("To start over, remove the link first: rm {entry}")),
        None => advice.push(format!("To start over, remove {entry} first")),
    }
    advice
}

/// The program as the kernel names it.
const NAME: &str = "portcullis";

//! The findings as keys of a configuration, each with its value and where that comes from. What is not certain becomes
//! a remark, and its key is written as a comment. It must not read anything that `Findings` has not, but for rules.

mod backend;
mod qmail;
mod queue;
mod server;

use std::path::Path;

use serde::Serialize;

use crate::takeover::Findings;
use crate::takeover::Wanted;
use crate::takeover::accounts::Accounts;
use crate::takeover::home::Home;
use crate::takeover::root::Root;
use crate::takeover::script::Word;
use crate::takeover::services::Service;
use crate::takeover::services::Supervisor;

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The table: `server`.
    pub section: &'static str,
    /// The key: `listen`; empty for a remark that stands in the section.
    pub key: String,
    /// The value in TOML; empty for a remark.
    pub value: String,
    /// `file:line: what stands there`, or why the key is as it is.
    pub from: String,
    /// False: it is written as a comment.
    pub active: bool,
}

/// A configuration to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Settings in the order of the file.
    pub settings: Vec<Setting>,
    /// What has to be settled first, because mail may go another way than before: `file:line: what`.
    pub errors: Vec<String>,
    /// Lines that were not understood or are not carried over: `file:line: what`.
    pub remarks: Vec<String>,
    /// Programs that stay in front of Portcullis, with their arguments.
    pub in_front: Vec<String>,
    /// The user that the proxy becomes.
    pub user: Option<String>,
    /// Whether everything is there that receiving mail needs.
    pub complete: bool,
}

/// All that the steps of a plan need to look at.
pub(super) struct Planner<'a> {
    root: &'a Root,
    accounts: &'a Accounts,
    findings: &'a Findings,
    service: Option<&'a Service>,
    home: Option<&'a Home>,
    wanted: &'a Wanted,
    plan: Plan,
}

/// The plan to take over from `service`; without one, a beginning that has to be completed by hand.
pub(super) fn plan(
    root: &Root,
    accounts: &Accounts,
    findings: &Findings,
    service: Option<&Service>,
    home: Option<&Home>,
    wanted: &Wanted,
) -> Plan {
    let mut planner = Planner { root, accounts, findings, service, home, wanted, plan: Plan::default() };
    planner.remarks();
    planner.server();
    planner.backend();
    planner.qmail();
    planner.own_files();
    planner.hold_back();
    let has = |key: &str| planner.plan.settings.iter().any(|setting| setting.active && setting.key == key);
    planner.plan.complete = has("listen") && (has("spawn") || has("queue")) && planner.plan.errors.is_empty();
    planner.plan
}

impl Planner<'_> {
    fn remarks(&mut self) {
        let Some(service) = self.service else { return };
        for remark in service.script.remarks.iter().chain(&service.chain.remarks) {
            let placed = format!("{}:{}: {}", service.file.display(), remark.line, remark.what);
            let list = if remark.is_error { &mut self.plan.errors } else { &mut self.plan.remarks };
            list.push(placed);
        }
    }

    /// With an error no backend is started before the operator has seen it.
    fn hold_back(&mut self) {
        if self.plan.errors.is_empty() {
            return;
        }
        for setting in &mut self.plan.settings {
            if setting.active && matches!(setting.key.as_str(), "spawn" | "queue") {
                setting.active = false;
                setting.from = format!("{}; settle the errors above, then remove the #", setting.from);
            }
        }
    }

    /// Files of ours, beside the configuration.
    fn own_files(&mut self) {
        let why = "Portcullis's own, in a folder that server.user may write";
        self.set("state", "url", quoted("redb:state/portcullis-state.redb"), why);
        self.set("admin", "token_file", quoted("state/portcullis-token"), why);
    }

    fn set(&mut self, section: &'static str, key: &str, value: String, from: impl Into<String>) {
        self.push(section, key, value, from.into(), true);
    }

    /// A key that the operator has to decide on.
    fn propose(&mut self, section: &'static str, key: &str, value: String, from: impl Into<String>) {
        self.push(section, key, value, from.into(), false);
    }

    fn tell(&mut self, section: &'static str, text: impl Into<String>) {
        self.push(section, "", String::new(), text.into(), false);
    }

    fn push(&mut self, section: &'static str, key: &str, value: String, from: String, active: bool) {
        self.plan.settings.push(Setting { section, key: key.to_owned(), value, from, active });
    }

    /// `file:line: text`
    fn place(&self, line: u32, text: &str) -> String {
        let file = self.service.map(|service| service.file.display().to_string()).unwrap_or_default();
        format!("{file}:{line}: {text}")
    }

    /// A word of the script that cannot be used.
    fn doubt(&mut self, word: &Word, what: &str) {
        let why = word.unknown.as_deref().unwrap_or(&word.text);
        let remark = self.place(word.line, &format!("{what}: {why}"));
        self.plan.remarks.push(remark);
    }

    /// A word without which mail would go another way.
    fn error(&mut self, word: &Word, what: &str) {
        let why = word.unknown.as_deref().unwrap_or(&word.text);
        let error = self.place(word.line, &format!("{what}: {why}"));
        self.plan.errors.push(error);
    }

    /// The server's option as it was written: `tcpserver -c 20`. Services of other supervisors have none.
    fn option(&self, letter: char, word: &Word) -> String {
        let Some(server) = self.service.and_then(|service| service.chain.server.as_ref()) else { return String::new() };
        let argument = if word.text.starts_with('-') { "" } else { &word.text };
        let written = match self.service.map(|service| service.supervisor) {
            Some(Supervisor::Xinetd | Supervisor::Inetd | Supervisor::Socket) => argument.to_owned(),
            _ => format!("{} -{letter} {argument}", server.program.name()),
        };
        self.place(word.line, written.trim_end())
    }

    /// A file's name in a script; relative ones are below the service's folder.
    fn absolute(&self, name: &str) -> String {
        let changed = self.service.and_then(|service| service.script.folder.as_deref());
        let own = self.service.map_or(Path::new("/"), |service| &service.folder);
        let folder = changed.map_or_else(|| own.to_owned(), |changed| own.join(changed));
        let path = folder.join(name.strip_prefix("./").unwrap_or(name));
        path.to_string_lossy().into_owned()
    }

    /// Whether a word was made of a control file that is read anyway.
    fn is_control(&self, word: &Word, name: &str) -> bool {
        let Some(home) = self.home else { return false };
        let file = self.root.canonical(&home.folder.join("control").join(name));
        word.sources.iter().filter_map(|source| source.file()).any(|read| {
            let read = self.absolute(read);
            self.root.canonical(Path::new(&read)) == file
        })
    }
}

/// A basic string of TOML.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            _ if character.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(character))),
            _ => quoted.push(character),
        }
    }
    quoted + "\""
}

/// An array of strings.
fn array<'t>(words: impl IntoIterator<Item = &'t str>) -> String {
    format!("[{}]", words.into_iter().map(quoted).collect::<Vec<_>>().join(", "))
}

//! `[backend]`: what tcpserver started, as `spawn`, in the environment that the script exported. It must not leave out
//! a program of the chain without a remark.

use std::net::SocketAddr;
use std::path::Path;

use crate::takeover::plan::Planner;
use crate::takeover::plan::array;
use crate::takeover::plan::quoted;
use crate::takeover::script;
use crate::takeover::script::Exec;
use crate::takeover::script::Server;
use crate::takeover::script::Word;
use crate::takeover::services::Service;

impl Planner<'_> {
    pub(super) fn backend(&mut self) {
        let Some((service, server)) = self.service.and_then(|it| Some((it, it.chain.server.as_ref()?))) else {
            let why = "the program behind is not known: write spawn, or the address of an SMTP server";
            let program = PROGRAMS.into_iter().find(|program| self.root.is_program(Path::new(program)));
            let program = program.unwrap_or("/var/qmail/bin/qmail-smtpd");
            self.propose("backend", "spawn", array([program]), why);
            self.propose("backend", "tcp", quoted("127.0.0.1:2526"), why);
            if self.is_wanted() {
                self.queue(None, &[]);
            }
            return;
        };
        self.spawn(service);
        self.max(server);
        let variables = variables(service);
        self.queue(Some(service), &variables);
        self.environment(variables);
    }

    fn spawn(&mut self, service: &Service) {
        let mut words = Vec::new();
        let mut lines = Vec::new();
        for exec in &service.chain.before {
            self.before(exec, &mut words, &mut lines);
        }
        for exec in &service.chain.behind {
            // Portcullis has become that user already. tcp-env does what Portcullis does.
            if !exec.name().ends_with("setuidgid") && !matches!(exec.name(), "tcp-env" | "tcpd") {
                words.extend(self.absolute_words(exec));
                lines.push(exec.line());
            }
            self.name_changed(exec);
        }
        lines.sort_unstable();
        lines.dedup();
        let places =
            lines.iter().map(|line| format!("{}:{line}", service.file.display())).collect::<Vec<_>>().join(", ");
        let text: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let unknown: Vec<Word> = words.iter().filter(|word| word.unknown.is_some()).cloned().collect();
        if unknown.is_empty() && text.first().is_some_and(|program| program.contains('/')) {
            if self.is_wanted() {
                return self.propose("backend", "spawn", array(text), format!("as before: {places}"));
            }
            self.set("backend", "spawn", array(text), places);
            self.unwrapped(service, &words);
            return;
        }
        if unknown.is_empty() {
            let program = text.first().unwrap_or(&"");
            self.plan.errors.push(format!("{places}: {program} was not found on this host: write its path"));
        }
        unknown.iter().for_each(|word| self.error(word, "a word of the command"));
        self.propose("backend", "spawn", array(text), places);
    }

    /// Names the programs that do part of their work before a greeting, which they do not hear of now.
    fn name_changed(&mut self, exec: &Exec) {
        let named = exec.words.iter().filter(|word| word.unknown.is_none());
        let changed = named.filter_map(|word| CHANGED.iter().find(|(program, _)| *program == word.name()));
        for (program, what) in changed {
            let remark = self.place(exec.line(), &format!("{program} {what}"));
            self.plan.remarks.push(remark);
        }
    }

    /// A program before tcpserver: what limits a process belongs to the backend, what sets variables stays in front.
    fn before(&mut self, exec: &Exec, spawn: &mut Vec<Word>, lines: &mut Vec<u32>) {
        match exec.name() {
            // These programs change the user, or name it, which is handled elsewhere.
            name if name.ends_with("uidgid") => {}
            "softlimit" | "s6-softlimit" => {
                spawn.extend(self.absolute_words(exec));
                lines.push(exec.line());
            }
            "env" => self.env(exec),
            "chpst" => self.chpst(exec, spawn, lines),
            // Sessions of the old server would keep the new one from starting.
            "setlock" | "s6-setlock" | "fghack" => {
                let remark = self.place(exec.line(), &format!("{} is not carried over", exec.name()));
                self.plan.remarks.push(remark);
            }
            _ => match exec.words.iter().find(|word| word.unknown.is_some()).cloned() {
                Some(word) => self.error(&word, exec.name()),
                None => {
                    let words = self.absolute_words(exec);
                    self.plan.in_front.extend(words.into_iter().map(|word| word.text));
                    self.warn_of_relay(exec);
                }
            },
        }
    }

    /// Takes over env: what it sets and takes away is seen in `environment`.
    fn env(&mut self, exec: &Exec) {
        if exec.clears_environment() {
            self.plan.in_front.extend(["env".to_owned(), "-".to_owned()]);
        }
        for (letter, _) in exec.options() {
            if !matches!(letter, '-' | 'i' | 'u') {
                let error = self.place(exec.line(), &format!("env -{letter} is not understood"));
                self.plan.errors.push(error);
            }
        }
    }

    /// Takes over chpst: its limits are the backend's, its folder of variables stays in front, its user was found
    /// before.
    fn chpst(&mut self, exec: &Exec, spawn: &mut Vec<Word>, lines: &mut Vec<u32>) {
        let program = self.program(&exec.words[0].text);
        let word = |text: &str| Word::plain(text, exec.line());
        let mut limits = Vec::new();
        for (letter, argument) in exec.options() {
            match letter {
                'm' | 'd' | 'o' | 'p' | 'f' | 'c' | 'r' | 't' => {
                    limits.extend([word(&format!("-{letter}")), argument]);
                }
                'e' => {
                    let folder = self.absolute(&argument.text);
                    self.plan.in_front.extend([program.clone(), "-e".to_owned(), folder]);
                }
                'u' | 'v' => {}
                '/' => {
                    let what = "chpst -/ is not carried over: every file is looked for outside of that root folder";
                    let error = self.place(exec.line(), what);
                    self.plan.errors.push(error);
                }
                _ => {
                    let remark = self.place(exec.line(), &format!("chpst -{letter} is not carried over"));
                    self.plan.remarks.push(remark);
                }
            }
        }
        if !limits.is_empty() {
            spawn.push(word(&program));
            spawn.append(&mut limits);
            lines.push(exec.line());
        }
    }

    /// Words with the program's whole path, as far as it is found, and the folder of envdir.
    fn absolute_words(&self, exec: &Exec) -> Vec<Word> {
        let mut words = exec.words.clone();
        words[0].text = self.program(&words[0].text);
        if let ("envdir" | "s6-envdir", Some(at)) = (exec.name(), exec.operand()) {
            words[at].text = self.absolute(&words[at].text);
        }
        words
    }

    /// The path of a program.
    fn program(&self, name: &str) -> String {
        if name.contains('/') {
            return self.absolute(name);
        }
        let script = self.service.map(|service| service.script.exported.as_slice()).unwrap_or_default();
        let path = script.iter().find(|(variable, _)| variable == "PATH").map_or("", |(_, value)| &value.text);
        let folders = path.split(':').filter(|folder| folder.starts_with('/')).chain(PATH);
        let mut found = folders.map(|folder| Path::new(folder).join(name)).filter(|path| self.root.is_program(path));
        found.next().map_or_else(|| name.to_owned(), |path| path.to_string_lossy().into_owned())
    }

    /// Debian's smtpfront-qmail is a script that becomes mailfront: the same without a shell for each session.
    fn unwrapped(&mut self, service: &Service, words: &[Word]) {
        let Some(program) = service.chain.program() else { return };
        let path = self.program(&program.words[0].text);
        let Some(text) = self.root.text(Path::new(&path)).filter(|text| text.starts_with("#!")) else { return };
        let Some(inner) = unwrap(&text, &path) else { return };
        if !self.root.is_program(Path::new(&inner[0])) {
            return;
        }
        let before = words.len().saturating_sub(program.words.len());
        let after = &words[(before + 1).min(words.len())..];
        let all = words[..before].iter().map(|word| word.text.as_str());
        let all = all.chain(inner.iter().map(String::as_str)).chain(after.iter().map(|word| word.text.as_str()));
        let value = array(all);
        self.propose(
            "backend",
            "spawn",
            value,
            format!("{path} is a shell script; this is the same without a shell for each session"),
        );
    }

    fn max(&mut self, server: &Server) {
        let is_tcpsvd = server.program.name() == "tcpsvd";
        let concurrency = self.home.and_then(|home| home.says("concurrencyincoming")).map(str::to_owned);
        match server.option('c') {
            Some(word) if self.is_control(word, "concurrencyincoming") => {
                let now = concurrency.unwrap_or_default();
                let told = format!("max comes from control/concurrencyincoming, now {now}, as before: ");
                let told = told + &self.option('c', word);
                self.tell("backend", told);
            }
            Some(word) => match word.known().and_then(|text| text.parse::<u64>().ok()).filter(|max| *max > 0) {
                Some(max) => {
                    let from = self.option('c', word);
                    self.set("backend", "max", max.min(1_000_000).to_string(), from);
                }
                None => self.doubt(word, "-c, sessions at a time"),
            },
            None if is_tcpsvd => self.set("backend", "max", "30".to_owned(), "tcpsvd without -c"),
            // Without the option our default would take effect, which it did not before.
            None if concurrency.is_some() => {
                self.set(
                    "backend",
                    "max",
                    "40".to_owned(),
                    "tcpserver without -c; control/concurrencyincoming was not used",
                );
            }
            None => {}
        }
    }

    fn environment(&mut self, variables: Vec<(String, Word)>) {
        let open = !self.listens_on_loopback();
        for (name, value) in variables {
            let from = self.place(value.line, &format!("exported{}", sources(&value)));
            if name == "RELAYCLIENT" && open {
                let what =
                    "RELAYCLIENT for every client is an open relay: left out; write it for your networks in tcprules";
                let error = self.place(value.line, what);
                self.plan.errors.push(error);
            } else if value.unknown.is_some() {
                let what = format!("the value of {name}");
                let is_harmless = HARMLESS.contains(&name.as_str()) || name.starts_with("LC_");
                if is_harmless {
                    self.doubt(&value, &what)
                } else {
                    self.error(&value, &what)
                }
                self.propose("backend.env", &key(&name), quoted("..."), from);
            } else {
                self.set("backend.env", &key(&name), quoted(&value.text), from);
            }
        }
    }

    fn warn_of_relay(&mut self, exec: &Exec) {
        if exec.name().ends_with("envdir") && self.in_front_sets("RELAYCLIENT") && !self.listens_on_loopback() {
            let what = format!("{} sets RELAYCLIENT for every client, an open relay: remove it there", exec.name());
            let remark = self.place(exec.line(), &what);
            self.plan.remarks.push(remark);
        }
    }

    /// Whether a folder of envdir that stays in front has this variable. An empty file takes it away.
    pub(super) fn in_front_sets(&self, name: &str) -> bool {
        self.in_front_folders().any(|folder| self.root.length(&folder.join(name)).is_some_and(|length| length > 0))
    }

    /// The folders of envdir that stay in front.
    pub(super) fn in_front_folders(&self) -> impl Iterator<Item = &Path> {
        let words = self.plan.in_front.windows(2);
        let follows = |word: &str| word.ends_with("envdir") || matches!(word, "-e" | "-c");
        words.filter(move |pair| follows(&pair[0])).map(|pair| Path::new(&pair[1]))
    }

    fn listens_on_loopback(&self) -> bool {
        let listen = self.plan.settings.iter().find(|setting| setting.key == "listen" && setting.active);
        let address = listen.and_then(|setting| setting.value.trim_matches(['[', ']', '"']).parse::<SocketAddr>().ok());
        address.is_some_and(|address| address.ip().is_loopback())
    }
}

/// The variables that the script exports and `env` sets.
fn variables(service: &Service) -> Vec<(String, Word)> {
    let clears = |exec: &Exec| exec.clears_environment();
    let mut variables: Vec<(String, Word)> = match service.chain.before.iter().any(clears) {
        true => Vec::new(),
        false => service.script.exported.clone(),
    };
    for exec in service.chain.before.iter().filter(|exec| exec.name() == "env") {
        let set = |word: &Word| {
            let (name, value) = word.text.split_once('=')?;
            Some((name.to_owned(), Word { text: value.to_owned(), ..word.clone() }))
        };
        let taken: Vec<Word> = exec.options().into_iter().filter(|(letter, _)| *letter == 'u').map(|it| it.1).collect();
        variables.retain(|(name, _)| taken.iter().all(|taken| taken.text != *name));
        variables.extend(exec.words[1..].iter().filter_map(set));
    }
    variables
}

/// A remark behind a value that a command gave: it was that when we looked.
fn sources(value: &Word) -> String {
    let all: Vec<String> = value.sources.iter().map(|source| format!("`{source}`")).collect();
    if all.is_empty() { String::new() } else { format!(", what {} says now", all.join(" and ")) }
}

/// A key of TOML.
fn key(name: &str) -> String {
    let is_bare = |character: char| character.is_ascii_alphanumeric() || character == '_';
    if name.chars().all(is_bare) { name.to_owned() } else { quoted(name) }
}

/// The program that a wrapper becomes, with its own arguments. Only the form of mailfront's own wrappers is understood.
fn unwrap(text: &str, path: &str) -> Option<Vec<String>> {
    let folder = path.rsplit_once('/')?.0;
    let here = text.replace("\"$(dirname $0)\"", folder).replace("$(dirname \"$0\")", folder).replace("\"$@\"", "");
    let script = script::read(here.as_bytes(), &Nothing);
    let words: Option<Vec<String>> = script.command.iter().map(|word| word.known().map(str::to_owned)).collect();
    words.filter(|words| script.remarks.is_empty() && words.first().is_some_and(|program| program.starts_with('/')))
}

/// A wrapper needs no files.
struct Nothing;

impl script::Answers for Nothing {
    fn answer(&self, _: &script::Substitution) -> Result<String, String> {
        Err("is not asked".to_owned())
    }

    fn file_is(&self, _: char, _: &str) -> Option<bool> {
        None
    }
}

/// Variables that do not decide what a message goes through.
const HARMLESS: [&str; 12] =
    ["HOME", "HOSTNAME", "LANG", "LANGUAGE", "LOCAL", "LOGNAME", "PATH", "SHELL", "SMTPGREETING", "TERM", "TZ", "USER"];
/// Programs of chains, and what is otherwise with them behind Portcullis.
const CHANGED: [(&str, &str); 4] = [
    ("greetdelay", "would delay every message, not the greeting: leave it out"),
    ("rblsmtpd", "stays in spawn, and looks up clients whose MAIL has passed"),
    ("spamdyke", "stays in spawn, and sees sessions whose MAIL has passed, without their STARTTLS"),
    ("tcpd", "is left out: write the rules of hosts.allow and hosts.deny as tcprules"),
];
/// Folders in which programs are looked for, after the PATH of the script.
const PATH: [&str; 8] =
    ["/command", "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/var/qmail/bin"];
/// Programs that may stand behind.
const PROGRAMS: [&str; 3] =
    ["/usr/sbin/smtpfront-qmail", "/usr/local/bin/smtpfront-qmail", "/var/qmail/bin/qmail-smtpd"];

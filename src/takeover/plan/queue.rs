//! `backend.queue`: straight into qmail instead of the program that spoke SMTP, and what ends with that program, one line
//! each. It must not leave out a part of that program that something used.

use std::path::Path;
use std::path::PathBuf;

use crate::control::cdb::Cdb;
use crate::control::instead;
use crate::takeover::Wanted;
use crate::takeover::plan::Planner;
use crate::takeover::plan::quoted;
use crate::takeover::script::Word;
use crate::takeover::services::Service;

impl Planner<'_> {
    /// Sets qmail-queue as the backend, where it is wanted; elsewhere proposes it with what would end, beside a program
    /// that does nothing but start it.
    pub(super) fn queue(&mut self, service: Option<&Service>, variables: &[(String, Word)]) {
        let words = service.map(smtp_words).unwrap_or_default();
        let program = match self.qmail_queue() {
            Ok(program) => program,
            Err(what) => return self.plan.errors.extend(self.is_wanted().then_some(what)),
        };
        let value = quoted(&program.to_string_lossy());
        let ended = self.ended(service, &words, variables);
        if self.is_wanted() {
            self.set("backend", "queue", value, "--backend queue: straight into qmail, one process per message");
            let head =
                "backend.queue: what this means for the program that spoke SMTP, its variables and files:".to_owned();
            self.plan.remarks.extend((!ended.is_empty()).then_some(head).into_iter().chain(ended));
        } else if words.iter().any(|word| SMTP_PROGRAMS.contains(&word.name())) {
            self.tell("backend", "straight into qmail instead of spawn, one process per message and none per session:");
            ended.into_iter().for_each(|line| self.tell("backend", format!("  {line}")));
            self.propose("backend", "queue", value, "put a # before spawn to use it, or run init --backend queue");
        }
    }

    /// Whether qmail-queue is to be the backend.
    pub(super) fn is_wanted(&self) -> bool {
        matches!(self.wanted, Wanted::Queue(_))
    }

    fn qmail_queue(&self) -> Result<PathBuf, String> {
        if let Wanted::Queue(Some(program)) = self.wanted {
            let is_program = self.root.is_program(program);
            let what = || {
                let program = program.display();
                format!(
                    "--backend queue:{program}: {program} is not a program that can be executed: write another path"
                )
            };
            return is_program.then(|| program.clone()).ok_or_else(what);
        }
        let program = self.home.map(|home| home.folder.join("bin/qmail-queue"));
        let program = program.filter(|program| self.root.is_program(program));
        program
            .ok_or_else(|| "--backend queue: no bin/qmail-queue was found: write --backend queue:/PROGRAM".to_owned())
    }

    /// What ends, each with its place.
    fn ended(&self, service: Option<&Service>, words: &[Word], variables: &[(String, Word)]) -> Vec<String> {
        let mut lines: Vec<String> = programs(words).into_iter().map(|(line, what)| self.place(line, &what)).collect();
        let of_script =
            |(name, value): &(String, Word)| Some(self.place(value.line, &variable(name, Some(&value.text))?));
        lines.extend(variables.iter().filter_map(of_script));
        for folder in self.in_front_folders() {
            let names = self.root.names(folder).into_iter().filter_map(|name| name.into_string().ok());
            lines.extend(names.filter_map(|name| Some(format!("{}/{}", folder.display(), variable(&name, None)?))));
        }
        if let Some((file, names)) = service.and_then(|service| self.rules(service)) {
            lines.extend(names.iter().filter_map(|name| Some(format!("{file}: {}", variable(name, None)?))));
        }
        lines.extend(self.unread_files());
        lines
    }

    /// Control files of a patched program: nothing reads them now.
    fn unread_files(&self) -> Vec<String> {
        let Some(home) = self.home else { return Vec::new() };
        let folder = home.folder.join("control");
        let line = |name: &str, instead: &str| {
            format!("{}/{name}: nothing reads it then{}", folder.display(), instead.replacen("; or ", ": ", 1))
        };
        let mut lines: Vec<String> = home.others.iter().map(|other| line(other.name, other.instead)).collect();
        if self.root.exists(&folder.join("servercert.pem")) {
            lines.push(line("servercert.pem", ": write [tls] if clients use STARTTLS"));
        }
        lines
    }

    /// The rules of tcpserver, and the names of all variables that they set, each once.
    fn rules(&self, service: &Service) -> Option<(String, Vec<String>)> {
        let file = self.absolute(service.chain.server.as_ref()?.option('x')?.known()?);
        let octets = self.root.read_up_to(Path::new(&file), LARGEST_RULES)?;
        let records = Cdb::read(&octets).ok()?;
        let sets = records.iter().flat_map(|(_, data)| data.split(|octet| *octet == 0));
        let name = |set: &[u8]| {
            let set = set.strip_prefix(b"+")?;
            let end = set.iter().position(|octet| *octet == b'=')?;
            Some(String::from_utf8_lossy(&set[..end]).into_owned())
        };
        let mut names: Vec<String> = sets.filter_map(name).collect();
        names.sort_unstable();
        names.dedup();
        Some((file, names))
    }
}

/// The words that tcpserver started, the program that speaks SMTP and those before it in one.
fn smtp_words(service: &Service) -> Vec<Word> {
    service.chain.behind.iter().flat_map(|exec| exec.words.clone()).collect()
}

/// What becomes of a variable; nothing is told of one that goes on as it was.
fn variable(name: &str, value: Option<&str>) -> Option<String> {
    match name {
        "QMAILQUEUE" => Some(format!("{name}: {} gets the messages, as before", value.unwrap_or("its program"))),
        _ => Some(format!("{name}: {}", instead::of_variable(name)?.told())),
    }
}

/// The programs that are not started with `backend.queue`, and what their arguments did, by line.
fn programs(words: &[Word]) -> Vec<(u32, String)> {
    let Some(at) = words.iter().position(|word| SMTP_PROGRAMS.contains(&word.name())) else {
        return words.first().map(|word| (word.line, format!("{}: is not started", word.text))).into_iter().collect();
    };
    let (before, program, arguments) = (&words[..at], &words[at], &words[at + 1..]);
    let stage = |word: &Word| {
        let (name, what) = STAGES.iter().find(|(name, _)| *name == word.name())?;
        Some((word.line, format!("{name}: is not started: {what}")))
    };
    let mut told: Vec<(u32, String)> = before.iter().filter_map(stage).collect();
    match program.name() {
        "qmail-smtpd" if arguments.is_empty() => {}
        "qmail-smtpd" => {
            let all = words[at..].iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
            told.push((program.line, format!("{all}: logged clients in: AUTH ends; keep backend.spawn if they do")));
        }
        name => {
            // The one of Debian's chain that needs no variable.
            let of_chain = (name == "smtpfront-qmail").then_some((program.line, "check-fqdn"));
            let named = arguments.iter().map(|word| (word.line, word.text.as_str()));
            told.extend(of_chain.into_iter().chain(named).filter_map(plugin));
        }
    }
    told
}

/// What a plug-in of mailfront did; those whose work is done by Portcullis are not told.
fn plugin((line, name): (u32, &str)) -> Option<(u32, String)> {
    if OURS.contains(&name) {
        return None;
    }
    let note = instead::of_plugin(name).map(|ended| ended.told());
    let note = note.unwrap_or_else(|| "is not started: nothing replaces it".to_owned());
    Some((line, format!("plug-in {name}: {note}")))
}

/// Programs that speak SMTP and start qmail-queue.
const SMTP_PROGRAMS: [&str; 3] = ["smtpfront-qmail", "mailfront", "qmail-smtpd"];
/// Words and plug-ins of mailfront whose work Portcullis does itself.
const OURS: [&str; 6] = ["smtp", "qmail", "relayclient", "qmail-validate", "add-received", "accept"];
/// Programs between tcpserver and the one that speaks SMTP.
const STAGES: [(&str, &str); 7] = [
    ("rblsmtpd", "deny such clients in qmail.tcprules"),
    ("spamdyke", "nothing replaces it"),
    ("greetdelay", "write server.greet_delay"),
    ("recordio", "the log has every command that is refused"),
    ("envdir", "write its variables into backend.env"),
    ("s6-envdir", "write its variables into backend.env"),
    ("relay-ctrl-check", "write RELAYCLIENT into qmail.tcprules"),
];
/// Octets of a compiled file of rules.
const LARGEST_RULES: u64 = 256 << 20;

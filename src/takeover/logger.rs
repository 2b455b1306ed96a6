//! The log of the new service: its folder, its user, and the logger's line, in the form of the old log. Each folder,
//! file, pattern and processor of the old log stays the old logger's own: two loggers cannot share a folder. It must
//! not write anything.

use std::path::Path;
use std::path::PathBuf;

use crate::takeover::accounts::Accounts;
use crate::takeover::script::Chain;
use crate::takeover::script::Exec;
use crate::takeover::services::Service;
use crate::takeover::services::Supervisor;
use crate::text::shell;

/// The log to be.
#[derive(Debug)]
pub(super) struct Logger {
    /// A new folder, beside the old one.
    pub(super) folder: PathBuf,
    /// The user that writes there, if it is not root.
    pub(super) user: Option<String>,
    /// The command of `log/run`.
    pub(super) command: String,
    /// The `log/run` that it resembles.
    pub(super) like: Option<PathBuf>,
    /// What the old log does and this one does not: `file:line: what`.
    pub(super) remark: Option<String>,
}

impl Logger {
    /// The logger for a service under `supervisor` in place of `service`.
    pub(super) fn of(accounts: &Accounts, service: Option<&Service>, supervisor: Supervisor) -> Self {
        let old = service.and_then(|service| service.log.as_ref());
        let Some((file, chain)) = old else { return Self::usual(accounts, supervisor) };
        match Self::like(file, chain) {
            Some(logger) => logger,
            None => {
                let line = chain.program().map_or(1, Exec::line);
                let name = chain.program().map_or("its logger", Exec::name);
                let what = format!(
                    "{}:{line}: {name} is not carried over; the new log is in a folder of its own",
                    file.display()
                );
                Self { remark: Some(what), ..Self::usual(accounts, supervisor) }
            }
        }
    }

    /// The form and the size of a log that is understood.
    fn like(file: &Path, chain: &Chain) -> Option<Self> {
        let program = chain.program()?;
        let words: Option<Vec<&str>> = program.words.iter().map(|word| word.known()).collect();
        let old = Old::of(program.name(), words?.get(1..)?)?;
        let (changes, user) = match chain.behind.iter().rev().find_map(changes_user) {
            Some((words, user)) => (words, Some(user?)),
            None => (Vec::new(), None),
        };
        let folder = folder_beside(old.folder);
        let mut words = changes;
        words.push(program.words[0].text.clone());
        words.extend(old.form.iter().map(|word| (*word).to_owned()));
        words.push(folder.to_string_lossy().into_owned());
        let remark = (!old.own.is_empty()).then(|| {
            let own = old.own.join(" ");
            format!("{}:{}: {own}: stays with the old log, the new one has none of it", file.display(), program.line())
        });
        let command = words.iter().map(|word| shell::word(word)).collect::<Vec<_>>().join(" ");
        Some(Self { folder, user, command, like: Some(file.to_owned()), remark })
    }

    /// The supervisor's usual logger.
    fn usual(accounts: &Accounts, supervisor: Supervisor) -> Self {
        let folder = folder_beside(None);
        let user = LOG_USERS.into_iter().find(|user| accounts.has_user(user));
        let becomes = |program: &str| user.map_or_else(String::new, |user| format!("{program} {user} "));
        let line = match supervisor {
            Supervisor::Runit => format!("{}svlogd -tt", becomes("chpst -u")),
            Supervisor::S6 => format!("{}s6-log t s1000000 n20", becomes("s6-setuidgid")),
            _ => format!("{}multilog t s1000000 n20", becomes("setuidgid")),
        };
        let command = format!("{line} {}", shell::word(&folder.to_string_lossy()));
        Self { folder, user: user.map(str::to_owned), command, like: None, remark: None }
    }
}

/// The arguments of an old logger.
struct Old<'w> {
    /// Times and sizes, which any log may have.
    form: Vec<&'w str>,
    /// The first folder.
    folder: Option<&'w str>,
    /// What belongs to the old log alone, but for the folder.
    own: Vec<&'w str>,
}

impl<'w> Old<'w> {
    /// `None` for a logger that is not known.
    fn of(name: &str, arguments: &[&'w str]) -> Option<Self> {
        let (options, rest) = match name {
            "multilog" => (Vec::new(), arguments),
            "s6-log" => (Vec::new(), arguments.get(options_of(arguments, "dl")..)?),
            "svlogd" => {
                let (options, rest) = arguments.split_at(options_of(arguments, "bIlRr"));
                (options.to_vec(), rest)
            }
            _ => return None,
        };
        let mut old = Self { form: options, folder: None, own: Vec::new() };
        for word in rest {
            match old.folder {
                None if name == "svlogd" || word.starts_with(['.', '/']) => old.folder = Some(word),
                None if is_form(word) => old.form.push(word),
                _ => old.own.push(word),
            }
        }
        Some(old)
    }
}

/// `t`, `s1000000`, `n20`: they hold for every folder behind them.
fn is_form(word: &str) -> bool {
    let number = word.strip_prefix(['s', 'n', 'S']);
    matches!(word, "t" | "T")
        || number.is_some_and(|number| !number.is_empty() && number.bytes().all(|octet| octet.is_ascii_digit()))
}

/// The number of words that are options; `letters` have an argument.
fn options_of(words: &[&str], letters: &str) -> usize {
    let mut at = 0;
    while let Some(option) = words.get(at).filter(|word| word.len() > 1 && word.starts_with('-')) {
        at += 1;
        if *option == "--" {
            break;
        }
        // An argument that is a word of its own.
        at += usize::from(option.ends_with(|letter| letters.contains(letter)));
    }
    at.min(words.len())
}

/// The words that become another user, and the user if it is certain.
fn changes_user(exec: &Exec) -> Option<(Vec<String>, Option<String>)> {
    let program = exec.words[0].text.clone();
    match exec.name() {
        "setuidgid" | "s6-setuidgid" => {
            let user = exec.words.get(1)?.known().map(str::to_owned);
            Some(([program].into_iter().chain(user.clone()).collect(), user))
        }
        "chpst" => {
            let word = exec.options().into_iter().find(|(letter, _)| *letter == 'u')?.1;
            let user = word.known().map(|user| user.split(':').next().unwrap_or(user).to_owned());
            Some((vec![program, "-u".to_owned(), word.text], user))
        }
        _ => None,
    }
}

/// A folder of our own, where the old log's folder is.
fn folder_beside(old: Option<&str>) -> PathBuf {
    let parent = old.and_then(|old| Path::new(old).parent());
    let parent = parent.filter(|parent| parent.is_absolute() && parent.parent().is_some());
    parent.unwrap_or(Path::new("/var/log")).join("portcullis")
}

/// Users that keep logs: qmail's, runit's of Debian, s6's.
const LOG_USERS: [&str; 4] = ["qmaill", "_runit-log", "multilog", "s6log"];

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::takeover::script::Word;

    /// The command and the remark for a `log/run` with this command.
    fn told(line: &str) -> Option<(String, String)> {
        let words: Vec<Word> = line.split_whitespace().map(|word| Word::plain(word, 2)).collect();
        let logger = Logger::like(Path::new("/s/log/run"), &Chain::of(&words))?;
        let user = logger.user.unwrap_or_default();
        Some((format!("{user}: {}", logger.command), logger.remark.unwrap_or_default()))
    }

    #[test]
    fn only_the_form_of_the_old_log_and_a_folder_of_our_own() {
        let own = |words: &str| format!("/s/log/run:2: {words}: stays with the old log, the new one has none of it");
        let table = [
            (
                "setuidgid qmaill multilog t s16384 n5 /var/log/qmail/smtpd",
                "qmaill: setuidgid qmaill multilog t s16384 n5 /var/log/qmail/portcullis",
                String::new(),
            ),
            (
                "setuidgid qmaill multilog t n5 /var/log/qmail/smtpd -* +*_status:_* =/var/log/qmail/status",
                "qmaill: setuidgid qmaill multilog t n5 /var/log/qmail/portcullis",
                own("-* +*_status:_* =/var/log/qmail/status"),
            ),
            (
                "/usr/bin/multilog t !/usr/local/bin/compress -*badword* s99999 /var/log/a s5 /var/log/b",
                ": /usr/bin/multilog t s99999 /var/log/portcullis",
                own("!/usr/local/bin/compress -*badword* s5 /var/log/b"),
            ),
            ("multilog =status e ./main", ": multilog /var/log/portcullis", own("=status e")),
            ("multilog t", ": multilog t /var/log/portcullis", String::new()),
            (
                "chpst -ulog:adm -e ./env svlogd -tt -b 4096 -l1000 /var/log/smtp /var/log/second",
                "log: chpst -u log:adm svlogd -tt -b 4096 -l1000 /var/log/portcullis",
                own("/var/log/second"),
            ),
            (
                "s6-setuidgid log s6-log -d3 -b -- +x n20 s1000000 T /var/log/smtp 1",
                "log: s6-setuidgid log s6-log n20 s1000000 T /var/log/portcullis",
                own("+x 1"),
            ),
            ("softlimit -m 9 s6-log -l 4096 t /log", ": s6-log t /var/log/portcullis", String::new()),
        ];
        for (line, command, remark) in table {
            assert_eq!(told(line), Some((command.to_owned(), remark)), "{line}");
        }
        for line in [
            "cyclog -s1000000 -n10 /var/log/qmail",
            "splogger smtpd 3",
            "logger -t smtpd",
            "systemd-cat -t smtpd",
            "strange multilog t /var/log/a",
            "",
        ] {
            assert_eq!(told(line), None, "{line}");
        }
    }
}

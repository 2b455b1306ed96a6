//! A command as the chain that it is: each program does its part and becomes the next. Which words belong to which;
//! what a part means for a configuration is somebody else's. It must not open files.

use crate::takeover::script::Remark;
use crate::takeover::script::Word;

/// The programs of a command, outermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Programs before the one that listens.
    pub before: Vec<Exec>,
    /// The one that listens.
    pub server: Option<Server>,
    /// Programs that it starts for each connection; all of the command if nothing listens. The last one has all that is
    /// left.
    pub behind: Vec<Exec>,
    /// Parts that are not known.
    pub remarks: Vec<Remark>,
}

/// One program with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    /// The program, then its arguments; never empty.
    pub words: Vec<Word>,
}

/// tcpserver, tcpsvd or one of their kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The program as it was called.
    pub program: Word,
    /// Letter and argument; an option without one has the word it stands in.
    pub options: Vec<(char, Word)>,
    /// The address on which it listens.
    pub address: Word,
    /// A number or a name.
    pub port: Word,
}

impl Chain {
    /// Cuts the words of a command.
    pub fn of(words: &[Word]) -> Self {
        let mut chain = Self::default();
        let mut rest = words;
        if let Some(at) = words.iter().position(|word| server_options(word.name()).is_some()) {
            chain.before = execs(&words[..at]);
            let unknown = chain.before.iter().filter(|exec| arguments(exec.name(), &exec.words).is_none());
            chain.remarks = unknown.map(unknown_program).collect();
            match Server::of(&words[at..]) {
                Some((server, behind)) => {
                    chain.server = Some(server);
                    rest = behind;
                }
                None => {
                    let what = format!("{} has no address, no port or no program", words[at].text);
                    chain.remarks.push(Remark::error(words[at].line, what));
                }
            }
        }
        chain.behind = execs(rest);
        chain
    }

    /// The last program, which speaks SMTP or keeps the log.
    pub fn program(&self) -> Option<&Exec> {
        self.behind.last()
    }
}

impl Exec {
    /// The program's name without its folders.
    pub fn name(&self) -> &str {
        self.words[0].name()
    }

    /// Letter and argument of each option; one without an argument has the word it stands in. None for a program that is
    /// not known.
    pub fn options(&self) -> Vec<(char, Word)> {
        let letters = match self.name() {
            "env" => Some(ENV),
            name => wrapper(name).map(|(letters, _)| letters),
        };
        letters.map_or_else(Vec::new, |letters| options(&self.words[1..], letters).0)
    }

    /// Where the first word behind the options is, such as the folder of envdir; `None` if there is none.
    pub fn operand(&self) -> Option<usize> {
        let (letters, _) = wrapper(self.name())?;
        Some(1 + options(&self.words[1..], letters).1).filter(|at| *at < self.words.len())
    }

    /// `env -`, `env -i`, `envdir -c` of indimail: variables of before do not reach what it starts.
    pub fn clears_environment(&self) -> bool {
        let has = |wanted: char| self.options().iter().any(|(letter, _)| *letter == wanted);
        match self.name() {
            "env" => has('i') || has('-'),
            "envdir" => has('c'),
            _ => false,
        }
    }

    /// The line of the program.
    pub fn line(&self) -> u32 {
        self.words[0].line
    }
}

impl Server {
    /// The server and the words behind it.
    fn of(words: &[Word]) -> Option<(Self, &[Word])> {
        let (program, rest) = words.split_first()?;
        let (options, length) = options(rest, server_options(program.name())?);
        let (address, port, behind) = match &rest[length..] {
            [both, behind @ ..] if !behind.is_empty() && both.joined().is_some() => {
                let (address, port) = both.joined()?;
                let part = |text: &str| Word { text: text.to_owned(), ..both.clone() };
                (part(address), part(port), behind)
            }
            [address, port, behind @ ..] if !behind.is_empty() => (address.clone(), port.clone(), behind),
            _ => return None,
        };
        Some((Self { program: program.clone(), options, address, port }, behind))
    }

    /// The last option of this letter: it rules.
    pub fn option(&self, letter: char) -> Option<&Word> {
        self.options.iter().rev().find(|(found, _)| *found == letter).map(|(_, word)| word)
    }

    /// The last option of two letters.
    pub fn last_of(&self, letters: [char; 2]) -> Option<(char, &Word)> {
        let last = self.options.iter().rev().find(|(found, _)| letters.contains(found));
        last.map(|(letter, word)| (*letter, word))
    }
}

impl Word {
    /// The address and the port of `0:25`, `*:25`, `[::]:25`. `:0` and `::1` are addresses.
    fn joined(&self) -> Option<(&str, &str)> {
        let (address, port) = self.text.rsplit_once(':')?;
        let is_four = !address.is_empty() && address.bytes().all(|octet| b"0123456789.*".contains(&octet));
        let is_six = address.starts_with('[') && address.ends_with(']');
        (is_four || is_six).then_some((address, port)).filter(|(_, port)| !port.is_empty())
    }
}

/// A program whose words are not known stays in front only if it can change neither what runs there nor as whom.
fn unknown_program(exec: &Exec) -> Remark {
    let is_relative = |word: &Word| word.text.starts_with('.') && word.text.contains('/');
    let decides = |word: &Word| word.name() == "env" || wrapper(word.name()).is_some() || is_relative(word);
    let (line, name) = (exec.line(), &exec.words[0].text);
    if DECIDING.contains(&exec.name()) || exec.words[1..].iter().any(decides) {
        let what = format!("{name} is not understood: it may change the user, the root folder or the environment");
        return Remark::error(line, what);
    }
    Remark::mind(line, format!("{name} is not known to init, and stays before the program as it is"))
}

/// Cuts at the known programs; what begins with an unknown one is all its own.
fn execs(mut words: &[Word]) -> Vec<Exec> {
    let mut execs = Vec::new();
    while let Some(first) = words.first() {
        let length = arguments(first.name(), words).map_or(words.len(), |length| (1 + length).min(words.len()));
        execs.push(Exec { words: words[..length].to_vec() });
        words = &words[length..];
    }
    execs
}

/// The number of words behind the program that belong to it; `None` for a program that is not known to start another.
fn arguments(name: &str, words: &[Word]) -> Option<usize> {
    let rest = words.get(1..)?;
    if name == "env" {
        let minus = options(rest, ENV).1;
        return Some(minus + rest[minus..].iter().take_while(|word| word.text.contains('=')).count());
    }
    let (letters, more) = wrapper(name)?;
    Some(options(rest, letters).1 + more)
}

/// The options with an argument of a program that starts another, and how many more words it takes.
fn wrapper(name: &str) -> Option<(&'static str, usize)> {
    Some(match name {
        "softlimit" | "s6-softlimit" => ("acdfhlmoprst", 0),
        "envdir" | "envuidgid" | "s6-envuidgid" | "s6-setuidgid" | "setlock" | "setuidgid" => ("", 1),
        "s6-envdir" => ("L", 1),
        "rblsmtpd" => ("art", 0),
        "chpst" => ("uUbenmdofpcrtlL/", 0),
        "exec" => ("a", 0),
        "fdclose" => ("", 1),
        "fdmove" => ("", 2),
        "nice" => ("n", 0),
        "tcp-env" => ("t", 0),
        "ionice" => ("cn", 0),
        "stdbuf" => ("ioe", 0),
        "taskset" => ("", 1),
        "authbind" | "fghack" | "fixcrio" | "nohup" | "pgrphack" | "recordio" | "setsid" | "tcpd" => ("", 0),
        _ => return None,
    })
}

/// The options that stand first, as `getopt` takes them, and how many words they are. `letters` have an argument.
fn options(words: &[Word], letters: &str) -> (Vec<(char, Word)>, usize) {
    let mut options = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at).filter(|word| word.text.starts_with('-')) {
        // `env -`; elsewhere it is no option.
        if word.text == "-" {
            if letters != ENV {
                break;
            }
            options.push(('-', word.clone()));
        }
        at += 1;
        if word.text == "--" {
            break;
        }
        let mut rest = word.text[1..].chars();
        while let Some(letter) = rest.next() {
            if !letters.contains(letter) {
                options.push((letter, word.clone()));
                continue;
            }
            let attached = rest.as_str();
            if attached.is_empty() {
                options.extend(words.get(at).map(|argument| (letter, argument.clone())));
                at += 1;
            } else {
                options.push((letter, Word { text: attached.to_owned(), ..word.clone() }));
            }
            break;
        }
    }
    (options, at.min(words.len()))
}

/// The options with an argument of a program that listens.
fn server_options(name: &str) -> Option<&'static str> {
    match name {
        "tcpserver" => Some("BIbcglntux"),
        "sslserver" => Some("Bbcgltuwx"),
        "s6-tcpserver" | "s6-tcpserver4" | "s6-tcpserver6" => Some("CGUbcgu"),
        "tcpsvd" => Some("Cbciltux"),
        _ => None,
    }
}

/// The options of env with an argument.
const ENV: &str = "uCS";
/// Programs that change the user, the root folder or what a process sees of the host.
const DECIDING: [&str; 16] = [
    "capsh",
    "chroot",
    "chrootuid",
    "doas",
    "gosu",
    "ip",
    "jail",
    "nsenter",
    "prlimit",
    "runuser",
    "setpriv",
    "start-stop-daemon",
    "su",
    "su-exec",
    "sudo",
    "unshare",
];

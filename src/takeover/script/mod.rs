//! The command that a run script starts, and its environment: read, never run.
//!
//! It follows assignments, `export`, branches whose condition the host decides, and the usual backquotes, and finds the
//! command that the script becomes. What it does not understand it says with its line; a value that may be another one than it seems has no text. It must not
//! read files: what a backquoted `cat` would print, it asks.

mod builtins;
mod chain;
mod condition;
mod execline;
mod filter;
mod interpreter;
mod raw;
mod shell;
mod substitution;
mod syntax;
mod variables;

pub use crate::takeover::script::chain::Chain;
pub use crate::takeover::script::chain::Exec;
pub use crate::takeover::script::chain::Server;
use crate::takeover::script::interpreter::Interpreter;
pub use crate::takeover::script::substitution::Substitution;

/// Knowledge of what the usual substitutions give on this host.
pub trait Answers {
    /// The output of the command, without line ends at its end.
    ///
    /// # Errors
    /// Why there is none.
    fn answer(&self, substitution: &Substitution) -> Result<String, String>;

    /// The outcome of `test -x PATH` and its kind, by the letter; `None` if it cannot be seen.
    fn file_is(&self, kind: char, path: &str) -> Option<bool>;
}

/// A word after expansion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// The word's text; with `unknown` only what could be made of it.
    pub text: String,
    /// The line it stands in, counted from 1.
    pub line: u32,
    /// Substitutions that it was made of, through variables too.
    pub sources: Vec<Substitution>,
    /// The reason why the text must not be used.
    pub unknown: Option<String>,
}

impl Word {
    /// A word that stands in the script as it is.
    pub fn plain(text: &str, line: u32) -> Self {
        Self { text: text.to_owned(), line, ..Self::default() }
    }

    /// The text, if it is certain.
    pub fn known(&self) -> Option<&str> {
        self.unknown.is_none().then_some(&self.text)
    }

    /// The part behind the last slash.
    pub fn name(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or_default()
    }
}

/// A remark about something that was not understood, or is not carried over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remark {
    /// Counted from 1.
    pub line: u32,
    /// The remark in words for the operator.
    pub what: String,
    /// Whether mail may be received in another way than before because of it.
    pub is_error: bool,
}

impl Remark {
    /// A remark for the operator to know.
    pub fn mind(line: u32, what: String) -> Self {
        Self { line, what, is_error: false }
    }

    /// A remark without whose settlement nothing may be taken over.
    pub fn error(line: u32, what: String) -> Self {
        Self { line, what, is_error: true }
    }
}

/// A script as far as it is understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunScript {
    /// The words of the command that the script becomes; empty if there is none that is certain.
    pub command: Vec<Word>,
    /// The folder to which the script has changed, if it has: relative names are below it.
    pub folder: Option<String>,
    /// Variables exported by then: name and value, in the order of their first assignment.
    pub exported: Vec<(String, Word)>,
    /// Remarks about what was not understood, by line.
    pub remarks: Vec<Remark>,
}

/// Reads a script. A binary program has no command and one remark.
pub fn read(text: &[u8], answers: &dyn Answers) -> RunScript {
    let remark = |what: &str| RunScript { remarks: vec![Remark::error(1, what.to_owned())], ..RunScript::default() };
    let Ok(text) = std::str::from_utf8(text) else { return remark("is not text in ASCII or UTF-8") };
    if text.contains('\0') {
        return remark("is a program, not a script");
    }
    if let Some(name) = interpreter(text) {
        if name == "execlineb" {
            return limited(execline::read(text, answers));
        }
        if !is_shell(name) {
            return remark("is not a shell script");
        }
    }
    limited(Interpreter::new(answers).run(text))
}

/// Reads the script that a shell in a chain is given with `-c`, in `line`; with variables, and whether they are exported.
pub fn read_inside(text: &str, line: u32, given: Vec<(String, Word, bool)>, answers: &dyn Answers) -> RunScript {
    limited(Interpreter::new(answers).inside(line, given).run(text))
}

/// The name of the program in the first line: `bash` of `#!/usr/bin/env bash`.
pub fn interpreter(text: &str) -> Option<&str> {
    let mut words = text.lines().next()?.strip_prefix("#!")?.split_whitespace();
    let mut word = words.next().unwrap_or_default();
    if word.rsplit('/').next() == Some("env") {
        word = words.find(|word| !word.starts_with('-')).unwrap_or_default();
    }
    word.rsplit('/').next()
}

/// Whether a program of this name reads scripts of sh.
pub fn is_shell(name: &str) -> bool {
    SHELLS.contains(&name)
}

fn limited(mut script: RunScript) -> RunScript {
    script.remarks.sort();
    script.remarks.dedup();
    if script.remarks.len() > MOST_REMARKS {
        script.remarks.truncate(MOST_REMARKS);
        let line = script.remarks.last().map_or(1, |remark| remark.line);
        script.remarks.push(Remark::error(line, "and more below".to_owned()));
    }
    script
}

const SHELLS: [&str; 5] = ["sh", "bash", "dash", "ksh", "zsh"];

const MOST_REMARKS: usize = 50;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;

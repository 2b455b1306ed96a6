//! The simple commands of a script: assignments, `export`, `.`, tests, and the command that the script becomes. What is
//! only perhaps run makes uncertain what it sets. It must not run anything.

use std::path::Path;

use crate::takeover::script::Remark;
use crate::takeover::script::Word;
use crate::takeover::script::condition;
use crate::takeover::script::interpreter::Flow;
use crate::takeover::script::interpreter::Interpreter;
use crate::takeover::script::raw::Piece;
use crate::takeover::script::raw::RawWord;
use crate::takeover::script::raw::is_name;
use crate::takeover::script::shell::tokens;
use crate::takeover::script::substitution::Substitution;
use crate::takeover::script::syntax::parse;
use crate::takeover::script::variables::OUTSIDE;

impl Interpreter<'_> {
    /// A command that is surely run.
    pub(super) fn simple(&mut self, mut words: Vec<RawWord>) -> Flow {
        if let Some(line) = self.sourced {
            words.iter_mut().for_each(|word| word.line = line);
        }
        words.drain(..prefixes(&words));
        let line = words[0].line;
        if words[0].bare() == Some(":") {
            self.assign_defaults(&words);
        }
        let mut before = Vec::new();
        while let Some(assignment) = words.first().and_then(|word| self.assignment(word)) {
            before.push(assignment);
            words.remove(0);
        }
        let Some(first) = words.first() else {
            before.into_iter().for_each(|(name, value)| self.assign(name, &value, self.exports_all));
            return Flow::Next(Some(true));
        };
        match first.bare().unwrap_or_default() {
            "export" | "readonly" | "typeset" | "declare" | "local" => self.export(&words),
            "unset" => self.variables.remove(&words[1..].iter().filter_map(RawWord::bare).collect::<Vec<_>>()),
            "set" => self.set(&words[1..]),
            "cd" => self.change_folder(&words),
            "." | "source" => return self.source(&words),
            "exec" if words.len() == 1 => {}
            "exit" if self.depth == 0 => return Flow::Ends,
            "exit" => {
                let what = format!("on this host the script would end here: `{}`", self.shown(&words));
                self.remark(Remark::mind(line, what));
            }
            "false" => return Flow::Next(Some(false)),
            "[" | "[[" | "test" => return Flow::Next(self.test(&words)),
            "read" | "mapfile" | "readarray" | "getopts" | "printf" => self.fills(&words),
            "eval" => {
                let what = format!("`{}` is not understood: it may set any variable", self.shown(&words));
                self.remark(Remark::error(line, what));
            }
            name if HARMLESS.contains(&name) => {}
            name if LOOKS.contains(&name) => return Flow::Next(None),
            name if SETTINGS.contains(&name) => {
                let what = format!("`{}` is not carried over", self.shown(&words));
                self.remark(Remark::mind(line, what));
            }
            name if self.functions.iter().any(|(known, _)| known == name) => return self.call(&words),
            _ => return self.start(before, words),
        }
        Flow::Next(Some(true))
    }

    /// What fills variables: `read NAME`, `printf -v NAME`.
    fn fills(&mut self, words: &[RawWord]) {
        let bare = |word: &RawWord| word.bare().map(str::to_owned);
        let names: Vec<String> = match words[0].bare() {
            Some("printf") if words.get(1).and_then(RawWord::bare) != Some("-v") => Vec::new(),
            Some("printf") => words.get(2).and_then(bare).into_iter().collect(),
            _ => words[1..].iter().filter_map(bare).collect(),
        };
        let why = format!("is filled by {}", words[0].bare().unwrap_or_default());
        names.iter().for_each(|name| self.unknown(name, words[0].line, &why, false));
    }

    /// `: ${NAME:=value}` sets the variable for good.
    fn assign_defaults(&mut self, words: &[RawWord]) {
        for piece in words.iter().flat_map(|word| &word.pieces) {
            if let Piece::Default { name, operator: ":=" | "=", .. } = piece {
                let one = RawWord { line: words[0].line, pieces: vec![piece.clone()] };
                let value = self.variables.expand_one(&one);
                self.set_variable(name.clone(), value, self.exports_all);
            }
        }
    }

    /// Files are asked for by whole paths only where the script has changed its folder.
    fn test(&self, words: &[RawWord]) -> Option<bool> {
        let words = self.variables.expand_all(words);
        let is_relative = |word: &Word| !word.text.starts_with(['/', '-']) && word.text.contains('/');
        let elsewhere = self.variables.folder.is_some() && words.iter().any(is_relative);
        if elsewhere { None } else { condition::holds(&words, self.answers) }
    }

    /// The command that the script becomes, or one that it only runs.
    fn start(&mut self, before: Vec<(String, RawWord)>, mut words: Vec<RawWord>) -> Flow {
        let line = words[0].line;
        let shown = self.shown(&words);
        let is_exec = words[0].bare() == Some("exec");
        if is_exec {
            words.remove(0);
            // `exec -c`, `exec -a NAME` of bash.
            while let Some(option @ ("-c" | "-l" | "-a" | "--")) = words.first().and_then(RawWord::bare) {
                words.drain(..words.len().min(1 + usize::from(option == "-a")));
            }
        }
        let expanded = self.variables.expand_all(&words);
        if is_exec || expanded.iter().any(|word| LISTENERS.contains(&word.name())) {
            before.into_iter().for_each(|(name, value)| self.assign(name, &value, true));
            let line = self.sourced;
            let placed = |word: Word| Word { line: line.unwrap_or(word.line), ..word };
            return Flow::Becomes(expanded.into_iter().map(placed).collect());
        }
        self.remark(Remark::mind(line, format!("`{shown}` is run by the script, but not by init")));
        Flow::Next(None)
    }

    /// A command that may be run or not: nothing that it sets can be relied on.
    pub(super) fn uncertain(&mut self, words: &[RawWord]) -> Flow {
        let line = self.sourced.unwrap_or(words[0].line);
        let words = &words[prefixes(words)..];
        let keyword = words[0].bare().unwrap_or_default();
        let named = matches!(
            keyword,
            "export" | "readonly" | "unset" | "typeset" | "declare" | "local" | "read" | "mapfile" | "readarray"
        );
        let exported = self.exports_all || matches!(keyword, "export");
        let mut sets = false;
        if keyword == "printf" {
            self.fills(words);
        }
        for word in if named { &words[1..] } else { words } {
            let name = match (self.assignment(word), word.bare()) {
                (Some((name, _)), _) => name,
                (None, Some(name)) if named && is_name(name) => name.to_owned(),
                (None, Some(option)) if named && option.starts_with('-') => continue,
                _ if named => {
                    let what = format!("`{keyword}` depends on a condition, and may set any variable");
                    self.remark(Remark::error(line, what));
                    break;
                }
                _ => break,
            };
            sets = true;
            // What was never set cannot be taken away.
            if keyword != "unset" || self.variables.has(&name) {
                self.unknown(&name, line, &format!("depends on a condition, line {line}"), exported);
            }
        }
        let known = HARMLESS.contains(&keyword)
            || LOOKS.contains(&keyword)
            || matches!(keyword, "exit" | "[" | "[[" | "test" | "false" | "set");
        let function = self.functions.iter().find(|(name, _)| name == keyword).map(|(_, body)| body.clone());
        if let Some(body) = function {
            self.nested(true, true, |inside| inside.list(&body));
        } else if !sets && !named && !known && self.shown(words) != "exec" {
            let what = format!("`{}` depends on a condition, and is not followed", self.shown(words));
            let decides = matches!(keyword, "exec" | "." | "source" | "eval")
                || self.variables.expand_all(words).iter().any(|word| LISTENERS.contains(&word.name()));
            self.remark(Remark { line, what, is_error: decides });
        }
        Flow::Next(None)
    }

    /// `NAME=value`, or `NAME+=value` with what the variable had before.
    fn assignment(&self, word: &RawWord) -> Option<(String, RawWord)> {
        let (name, mut value) = word.assignment()?;
        let Some(name) = name.strip_suffix('+') else { return Some((name, value)) };
        if self.variables.has(name) || OUTSIDE.contains(&name) {
            value.pieces.insert(0, Piece::Variable { name: name.to_owned(), quoted: true });
        }
        Some((name.to_owned(), value))
    }

    fn unknown(&mut self, name: &str, line: u32, why: &str, exported: bool) {
        let unknown = Some(format!("${name} {why}"));
        self.set_variable(name.to_owned(), Word { line, unknown, ..Word::default() }, exported);
    }

    fn assign(&mut self, name: String, value: &RawWord, exported: bool) {
        let mut value = self.variables.expand_one(value);
        value.line = self.sourced.unwrap_or(value.line);
        self.set_variable(name, value, exported);
    }

    fn set_variable(&mut self, name: String, value: Word, exported: bool) {
        let line = value.line;
        if !self.variables.set(name, value, exported) {
            self.remark(Remark::error(line, "there are too many variables".to_owned()));
        }
    }

    fn export(&mut self, words: &[RawWord]) {
        let marks = words[1..].iter().filter_map(RawWord::bare).any(|word| word.starts_with('-') && word.contains('x'));
        let takes_away = |word: &RawWord| match words[0].bare() {
            Some("export") => word.bare().is_some_and(|option| option.starts_with('-') && option.contains('n')),
            _ => word.bare().is_some_and(|option| option.starts_with('+') && option.contains('x')),
        };
        if words[1..].iter().any(takes_away) {
            return words[1..].iter().filter_map(RawWord::bare).for_each(|name| self.variables.keep_back(name));
        }
        // `readonly` and `declare` alone export nothing.
        let exports = words[0].bare() == Some("export") || marks;
        for word in &words[1..] {
            match (self.assignment(word), word.bare()) {
                (Some((name, value)), _) => self.assign(name, &value, exports || self.exports_all),
                (None, Some(name)) if exports && is_name(name) => self.variables.export(name),
                (None, Some(option)) if option.starts_with('-') || is_name(option) => {}
                _ => self.export_quoted(word, exports || self.exports_all),
            }
        }
    }

    /// `export "NAME=value"`, and `export $(cat FILE)`, which is cut at its blanks.
    fn export_quoted(&mut self, word: &RawWord, exported: bool) {
        let line = self.sourced.unwrap_or(word.line);
        for whole in self.variables.expand_all(std::slice::from_ref(word)) {
            match whole.text.split_once('=').filter(|(name, _)| is_name(name)) {
                Some((name, value)) => {
                    let value = Word { text: value.to_owned(), line, ..whole.clone() };
                    self.set_variable(name.to_owned(), value, exported);
                }
                None if exported && whole.known().is_some_and(is_name) => self.variables.export(&whole.text),
                None => {
                    let what = whole.unknown.unwrap_or_else(|| format!("`{}` is not understood", whole.text));
                    self.remark(Remark::error(line, what));
                }
            }
        }
    }

    fn set(&mut self, words: &[RawWord]) {
        let mut words = words.iter().filter_map(RawWord::bare);
        while let Some(word) = words.next() {
            let turns_on = match (word, word.split_at_checked(1)) {
                ("-o" | "+o", _) if words.next() == Some("allexport") => word == "-o",
                (_, Some(("-", options))) if options.contains('a') => true,
                (_, Some(("+", options))) if options.contains('a') => false,
                _ => continue,
            };
            self.exports_all = turns_on;
        }
    }

    fn change_folder(&mut self, words: &[RawWord]) {
        let folder = words.get(1).map(|word| self.variables.expand_one(word));
        let Some(folder) = folder.as_ref().and_then(Word::known).filter(|folder| !folder.is_empty()) else {
            let what = format!("`{}` is not understood: relative file names would not be found", self.shown(words));
            return self.remark(Remark::error(words[0].line, what));
        };
        let before = self.variables.folder.clone().unwrap_or_default();
        let changed = Path::new(&before).join(folder.strip_prefix("./").unwrap_or(folder));
        if folder != "." {
            self.variables.folder = Some(changed.to_string_lossy().into_owned());
        }
    }

    /// A file that the script reads as its own text.
    fn source(&mut self, words: &[RawWord]) -> Flow {
        let line = words[0].line;
        let file = words.get(1).map(|word| self.variables.expand_one(word)).unwrap_or_default();
        let read = match file.known() {
            Some(name) => {
                let source = Substitution::File(name.to_owned()).below(self.variables.folder.as_deref());
                self.answers.answer(&source)
            }
            None => Err(file.unknown.clone().unwrap_or_default()),
        };
        match read {
            Ok(text) => {
                let before = self.sourced.replace(line);
                let flow = self.nested(true, true, |inside| inside.list(&parse(tokens(&text))));
                self.sourced = before;
                flow
            }
            Err(why) => {
                let what = format!("{}, which the script reads: {why}; what it sets is not known", file.text);
                self.remark(Remark::error(line, what));
                Flow::Next(None)
            }
        }
    }

    fn call(&mut self, words: &[RawWord]) -> Flow {
        let name = words[0].bare().unwrap_or_default();
        let body = self.functions.iter().find(|(known, _)| known == name).map(|(_, body)| body.clone());
        for (at, value) in self.variables.expand_all(&words[1..]).into_iter().take(9).enumerate() {
            self.variables.set((at + 1).to_string(), value, false);
        }
        self.nested(true, true, |inside| inside.list(&body.unwrap_or_default()))
    }

    fn shown(&self, words: &[RawWord]) -> String {
        let words = self.variables.expand_all(words);
        let mut text = words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
        if let Some((end, _)) = text.char_indices().nth(SHOWN) {
            text.truncate(end);
            text.push_str(" ...");
        }
        text
    }
}

/// The words `command` and `builtin` before a command that they run.
fn prefixes(words: &[RawWord]) -> usize {
    let bare = |at: usize| words.get(at).and_then(RawWord::bare);
    let is_command = |at: usize| words.get(at).is_some() && !bare(at).is_some_and(|word| word.starts_with('-'));
    (0..words.len()).take_while(|at| matches!(bare(*at), Some("command" | "builtin")) && is_command(at + 1)).count()
}

/// Commands that change nothing that a new service would need.
const HARMLESS: [&str; 18] = [
    ":", "break", "chgrp", "chmod", "chown", "continue", "echo", "install", "logger", "mkdir", "printf", "return",
    "rm", "shift", "sleep", "touch", "trap", "true",
];
/// Commands that only look; how they end is not known.
const LOOKS: [&str; 18] = [
    "cat", "cmp", "command", "date", "egrep", "fgrep", "getent", "grep", "head", "hostname", "id", "ls", "pgrep",
    "pidof", "tail", "type", "wait", "which",
];
/// Commands that change something that the command inherits.
const SETTINGS: [&str; 2] = ["ulimit", "umask"];
/// A command with one of these is the command, `exec` or not.
const LISTENERS: [&str; 6] = ["s6-tcpserver", "s6-tcpserver4", "s6-tcpserver6", "sslserver", "tcpserver", "tcpsvd"];
/// Characters of a command in a remark.
const SHOWN: usize = 70;

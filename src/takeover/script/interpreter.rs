//! Follows a script from line to line: which variables are set when the command is reached. Branches and loops are not
//! followed: what they set is uncertain from then on, and what they start is told. It must not run anything, nor take
//! an uncertain value for a certain one.

use std::mem;

use crate::takeover::script::Answers;
use crate::takeover::script::Remark;
use crate::takeover::script::RunScript;
use crate::takeover::script::Word;
use crate::takeover::script::shell::Piece;
use crate::takeover::script::shell::RawWord;
use crate::takeover::script::shell::Token;
use crate::takeover::script::shell::is_name;
use crate::takeover::script::shell::tokens;
use crate::takeover::script::substitution::Substitution;

pub(super) struct Interpreter<'a> {
    answers: &'a dyn Answers,
    variables: Vec<Variable>,
    remarks: Vec<Remark>,
    /// `set -a`: what is assigned from here on is exported.
    exports_all: bool,
    /// The keywords and brackets that are open.
    open: Vec<String>,
    /// The command before was joined to this one by `&&`, `||` or `|`.
    depends: bool,
    /// An `exit` that is surely reached.
    ended: bool,
}

struct Variable {
    name: String,
    value: Word,
    exported: bool,
}

impl<'a> Interpreter<'a> {
    pub(super) fn new(answers: &'a dyn Answers) -> Self {
        Self {
            answers,
            variables: Vec::new(),
            remarks: Vec::new(),
            exports_all: false,
            open: Vec::new(),
            depends: false,
            ended: false,
        }
    }

    pub(super) fn run(mut self, text: &str) -> RunScript {
        let mut words = Vec::new();
        let mut command = Vec::new();
        for token in tokens(text).into_iter().chain([Token::Operator { line: 0, text: "\n" }]) {
            match token {
                Token::Word(word) => words.push(word),
                Token::Operator { text, line } => {
                    command = self.statement(mem::take(&mut words), text).unwrap_or_default();
                    if text == "|" && !command.is_empty() {
                        self.remark(line, "output is piped to another program, which is not carried over".to_owned());
                    }
                    if self.ended || !command.is_empty() {
                        break;
                    }
                    self.operator(text);
                }
            }
        }
        let exported = self.variables.into_iter().filter(|variable| variable.exported);
        let exported = exported.map(|Variable { name, value, .. }| (name, value)).collect();
        RunScript { command, exported, remarks: self.remarks }
    }

    /// Ends a statement at the operator that joins it to the next.
    fn operator(&mut self, text: &'static str) {
        match text {
            "(" => self.open.push(text.to_owned()),
            // The pattern of a branch of `case` ends in one that nothing opened.
            ")" if self.open.last().is_some_and(|open| open == "(") => _ = self.open.pop(),
            _ => {}
        }
        self.depends = matches!(text, "&&" | "||" | "|");
    }

    /// The command, if the script becomes it here.
    fn statement(&mut self, mut words: Vec<RawWord>, end: &str) -> Option<Vec<Word>> {
        while let Some(first) = words.first().and_then(RawWord::bare) {
            match first {
                "if" | "while" | "until" | "for" | "case" | "{" => self.open.push(first.to_owned()),
                "fi" | "done" | "esac" | "}" => _ = self.open.pop(),
                "then" | "else" | "elif" | "do" | "!" => {}
                _ => break,
            }
            let is_list = matches!(first, "for" | "case");
            words.remove(0);
            if is_list {
                // The words of these are no commands.
                return None;
            }
        }
        let is_pattern = end == ")" && self.open.last().is_some_and(|open| open == "case");
        // The name of a function is no command either.
        if words.is_empty() || is_pattern || end == "(" {
            return None;
        }
        let certain = self.open.is_empty() && !self.depends && end != "&";
        if certain { self.command(words) } else { self.uncertain(&words) }
    }

    /// A command that is surely run.
    fn command(&mut self, mut words: Vec<RawWord>) -> Option<Vec<Word>> {
        let line = words[0].line;
        let mut before = Vec::new();
        while let Some(assignment) = words.first().and_then(RawWord::assignment) {
            before.push(assignment);
            words.remove(0);
        }
        let Some(first) = words.first() else {
            before.into_iter().for_each(|(name, value)| self.assign(name, &value, self.exports_all));
            return None;
        };
        match first.bare().unwrap_or_default() {
            "export" | "readonly" | "typeset" | "declare" => self.export(&words),
            "unset" => self.unset(&words[1..]),
            "set" => self.set(&words[1..]),
            "." | "source" => {
                let what = format!("{} is read by the script and not here", self.shown(&words[1..]));
                self.remark(line, what);
            }
            "exec" if words.len() == 1 => {}
            "exit" => self.ended = true,
            name if HARMLESS.contains(&name) => {}
            name if SETTINGS.contains(&name) => {
                let what = format!("`{}` is not carried over", self.shown(&words));
                self.remark(line, what);
            }
            name => return self.start(before, &words, name),
        }
        None
    }

    /// The command that the script becomes, or one that it only runs.
    fn start(&mut self, before: Vec<(String, RawWord)>, words: &[RawWord], name: &str) -> Option<Vec<Word>> {
        let is_exec = name == "exec";
        let expanded = self.expand_all(if is_exec { &words[1..] } else { words });
        if is_exec || expanded.iter().any(|word| LISTENERS.contains(&word.name())) {
            before.into_iter().for_each(|(name, value)| self.assign(name, &value, true));
            return Some(expanded);
        }
        let what = format!("`{}` is run by the script and not here", self.shown(words));
        self.remark(words[0].line, what);
        None
    }

    /// A command that may be run or not: nothing that it sets can be relied on.
    fn uncertain(&mut self, words: &[RawWord]) -> Option<Vec<Word>> {
        let line = words[0].line;
        let mut rest = words;
        if words[0].bare().is_some_and(|word| matches!(word, "export" | "readonly" | "unset")) {
            rest = &words[1..];
        }
        let mut sets = false;
        for word in rest {
            let name = match (word.assignment(), word.bare()) {
                (Some((name, _)), _) => name,
                (None, Some(name)) if rest.len() < words.len() && is_name(name) => name.to_owned(),
                _ => break,
            };
            sets = true;
            let unknown = Some(format!("${name} depends on a condition, line {line}"));
            let value = Word { line, unknown, ..Word::default() };
            let exported = self.exports_all || rest.len() < words.len();
            self.set_variable(name, value, exported);
        }
        let name = words[0].bare().unwrap_or_default();
        let known = HARMLESS.contains(&name) || name == "exit" || name == "[" || name == "test";
        if !sets && !known && self.shown(words) != "exec" {
            let what = format!("`{}` depends on a condition, and is not followed", self.shown(words));
            self.remark(line, what);
        }
        None
    }

    fn assign(&mut self, name: String, value: &RawWord, exported: bool) {
        let value = self.expand_one(value);
        self.set_variable(name, value, exported);
    }

    fn set_variable(&mut self, name: String, value: Word, exported: bool) {
        let room = self.variables.len() < MOST_VARIABLES;
        match self.variables.iter_mut().find(|variable| variable.name == name) {
            Some(variable) => {
                variable.value = value;
                variable.exported |= exported;
            }
            None if room => self.variables.push(Variable { name, value, exported }),
            None => self.remark(value.line, "there are too many variables".to_owned()),
        }
    }

    fn export(&mut self, words: &[RawWord]) {
        // `readonly` and `declare` alone export nothing.
        let exports = words[0].bare() == Some("export");
        for word in &words[1..] {
            match (word.assignment(), word.bare()) {
                (Some((name, value)), _) => self.assign(name, &value, exports || self.exports_all),
                (None, Some(name)) if exports && is_name(name) => {
                    if let Some(variable) = self.variables.iter_mut().find(|variable| variable.name == name) {
                        variable.exported = true;
                    }
                }
                (None, Some(option)) if option.starts_with('-') || is_name(option) => {}
                _ => {
                    let what = format!("`{}` is not understood", self.shown(words));
                    self.remark(word.line, what);
                }
            }
        }
    }

    fn unset(&mut self, words: &[RawWord]) {
        let names: Vec<&str> = words.iter().filter_map(RawWord::bare).collect();
        self.variables.retain(|variable| !names.contains(&variable.name.as_str()));
    }

    fn set(&mut self, words: &[RawWord]) {
        for word in words.iter().filter_map(RawWord::bare) {
            match word.split_at_checked(1) {
                Some(("-", options)) if options.contains('a') => self.exports_all = true,
                Some(("+", options)) if options.contains('a') => self.exports_all = false,
                _ => {}
            }
        }
    }

    fn expand_all(&self, words: &[RawWord]) -> Vec<Word> {
        words.iter().flat_map(|word| self.expand(word)).take(MOST_WORDS).collect()
    }

    /// The words that a word expands to: what is not quoted is cut at its blanks.
    fn expand(&self, word: &RawWord) -> Vec<Word> {
        let bare_value = |piece: &Piece| {
            matches!(piece, Piece::Variable { quoted: false, .. } | Piece::Command { quoted: false, .. })
        };
        let whole = self.expand_one(word);
        if whole.unknown.is_some() || !word.pieces.iter().any(bare_value) {
            return vec![whole];
        }
        if word.pieces.iter().all(bare_value) {
            let part = |text: &str| Word { text: text.to_owned(), ..whole.clone() };
            return whole.text.split_whitespace().map(part).collect();
        }
        // Text and a value in one word: only where the value has no blanks is it surely one.
        match whole.text.contains(char::is_whitespace) {
            true => vec![Word { unknown: Some(format!("`{}` is cut at its blanks", whole.text)), ..whole }],
            false => vec![whole],
        }
    }

    fn expand_one(&self, word: &RawWord) -> Word {
        let mut expanded = Word { line: word.line, ..Word::default() };
        for piece in &word.pieces {
            match piece {
                Piece::Text { text, .. } => expanded.text.push_str(text),
                Piece::Variable { name, .. } => self.expand_variable(name, &mut expanded),
                Piece::Command { text, .. } => self.substitute(text, &mut expanded),
                Piece::Unknown { text } => {
                    expanded.text.push_str(text);
                    expanded.unknown.get_or_insert_with(|| format!("{text} is not understood"));
                }
            }
            if expanded.text.len() > LONGEST {
                expanded.text.clear();
                expanded.unknown.get_or_insert_with(|| "the value is too long".to_owned());
            }
        }
        expanded
    }

    fn expand_variable(&self, name: &str, expanded: &mut Word) {
        match self.variables.iter().find(|variable| variable.name == name) {
            Some(Variable { value, .. }) => {
                expanded.text.push_str(&value.text);
                for source in &value.sources {
                    expanded.comes_from(source);
                }
                expanded.unknown = expanded.unknown.take().or_else(|| value.unknown.clone());
            }
            None => {
                expanded.text.push_str(&format!("${name}"));
                expanded.unknown.get_or_insert_with(|| format!("${name} is not set by the script"));
            }
        }
    }

    fn substitute(&self, text: &str, expanded: &mut Word) {
        let tokens = tokens(text);
        let words: Option<Vec<RawWord>> = tokens
            .into_iter()
            .map(|token| match token {
                // `cat a || echo b` depends on a.
                Token::Operator { text, .. } => (text == "\n").then(|| RawWord { line: 0, pieces: Vec::new() }),
                Token::Word(word) => Some(word),
            })
            .collect();
        let nested = |word: &RawWord| word.pieces.iter().any(|piece| matches!(piece, Piece::Command { .. }));
        let words = words.filter(|words| !words.iter().any(nested)).map(|words| self.expand_all(&words));
        let known = words.filter(|words| words.iter().all(|word| word.unknown.is_none()));
        let asked = known.and_then(|words| {
            Substitution::of(
                &words.iter().map(|word| word.text.as_str()).filter(|text| !text.is_empty()).collect::<Vec<_>>(),
            )
        });
        let Some(substitution) = asked else {
            expanded.unknown.get_or_insert_with(|| format!("`{}` is not understood", text.trim()));
            return;
        };
        match self.answers.answer(&substitution) {
            Ok(answer) => expanded.text.push_str(answer.trim_end_matches('\n')),
            Err(why) => _ = expanded.unknown.get_or_insert_with(|| format!("`{substitution}`: {why}")),
        }
        expanded.comes_from(&substitution);
    }

    fn shown(&self, words: &[RawWord]) -> String {
        let words = self.expand_all(words);
        let mut text = words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
        if let Some((end, _)) = text.char_indices().nth(SHOWN) {
            text.truncate(end);
            text.push_str(" ...");
        }
        text
    }

    fn remark(&mut self, line: u32, what: String) {
        if self.remarks.len() < MOST_REMARKS {
            self.remarks.push(Remark { line, what });
        }
    }
}

impl Word {
    fn comes_from(&mut self, source: &Substitution) {
        if !self.sources.contains(source) && self.sources.len() < MOST_SOURCES {
            self.sources.push(source.clone());
        }
    }
}

/// Commands that change nothing that a new service would need.
const HARMLESS: [&str; 16] = [
    ":", "[", "chmod", "chown", "echo", "false", "logger", "mkdir", "printf", "rm", "sleep", "test", "touch", "true",
    "[[", "trap",
];
/// Commands that change something that the command inherits.
const SETTINGS: [&str; 3] = ["cd", "ulimit", "umask"];
/// A command with one of these is the command, `exec` or not.
const LISTENERS: [&str; 6] = ["s6-tcpserver", "s6-tcpserver4", "s6-tcpserver6", "sslserver", "tcpserver", "tcpsvd"];
/// Octets of a value.
const LONGEST: usize = 8 << 10;
/// Characters of a command in a remark.
const SHOWN: usize = 70;
const MOST_REMARKS: usize = 200;
const MOST_SOURCES: usize = 20;
const MOST_VARIABLES: usize = 1000;
/// Words of a command.
const MOST_WORDS: usize = 4096;

//! Scripts of execline, each one chain: what sets variables and descriptors is followed, then the command stands there. A
//! program that branches is not understood. It must not run anything.

use std::iter::Peekable;
use std::str::Chars;

use crate::takeover::script::Answers;
use crate::takeover::script::Remark;
use crate::takeover::script::RunScript;
use crate::takeover::script::Word;
use crate::takeover::script::raw::Piece;
use crate::takeover::script::raw::RawWord;
use crate::takeover::script::raw::is_name_character;
use crate::takeover::script::variables::Variables;

/// Reads a script without its first line being a comment of importance.
pub(super) fn read(text: &str, answers: &dyn Answers) -> RunScript {
    let mut reader = Reader { words: words(text), at: 0, variables: Variables::new(answers), remarks: Vec::new() };
    let command = reader.command();
    let folder = reader.variables.folder.clone();
    RunScript { command, folder, exported: reader.variables.exported(), remarks: reader.remarks }
}

struct Reader<'a> {
    words: Vec<RawWord>,
    at: usize,
    variables: Variables<'a>,
    remarks: Vec<Remark>,
}

impl Reader<'_> {
    /// Follows the chain up to the command; empty if something is not understood.
    fn command(&mut self) -> Vec<Word> {
        while let Some(first) = self.words.get(self.at) {
            let (line, name) = (first.line, first.bare().unwrap_or_default().to_owned());
            let begin = self.at;
            self.at += 1;
            let done = match name.rsplit('/').next().unwrap_or_default() {
                "fdmove" | "redirfd" => self.skip(2),
                "fdclose" | "fdblock" | "unexport" => self.skip(1),
                "emptyenv" | "exec" => self.skip(0),
                "export" => self.set(true),
                "define" => self.set(false),
                "importas" => self.import(),
                "backtick" => self.backtick(),
                "cd" => self.change_folder(),
                "umask" | "s6-umask" => {
                    self.remarks.push(Remark::mind(line, format!("`{name}` is not carried over")));
                    self.skip(1)
                }
                "foreground" | "background" | "if" => self.leave_out(line),
                // What is in its block sets variables one after the other.
                "multisubstitute" | "}" => {
                    self.at += usize::from(self.is_next("{"));
                    Some(())
                }
                _ => {
                    self.at = begin;
                    return self.rest(line, &name);
                }
            };
            if done.is_none() {
                self.error(line, &name);
                return Vec::new();
            }
        }
        Vec::new()
    }

    fn rest(&mut self, line: u32, name: &str) -> Vec<Word> {
        let rest = &self.words[self.at..];
        if rest.iter().any(|word| word.bare() == Some("{")) {
            self.error(line, name);
            return Vec::new();
        }
        self.variables.expand_all(rest)
    }

    fn error(&mut self, line: u32, name: &str) {
        self.remarks.push(Remark::error(line, format!("`{name}` is not understood")));
    }

    fn is_next(&self, text: &str) -> bool {
        self.words.get(self.at).and_then(RawWord::bare) == Some(text)
    }

    /// Options, of which those in `letters` have an argument.
    fn options(&mut self, letters: &str) {
        while let Some(option) = self.words.get(self.at).and_then(RawWord::bare).filter(|word| word.starts_with('-')) {
            self.at += 1 + usize::from(option.len() == 2 && option.ends_with(|letter| letters.contains(letter)));
        }
    }

    fn skip(&mut self, arguments: usize) -> Option<()> {
        self.options("a");
        self.at += arguments;
        Some(())
    }

    fn next(&mut self) -> Option<&RawWord> {
        self.at += 1;
        self.words.get(self.at - 1)
    }

    fn name(&mut self) -> Option<String> {
        self.next()?.bare().map(str::to_owned)
    }

    fn set(&mut self, exported: bool) -> Option<()> {
        self.options("d");
        let name = self.name()?;
        let value = self.next()?.clone();
        let value = self.variables.expand_one(&value);
        self.variables.set(name, value, exported).then_some(())
    }

    /// `importas -D default variable name`: a variable of the environment, as text to be put in.
    fn import(&mut self) -> Option<()> {
        let line = self.words.get(self.at)?.line;
        let mut default = None;
        while let Some(option) = self.words.get(self.at).and_then(RawWord::bare).filter(|word| word.starts_with('-')) {
            let is_default = option == "-D";
            self.at += 1;
            if is_default {
                default = self.next().cloned();
            }
        }
        let (variable, name) = (self.name()?, self.name()?);
        let value = match default.filter(|_| !self.variables.has(&name)) {
            Some(default) => default,
            None => RawWord { line, pieces: vec![Piece::Variable { name, quoted: true }] },
        };
        let value = self.variables.expand_one(&value);
        let exported = false;
        self.variables.set(variable, value, exported).then_some(())
    }

    /// `backtick -n NAME { command }`
    fn backtick(&mut self) -> Option<()> {
        self.options("D");
        let (line, name) = (self.words.get(self.at)?.line, self.name()?);
        let block = self.block()?;
        let text: Vec<String> = block.iter().map(|word| self.variables.expand_one(word).text).collect();
        let command = Piece::Command { text: text.join(" "), quoted: true };
        let value = self.variables.expand_one(&RawWord { line, pieces: vec![command] });
        self.variables.set(name, value, true).then_some(())
    }

    fn change_folder(&mut self) -> Option<()> {
        let folder = self.next()?.clone();
        let folder = self.variables.expand_one(&folder);
        self.variables.folder = Some(folder.known().filter(|folder| folder.starts_with('/'))?.to_owned());
        Some(())
    }

    /// A program that is run, and that changes nothing in the chain.
    fn leave_out(&mut self, line: u32) -> Option<()> {
        self.options("tx");
        let block = self.block()?;
        let text: Vec<String> = block.iter().map(|word| self.variables.expand_one(word).text).collect();
        self.remarks.push(Remark::mind(line, format!("`{}` is run by the script, but not by init", text.join(" "))));
        Some(())
    }

    /// The words between the brackets that are next.
    fn block(&mut self) -> Option<Vec<RawWord>> {
        if !self.is_next("{") {
            return None;
        }
        let begin = self.at + 1;
        let mut depth = 0_u32;
        while let Some(word) = self.words.get(self.at) {
            self.at += 1;
            match word.bare() {
                Some("{") => depth += 1,
                Some("}") => depth = depth.checked_sub(1)?,
                _ => {}
            }
            if depth == 0 {
                return self.words.get(begin..self.at - 1).map(<[RawWord]>::to_vec);
            }
        }
        None
    }
}

/// All words. Nothing is cut at blanks later: every piece counts as quoted but for bare text.
fn words(text: &str) -> Vec<RawWord> {
    let (mut rest, mut line, mut words) = (text.chars().peekable(), 1, Vec::new());
    while let Some(&next) = rest.peek() {
        if next.is_ascii_whitespace() {
            line += u32::from(next == '\n');
            rest.next();
        } else if next == '#' {
            while rest.next_if(|next| *next != '\n').is_some() {}
        } else {
            words.push(word(&mut rest, &mut line));
        }
    }
    words
}

fn word(rest: &mut Peekable<Chars<'_>>, line: &mut u32) -> RawWord {
    let mut word = RawWord { line: *line, pieces: Vec::new() };
    let mut quoted = false;
    while let Some(next) = rest.next_if(|next| quoted || !next.is_ascii_whitespace()) {
        *line += u32::from(next == '\n');
        match next {
            '"' => {
                quoted = !quoted;
                word.begin_quoted();
            }
            '\\' => rest.next().into_iter().for_each(|escaped| word.push(escaped, true)),
            '$' => {
                let braced = rest.next_if_eq(&'{').is_some();
                let mut name = String::new();
                while let Some(next) = rest.next_if(|next| is_name_character(*next)) {
                    name.push(next);
                }
                if braced {
                    rest.next_if_eq(&'}');
                }
                word.pieces.push(Piece::Variable { name, quoted: true });
            }
            _ => word.push(next, quoted),
        }
    }
    word
}

//! The variables of a script, and the words that they and backquoted commands expand to. A value that is not certain has
//! the reason with it wherever it goes. It must not run anything: commands are answered by `Answers`.

use crate::takeover::script::Answers;
use crate::takeover::script::Word;
use crate::takeover::script::filter::filtered;
use crate::takeover::script::raw::Piece;
use crate::takeover::script::raw::RawWord;
use crate::takeover::script::raw::Token;
use crate::takeover::script::shell::tokens;
use crate::takeover::script::substitution::Substitution;

#[derive(Clone)]
pub(super) struct Variables<'a> {
    answers: &'a dyn Answers,
    all: Vec<Variable>,
    /// The folder of the last `cd`, if there was one.
    pub(super) folder: Option<String>,
}

#[derive(Clone)]
struct Variable {
    name: String,
    value: Word,
    exported: bool,
}

impl<'a> Variables<'a> {
    pub(super) fn new(answers: &'a dyn Answers) -> Self {
        Self { answers, all: Vec::new(), folder: None }
    }

    pub(super) fn exported(self) -> Vec<(String, Word)> {
        let exported = self.all.into_iter().filter(|variable| variable.exported);
        exported.map(|Variable { name, value, .. }| (name, value)).collect()
    }

    /// `false` if there is no room for one more.
    pub(super) fn set(&mut self, name: String, value: Word, exported: bool) -> bool {
        let has_room = self.all.len() < MOST_VARIABLES;
        match self.all.iter_mut().find(|variable| variable.name == name) {
            Some(variable) => {
                variable.value = value;
                variable.exported |= exported;
            }
            None if has_room => self.all.push(Variable { name, value, exported }),
            None => return false,
        }
        true
    }

    pub(super) fn export(&mut self, name: &str) {
        if let Some(variable) = self.all.iter_mut().find(|variable| variable.name == name) {
            variable.exported = true;
        }
    }

    /// It is exported no more.
    pub(super) fn keep_back(&mut self, name: &str) {
        self.all.iter_mut().filter(|variable| variable.name == name).for_each(|variable| variable.exported = false);
    }

    pub(super) fn remove(&mut self, names: &[&str]) {
        self.all.retain(|variable| !names.contains(&variable.name.as_str()));
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.all.iter().any(|variable| variable.name == name)
    }

    pub(super) fn expand_all(&self, words: &[RawWord]) -> Vec<Word> {
        words.iter().flat_map(|word| self.expand(word)).take(MOST_WORDS).collect()
    }

    /// The words that a word expands to: what is not quoted is cut at its blanks.
    fn expand(&self, word: &RawWord) -> Vec<Word> {
        let bare_value = |piece: &Piece| {
            matches!(
                piece,
                Piece::Variable { quoted: false, .. }
                    | Piece::Command { quoted: false, .. }
                    | Piece::Default { quoted: false, .. }
            )
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

    /// The one word that a quoted word, or a value, expands to.
    pub(super) fn expand_one(&self, word: &RawWord) -> Word {
        let mut expanded = Word { line: word.line, ..Word::default() };
        for piece in &word.pieces {
            match piece {
                Piece::Text { text, .. } => expanded.text.push_str(text),
                Piece::Variable { name, .. } => self.expand_variable(name, &mut expanded),
                Piece::Default { name, operator, word, .. } => self.expand_default(name, operator, word, &mut expanded),
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
        match self.all.iter().find(|variable| variable.name == name) {
            Some(Variable { value, .. }) => expanded.append(value),
            None => {
                expanded.text.push_str(&format!("${name}"));
                expanded.unknown.get_or_insert_with(|| format!("${name} is not set by the script"));
            }
        }
    }

    /// `${NAME:-word}` and its kind: without the script, a supervisor sets only a few variables.
    fn expand_default(&self, name: &str, operator: &str, word: &RawWord, expanded: &mut Word) {
        let value = self.all.iter().find(|variable| variable.name == name).map(|variable| &variable.value);
        if value.is_none() && OUTSIDE.contains(&name) {
            return self.expand_variable(name, expanded);
        }
        // With the colon an empty value counts as none.
        let is_set = |value: &&Word| value.unknown.is_some() || !operator.starts_with(':') || !value.text.is_empty();
        let value = value.filter(is_set);
        match (value, operator.trim_start_matches(':')) {
            (Some(value), "+") if value.unknown.is_some() => expanded.append(value),
            (Some(_), "+") => expanded.append(&self.expand_one(word)),
            (None, "+") => {}
            (Some(value), _) => expanded.append(value),
            (None, "?") => self.expand_variable(name, expanded),
            (None, _) => expanded.append(&self.expand_one(word)),
        }
    }

    fn substitute(&self, text: &str, expanded: &mut Word) {
        match self.output_of(text) {
            Ok((output, source)) => {
                expanded.text.push_str(output.trim_end_matches('\n'));
                expanded.comes_from(&source);
            }
            Err((why, source)) => {
                expanded.unknown.get_or_insert(why);
                source.iter().for_each(|source| expanded.comes_from(source));
            }
        }
    }

    /// The output of a command, and what it was read from; or why there is none.
    fn output_of(&self, text: &str) -> Result<(String, Substitution), (String, Option<Substitution>)> {
        let not_understood = || (format!("`{}` is not understood", text.trim()), None);
        let stages = self.stages(text).ok_or_else(not_understood)?;
        let words: Vec<Vec<&str>> =
            stages.iter().map(|stage| stage.iter().map(|word| word.text.as_str()).collect()).collect();
        let (first, filters) = words.split_first().ok_or_else(not_understood)?;
        if let (Some(output), []) = (constant(first), filters) {
            return Ok((output, Substitution::Piped(text.trim().to_owned())));
        }
        let (source, cut) = match Substitution::of(first) {
            Some(source) => (source, None),
            // A filter with the name of its file.
            None => {
                let (file, cut) = first.split_last().ok_or_else(not_understood)?;
                filtered(cut, "").filter(|_| file.contains('/')).ok_or_else(not_understood)?;
                (Substitution::File((*file).to_owned()), Some(cut))
            }
        };
        let source = source.below(self.folder.as_deref());
        let answer = self.answers.answer(&source);
        let mut output = answer.map_err(|why| (format!("`{source}`: {why}"), Some(source.clone())))?;
        for filter in cut.into_iter().chain(filters.iter().map(Vec::as_slice)) {
            output = filtered(filter, &output).ok_or_else(not_understood)?;
        }
        let is_whole = cut.is_none() && filters.is_empty();
        Ok((output, if is_whole { source } else { Substitution::Piped(text.trim().to_owned()) }))
    }

    /// The words of each command of a pipeline, all of them known.
    fn stages(&self, text: &str) -> Option<Vec<Vec<Word>>> {
        if let Some(file) = text.trim().strip_prefix('<') {
            return self.stages(&format!("cat {file}")).filter(|stages| stages.len() == 1);
        }
        let nested = |word: &RawWord| {
            word.pieces.iter().any(|piece| matches!(piece, Piece::Command { .. } | Piece::Default { .. }))
        };
        let mut stages = vec![Vec::new()];
        for token in tokens(text) {
            match token {
                Token::Word(word) if !nested(&word) => stages.last_mut()?.extend(self.expand(&word)),
                Token::Operator { text: "|", .. } => stages.push(Vec::new()),
                Token::Operator { text: "\n", .. } => {}
                // What is before it has an output: what is behind is not run. Else it is not certain.
                Token::Operator { text: "||", .. } if self.has_output(&stages) => break,
                _ => return None,
            }
        }
        stages.iter().flatten().all(|word| word.unknown.is_none()).then_some(stages)
    }

    fn has_output(&self, stages: &[Vec<Word>]) -> bool {
        let [only] = stages else { return false };
        let words: Vec<&str> = only.iter().map(|word| word.text.as_str()).collect();
        let source = Substitution::of(&words).map(|source| source.below(self.folder.as_deref()));
        source.is_some_and(|source| self.answers.answer(&source).is_ok())
    }
}

/// The output of a command that depends on nothing but its words.
fn constant(words: &[&str]) -> Option<String> {
    Some(match words {
        ["uname"] | ["uname", "-s"] => "Linux".to_owned(),
        ["echo", rest @ ..] if !rest.first().is_some_and(|first| first.starts_with('-')) => rest.join(" "),
        ["dirname", path] => match path.rsplit_once('/') {
            Some(("", _)) => "/".to_owned(),
            Some((folder, _)) => folder.to_owned(),
            None => ".".to_owned(),
        },
        ["basename", path] => path.rsplit('/').next()?.to_owned(),
        _ => return None,
    })
}

impl Word {
    fn append(&mut self, value: &Self) {
        self.text.push_str(&value.text);
        value.sources.iter().for_each(|source| self.comes_from(source));
        self.unknown = self.unknown.take().or_else(|| value.unknown.clone());
    }

    fn comes_from(&mut self, source: &Substitution) {
        if !self.sources.contains(source) && self.sources.len() < MOST_SOURCES {
            self.sources.push(source.clone());
        }
    }
}

/// Variables that a supervisor may have, so that a default is not certain.
pub(super) const OUTSIDE: [&str; 9] = ["0", "HOME", "HOSTNAME", "LANG", "LOGNAME", "PATH", "PWD", "SHELL", "USER"];
/// Octets of a value.
const LONGEST: usize = 8 << 10;
const MOST_SOURCES: usize = 20;
const MOST_VARIABLES: usize = 300;
/// Words of a command.
const MOST_WORDS: usize = 4096;

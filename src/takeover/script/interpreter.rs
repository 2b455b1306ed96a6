//! Follows a script through its branches: which variables are set when the command is reached. Conditions are judged by the
//! host; what depends on one that cannot be judged is uncertain from then on, and said. It must not run anything, nor
//! take an uncertain value for a certain one.

use crate::takeover::script::Answers;
use crate::takeover::script::Remark;
use crate::takeover::script::RunScript;
use crate::takeover::script::Word;
use crate::takeover::script::raw::Piece;
use crate::takeover::script::raw::RawWord;
use crate::takeover::script::shell::tokens;
use crate::takeover::script::syntax::Command;
use crate::takeover::script::syntax::Item;
use crate::takeover::script::syntax::List;
use crate::takeover::script::syntax::When;
use crate::takeover::script::syntax::parse;
use crate::takeover::script::variables::Variables;

pub(super) struct Interpreter<'a> {
    pub(super) answers: &'a dyn Answers,
    pub(super) variables: Variables<'a>,
    pub(super) functions: Vec<(String, List)>,
    remarks: Vec<Remark>,
    /// `set -a`: what is assigned from here on is exported.
    pub(super) exports_all: bool,
    /// False where it depends on something unknown whether a command is run.
    certain: bool,
    /// Branches, loops and functions around a command.
    pub(super) depth: usize,
    /// The line of a `.` whose file is being read: its commands stand there.
    pub(super) sourced: Option<u32>,
    /// Commands left: a script may call itself in loops.
    steps: usize,
}

/// What follows a command.
pub(super) enum Flow {
    /// The next one; with the exit status, as far as it is known: true is success.
    Next(Option<bool>),
    /// None: the script has become this command.
    Becomes(Vec<Word>),
    /// None: the script has ended.
    Ends,
}

impl<'a> Interpreter<'a> {
    pub(super) fn new(answers: &'a dyn Answers) -> Self {
        let mut variables = Variables::new(answers);
        // Every supervisor starts it by this name.
        variables.set("0".to_owned(), Word::plain("./run", 1), false);
        Self {
            answers,
            variables,
            functions: Vec::new(),
            remarks: Vec::new(),
            exports_all: false,
            certain: true,
            depth: 0,
            sourced: None,
            steps: MOST_STEPS,
        }
    }

    /// For a script that a shell in a chain is given: it stands in `line`, in variables that may be exported already.
    pub(super) fn inside(mut self, line: u32, given: Vec<(String, Word, bool)>) -> Self {
        self.sourced = Some(line);
        for (name, value, exported) in given {
            self.variables.set(name, value, exported);
        }
        self
    }

    pub(super) fn run(mut self, text: &str) -> RunScript {
        let command = match self.list(&parse(tokens(text))) {
            Flow::Becomes(command) => command,
            _ => Vec::new(),
        };
        let folder = self.variables.folder.clone();
        RunScript { command, folder, exported: self.variables.exported(), remarks: self.remarks }
    }

    pub(super) fn list(&mut self, list: &List) -> Flow {
        let mut status = Some(true);
        for item in list {
            let runs = match item.when {
                When::Always => Some(true),
                When::Success => status,
                When::Failure => status.map(|status| !status),
            };
            if runs == Some(false) {
                continue;
            }
            match self.nested(runs.is_some(), item.when != When::Always, |inside| inside.item(item)) {
                Flow::Next(found) => status = if runs.is_some() { found } else { None },
                flow => return flow,
            }
        }
        Flow::Next(status)
    }

    /// Something that is run surely or perhaps, inside a condition or not.
    pub(super) fn nested(&mut self, surely: bool, inside: bool, run: impl FnOnce(&mut Self) -> Flow) -> Flow {
        let before = self.certain;
        self.certain &= surely;
        self.depth += usize::from(inside);
        let flow = if self.depth < DEEPEST { run(self) } else { Flow::Next(None) };
        self.depth -= usize::from(inside);
        self.certain = before;
        flow
    }

    fn item(&mut self, item: &Item) -> Flow {
        let alone = item.pipeline.len() == 1 && !item.background;
        let kept = (!alone).then(|| self.variables.clone());
        let mut flow = Flow::Next(None);
        for (at, command) in item.pipeline.iter().enumerate() {
            flow = self.nested(!item.background, false, |inside| inside.one(command));
            if let (Flow::Becomes(command), true) = (&flow, at + 1 < item.pipeline.len()) {
                let line = command.first().map_or(1, |word| word.line);
                let what = "output is piped to another program, which is not carried over".to_owned();
                self.remark(Remark::mind(line, what));
            }
            if !matches!(flow, Flow::Next(_)) {
                break;
            }
        }
        if let (Some(kept), Flow::Next(_) | Flow::Ends) = (kept, &flow) {
            // Each was a process of its own.
            self.variables = kept;
            return Flow::Next(None);
        }
        match flow {
            Flow::Next(status) if item.negated => Flow::Next(status.map(|status| !status)),
            flow => flow,
        }
    }

    fn one(&mut self, command: &Command) -> Flow {
        if self.steps == 0 {
            return Flow::Ends;
        }
        self.steps -= 1;
        match command {
            Command::Simple(words) if self.certain => self.simple(words.clone()),
            Command::Simple(words) => self.uncertain(words),
            Command::If(branches, otherwise) => self.conditional(branches, otherwise),
            Command::While(condition, expected, body) => match self.nested(true, true, |it| it.list(condition)) {
                Flow::Next(found) if found == Some(!expected) => Flow::Next(Some(true)),
                Flow::Next(_) => self.nested(false, true, |inside| inside.list(body)),
                flow => flow,
            },
            Command::For(name, values, body) => self.for_each(name, values, body),
            Command::Case(word, branches) => self.case(word, branches),
            Command::Group(list) => self.list(list),
            Command::Subshell(list) => {
                let kept = self.variables.clone();
                match self.nested(true, true, |inside| inside.list(list)) {
                    flow @ Flow::Becomes(_) => flow,
                    _ => {
                        self.variables = kept;
                        Flow::Next(None)
                    }
                }
            }
            Command::Function(name, body) => {
                self.functions.retain(|(known, _)| known != name);
                if self.functions.len() < MOST_FUNCTIONS {
                    self.functions.push((name.clone(), body.clone()));
                }
                Flow::Next(Some(true))
            }
        }
    }

    fn conditional(&mut self, branches: &[(List, List)], otherwise: &List) -> Flow {
        let mut surely = true;
        for (condition, body) in branches {
            let found = match self.nested(surely, true, |inside| inside.list(condition)) {
                Flow::Next(found) => found,
                flow => return flow,
            };
            if found == Some(false) {
                continue;
            }
            let is_it = surely && found == Some(true);
            match self.nested(is_it, true, |inside| inside.list(body)) {
                Flow::Next(status) if is_it => return Flow::Next(status),
                Flow::Next(_) => surely = false,
                flow => return flow,
            }
        }
        let flow = self.nested(surely, true, |inside| inside.list(otherwise));
        if surely { flow } else { Flow::Next(None) }
    }

    fn for_each(&mut self, name: &str, values: &[RawWord], body: &List) -> Flow {
        let values = self.variables.expand_all(values);
        let surely = !values.is_empty() && values.len() <= MOST_ROUNDS && values.iter().all(|it| it.unknown.is_none());
        let line = values.first().map_or(1, |value| value.line);
        let uncertain = [Word { line, unknown: Some(format!("${name} is of a loop")), ..Word::default() }];
        for value in if surely { values.as_slice() } else { &uncertain } {
            self.variables.set(name.to_owned(), value.clone(), false);
            match self.nested(surely, true, |inside| inside.list(body)) {
                Flow::Next(_) => {}
                flow => return flow,
            }
        }
        Flow::Next(None)
    }

    fn case(&mut self, word: &RawWord, branches: &[(Vec<RawWord>, List)]) -> Flow {
        let word = self.variables.expand_one(word);
        let mut surely = true;
        for (patterns, body) in branches {
            let found: Vec<Option<bool>> = patterns.iter().map(|pattern| self.matches(&word, pattern)).collect();
            let is_it = surely && found.contains(&Some(true));
            if found.iter().all(|found| *found == Some(false)) {
                continue;
            }
            match self.nested(is_it, true, |inside| inside.list(body)) {
                Flow::Next(status) if is_it => return Flow::Next(status),
                Flow::Next(_) => surely = false,
                flow => return flow,
            }
        }
        Flow::Next(None)
    }

    fn matches(&self, word: &Word, pattern: &RawWord) -> Option<bool> {
        if matches!(pattern.pieces.as_slice(), [Piece::Unknown { text }] if text == "*") {
            return Some(true);
        }
        let pattern = self.variables.expand_one(pattern);
        let plain = |text: &&str| !text.contains('[');
        Some(pattern.known().filter(plain)? == word.known()?)
    }

    pub(super) fn remark(&mut self, mut remark: Remark) {
        remark.line = self.sourced.unwrap_or(remark.line);
        if self.remarks.len() < MOST_REMARKS {
            self.remarks.push(remark);
        }
    }
}

/// Branches, loops, functions and files in one another.
const DEEPEST: usize = 40;
const MOST_FUNCTIONS: usize = 100;
const MOST_REMARKS: usize = 200;
/// Rounds of a loop that are followed.
const MOST_ROUNDS: usize = 100;
const MOST_STEPS: usize = 5000;

//! The commands of a shell script as the tree that they are: lists, branches, loops, functions. What does not fit is read
//! as simple commands. It must not expand, judge or run anything.

use crate::takeover::script::raw::Piece;
use crate::takeover::script::raw::RawWord;
use crate::takeover::script::raw::Token;

/// Commands one after the other.
pub(super) type List = Vec<Item>;

/// A pipeline, and when it is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) when: When,
    /// `!` before it.
    pub(super) negated: bool,
    pub(super) pipeline: Vec<Command>,
    /// `&` behind it.
    pub(super) background: bool,
}

/// The outcome of the item before that an item depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Always,
    /// `&&`
    Success,
    /// `||`
    Failure,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Never without a word.
    Simple(Vec<RawWord>),
    /// Condition and body of `if` and each `elif`, and the body of `else`.
    If(Vec<(List, List)>, List),
    /// The condition, `false` for `until`, and the body.
    While(List, bool, List),
    /// A variable, its values, and the body.
    For(String, Vec<RawWord>, List),
    /// A word, and the branches with their patterns.
    Case(RawWord, Vec<(Vec<RawWord>, List)>),
    /// `{ ... }`
    Group(List),
    /// `( ... )`
    Subshell(List),
    /// A name and the body.
    Function(String, List),
}

/// Reads all tokens.
pub(super) fn parse(tokens: Vec<Token>) -> List {
    let mut parser = Parser { tokens: tokens.into_iter().map(Some).collect(), at: 0, depth: 0 };
    let mut list = parser.list();
    while parser.at < parser.tokens.len() {
        // A keyword or a bracket that nothing opened.
        parser.at += 1;
        list.append(&mut parser.list());
    }
    list
}

struct Parser {
    /// Those before `at` may have been taken out.
    tokens: Vec<Option<Token>>,
    at: usize,
    depth: usize,
}

impl Parser {
    /// Up to the keyword or bracket that closes what was opened, which stays.
    fn list(&mut self) -> List {
        self.depth += 1;
        let mut list = List::new();
        let mut when = When::Always;
        while self.depth < DEEPEST {
            self.skip_line_ends();
            if self.is_closing() {
                break;
            }
            let (negated, pipeline) = self.pipeline();
            let end = self.operator();
            if matches!(end, Some(";" | "\n" | "&" | "&&" | "||")) {
                self.at += 1;
            }
            list.push(Item { when, negated, pipeline, background: end == Some("&") });
            when = match end {
                Some("&&") => When::Success,
                Some("||") => When::Failure,
                _ => When::Always,
            };
        }
        self.depth -= 1;
        list
    }

    fn pipeline(&mut self) -> (bool, Vec<Command>) {
        let negated = self.takes("!");
        let mut pipeline = vec![self.command()];
        while self.operator() == Some("|") {
            self.at += 1;
            self.skip_line_ends();
            if self.is_closing() {
                break;
            }
            pipeline.push(self.command());
        }
        (negated, pipeline)
    }

    fn command(&mut self) -> Command {
        if self.operator() == Some("(") {
            self.at += 1;
            let list = self.list();
            self.takes_operator(")");
            return Command::Subshell(list);
        }
        let keyword = self.bare().map(str::to_owned).unwrap_or_default();
        match keyword.as_str() {
            "if" => self.conditional(),
            "while" | "until" => {
                self.at += 1;
                let condition = self.list();
                Command::While(condition, keyword == "while", self.body())
            }
            "for" => self.for_each(),
            "case" => self.case(),
            "{" => {
                self.at += 1;
                let list = self.list();
                self.takes("}");
                Command::Group(list)
            }
            "function" => {
                self.at += 1;
                let name = self.word().and_then(|word| word.bare().map(str::to_owned)).unwrap_or_default();
                self.takes_operator("(");
                self.takes_operator(")");
                self.function(name)
            }
            "[[" => Command::Simple(self.double_bracket()),
            _ => self.simple(),
        }
    }

    fn conditional(&mut self) -> Command {
        let mut branches = Vec::new();
        let mut otherwise = List::new();
        // `if`, then each `elif`.
        while branches.is_empty() || self.bare() == Some("elif") {
            self.at += 1;
            let condition = self.list();
            self.takes("then");
            branches.push((condition, self.list()));
        }
        if self.takes("else") {
            otherwise = self.list();
        }
        self.takes("fi");
        Command::If(branches, otherwise)
    }

    /// `do ... done`
    fn body(&mut self) -> List {
        self.takes("do");
        let list = self.list();
        self.takes("done");
        list
    }

    fn for_each(&mut self) -> Command {
        self.at += 1;
        let name = self.word().and_then(|word| word.bare().map(str::to_owned)).unwrap_or_default();
        self.skip_line_ends();
        let mut values = Vec::new();
        if self.takes("in") {
            while let Some(word) = self.word() {
                values.push(word);
            }
        }
        self.skip_line_ends();
        Command::For(name, values, self.body())
    }

    fn case(&mut self) -> Command {
        self.at += 1;
        let word = self.word().unwrap_or(RawWord { line: 1, pieces: Vec::new() });
        self.skip_line_ends();
        self.takes("in");
        let mut branches = Vec::new();
        loop {
            self.skip_line_ends();
            self.takes_operator("(");
            let Some(first) = self.word().filter(|word| word.bare() != Some("esac")) else { break };
            let mut patterns = vec![first];
            while self.takes_operator("|") {
                patterns.extend(self.word());
            }
            self.takes_operator(")");
            branches.push((patterns, self.list()));
            self.takes_operator(";;");
        }
        Command::Case(word, branches)
    }

    fn function(&mut self, name: String) -> Command {
        self.skip_line_ends();
        self.depth += 1;
        let body = if self.depth < DEEPEST { self.command() } else { self.nothing() };
        self.depth -= 1;
        let body = match body {
            Command::Group(list) | Command::Subshell(list) => list,
            other => vec![Item { when: When::Always, negated: false, pipeline: vec![other], background: false }],
        };
        Command::Function(name, body)
    }

    /// The words of `[[ ... ]]`, in which operators are words.
    fn double_bracket(&mut self) -> Vec<RawWord> {
        let mut words = Vec::new();
        while self.operator() != Some("\n") {
            let Some(token) = self.take() else { break };
            let word = match token {
                Token::Word(word) => word,
                Token::Operator { line, text } => {
                    RawWord { line, pieces: vec![Piece::Text { text: text.to_owned(), quoted: false }] }
                }
            };
            let ends = word.bare() == Some("]]");
            words.push(word);
            if ends {
                break;
            }
        }
        words
    }

    fn simple(&mut self) -> Command {
        let mut words = Vec::new();
        while let Some(word) = self.word() {
            words.push(word);
        }
        if words.is_empty() {
            return self.nothing();
        }
        if let ([word], Some("(")) = (words.as_slice(), self.operator()) {
            let name = word.bare().unwrap_or_default().to_owned();
            self.at += 1;
            self.takes_operator(")");
            return self.function(name);
        }
        Command::Simple(words)
    }

    /// Takes what cannot be a command.
    fn nothing(&mut self) -> Command {
        let line = match self.take() {
            Some(Token::Operator { line, .. } | Token::Word(RawWord { line, .. })) => line,
            None => 1,
        };
        Command::Simple(vec![RawWord { line, pieces: vec![Piece::Text { text: ":".to_owned(), quoted: false }] }])
    }

    fn skip_line_ends(&mut self) {
        while matches!(self.operator(), Some("\n" | ";")) {
            self.at += 1;
        }
    }

    /// The end, or what closes a list.
    fn is_closing(&self) -> bool {
        let closes = |word: &str| matches!(word, "then" | "else" | "elif" | "fi" | "do" | "done" | "esac" | "}");
        self.at >= self.tokens.len() || matches!(self.operator(), Some(")" | ";;")) || self.bare().is_some_and(closes)
    }

    fn operator(&self) -> Option<&'static str> {
        match self.tokens.get(self.at)? {
            Some(Token::Operator { text, .. }) => Some(text),
            _ => None,
        }
    }

    fn bare(&self) -> Option<&str> {
        match self.tokens.get(self.at)? {
            Some(Token::Word(word)) => word.bare(),
            _ => None,
        }
    }

    fn takes(&mut self, keyword: &str) -> bool {
        let is_next = self.bare() == Some(keyword);
        self.at += usize::from(is_next);
        is_next
    }

    fn takes_operator(&mut self, operator: &str) -> bool {
        let is_next = self.operator() == Some(operator);
        self.at += usize::from(is_next);
        is_next
    }

    fn word(&mut self) -> Option<RawWord> {
        if !matches!(self.tokens.get(self.at), Some(Some(Token::Word(_)))) {
            return None;
        }
        match self.take() {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.tokens.get_mut(self.at)?.take();
        self.at += 1;
        token
    }
}

/// Lists in one another.
const DEEPEST: usize = 60;

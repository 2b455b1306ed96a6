//! The words of a shell script, with their lines: quotes, comments, continued lines, `$NAME`, backquotes.
//!
//! It is no shell. It must not run, expand or judge anything: what it cannot read it keeps as unknown, with its text.

use std::iter::Peekable;
use std::str::Chars;

/// A piece of the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(RawWord),
    /// `;`, `&&`, `||`, `|`, `&`, `(`, `)`, or the end of a line.
    Operator {
        line: u32,
        text: &'static str,
    },
}

/// A word as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawWord {
    pub(super) line: u32,
    pub(super) pieces: Vec<Piece>,
}

/// A part of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text {
        text: String,
        quoted: bool,
    },
    Variable {
        name: String,
        quoted: bool,
    },
    /// A command between backquotes, or in `$(...)`.
    Command {
        text: String,
        quoted: bool,
    },
    /// Text that the shell would understand and we do not.
    Unknown {
        text: String,
    },
}

impl RawWord {
    /// The word, if nothing in it was quoted or has to be expanded: only such a word can be a keyword of the shell.
    pub(super) fn bare(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [Piece::Text { text, quoted: false }] => Some(text),
            _ => None,
        }
    }

    /// `NAME` and the word that is the value, if this is `NAME=value`.
    pub(super) fn assignment(&self) -> Option<(String, Self)> {
        let Some(Piece::Text { text, quoted: false }) = self.pieces.first() else { return None };
        let (name, rest) = text.split_once('=')?;
        if !is_name(name) {
            return None;
        }
        let mut pieces = self.pieces.clone();
        pieces[0] = Piece::Text { text: rest.to_owned(), quoted: false };
        // A value is one word, whatever is in it.
        pieces.iter_mut().for_each(Piece::quote);
        Some((name.to_owned(), Self { line: self.line, pieces }))
    }
}

impl Piece {
    fn quote(&mut self) {
        match self {
            Self::Text { quoted, .. } | Self::Variable { quoted, .. } | Self::Command { quoted, .. } => *quoted = true,
            Self::Unknown { .. } => {}
        }
    }
}

/// A name that a variable may have.
pub(super) fn is_name(text: &str) -> bool {
    let first = text.chars().next();
    first.is_some_and(|first| first.is_ascii_alphabetic() || first == '_') && text.chars().all(is_name_character)
}

/// All tokens. Redirections are left out: where output goes is the new service's affair.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut reader = Reader { rest: text.chars().peekable(), line: 1 };
    let mut tokens = Vec::new();
    while let Some(token) = reader.token() {
        tokens.push(token);
    }
    tokens
}

struct Reader<'t> {
    rest: Peekable<Chars<'t>>,
    line: u32,
}

impl Reader<'_> {
    fn token(&mut self) -> Option<Token> {
        loop {
            self.skip_blanks();
            let line = self.line;
            let text = match *self.rest.peek()? {
                '\n' => "\n",
                ';' => ";",
                '(' => "(",
                ')' => ")",
                '&' => "&",
                '|' => "|",
                '<' | '>' => {
                    self.redirection();
                    continue;
                }
                _ => match self.word() {
                    Some(word) => return Some(Token::Word(word)),
                    None => continue,
                },
            };
            self.next();
            let doubled = match (text, self.rest.peek()) {
                ("&", Some('&')) => Some("&&"),
                ("|", Some('|')) => Some("||"),
                // The end of a branch of `case`.
                (";", Some(';')) => Some(";"),
                _ => None,
            };
            if doubled.is_some() {
                self.next();
            }
            return Some(Token::Operator { line, text: doubled.unwrap_or(text) });
        }
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.next();
        self.line += u32::from(next == Some('\n'));
        next
    }

    fn skip_blanks(&mut self) {
        loop {
            match self.rest.peek().copied() {
                Some(' ' | '\t' | '\r') => _ = self.next(),
                Some('#') => {
                    while self.rest.peek().is_some_and(|&next| next != '\n') {
                        self.next();
                    }
                }
                Some('\\') if self.continues() => {}
                _ => return,
            }
        }
    }

    /// A backslash at the end of a line joins it to the next one.
    fn continues(&mut self) -> bool {
        let mut ahead = self.rest.clone();
        ahead.next();
        let joined = ahead.next() == Some('\n');
        if joined {
            self.next();
            self.next();
        }
        joined
    }

    /// `>file`, `2>&1`, `<<END`: up to the end of the file's name.
    fn redirection(&mut self) {
        while self.rest.peek().is_some_and(|next| matches!(next, '<' | '>' | '&' | '-')) {
            self.next();
        }
        while self.rest.peek().is_some_and(|next| matches!(next, ' ' | '\t')) {
            self.next();
        }
        self.word();
    }

    /// `None` if it was the number of a redirection.
    fn word(&mut self) -> Option<RawWord> {
        let mut word = RawWord { line: self.line, pieces: Vec::new() };
        while let Some(&next) = self.rest.peek() {
            match next {
                ' ' | '\t' | '\r' | '\n' | ';' | '(' | ')' | '&' | '|' => break,
                '<' | '>' => {
                    if word.bare().is_some_and(|text| text.bytes().all(|octet| octet.is_ascii_digit())) {
                        return None;
                    }
                    break;
                }
                '\'' => self.single_quoted(&mut word),
                '"' => self.double_quoted(&mut word),
                '\\' if self.continues() => {}
                '\\' => {
                    self.next();
                    let escaped = self.next();
                    escaped.into_iter().for_each(|escaped| word.push(escaped, true));
                }
                '$' => self.dollar(&mut word, false),
                '`' => self.backquoted(&mut word, false),
                '*' | '?' => {
                    self.next();
                    word.pieces.push(Piece::Unknown { text: next.into() });
                }
                '~' if word.pieces.is_empty() => {
                    self.next();
                    word.pieces.push(Piece::Unknown { text: next.into() });
                }
                _ => {
                    self.next();
                    word.push(next, false);
                }
            }
        }
        Some(word)
    }

    fn single_quoted(&mut self, word: &mut RawWord) {
        self.next();
        word.begin_quoted();
        while let Some(next) = self.next().filter(|&next| next != '\'') {
            word.push(next, true);
        }
    }

    fn double_quoted(&mut self, word: &mut RawWord) {
        self.next();
        word.begin_quoted();
        while let Some(&next) = self.rest.peek() {
            match next {
                '"' => {
                    self.next();
                    return;
                }
                '$' => self.dollar(word, true),
                '`' => self.backquoted(word, true),
                '\\' if self.continues() => {}
                '\\' => {
                    self.next();
                    match self.next() {
                        Some(escaped @ ('"' | '\\' | '$' | '`')) => word.push(escaped, true),
                        Some(other) => {
                            word.push('\\', true);
                            word.push(other, true);
                        }
                        None => word.push('\\', true),
                    }
                }
                _ => {
                    self.next();
                    word.push(next, true);
                }
            }
        }
    }

    fn dollar(&mut self, word: &mut RawWord, quoted: bool) {
        self.next();
        match self.rest.peek() {
            Some('{') => {
                let name = self.until('{', '}');
                word.pieces.push(match is_name(&name) {
                    true => Piece::Variable { name, quoted },
                    false => Piece::Unknown { text: format!("${{{name}}}") },
                });
            }
            Some('(') => {
                let text = self.until('(', ')');
                word.pieces.push(match text.starts_with('(') {
                    true => Piece::Unknown { text: format!("$({text})") },
                    false => Piece::Command { text, quoted },
                });
            }
            Some(&first) if is_name(&first.to_string()) => {
                let mut name = String::new();
                while let Some(&next) = self.rest.peek().filter(|&&next| is_name_character(next)) {
                    self.next();
                    name.push(next);
                }
                word.pieces.push(Piece::Variable { name, quoted });
            }
            // $1, $@, $$ and the like.
            Some(&special) if special.is_ascii_digit() || "@*#?-$!".contains(special) => {
                self.next();
                word.pieces.push(Piece::Unknown { text: format!("${special}") });
            }
            _ => word.push('$', quoted),
        }
    }

    fn backquoted(&mut self, word: &mut RawWord, quoted: bool) {
        self.next();
        let mut text = String::new();
        while let Some(next) = self.next().filter(|&next| next != '`') {
            match next {
                '\\' => text.extend(self.next()),
                _ => text.push(next),
            }
        }
        word.pieces.push(Piece::Command { text, quoted });
    }

    /// The text between the bracket that is next and the one that closes it.
    fn until(&mut self, open: char, close: char) -> String {
        let (mut text, mut depth) = (String::new(), 0);
        while let Some(next) = self.next() {
            depth += u32::from(next == open);
            depth -= u32::from(next == close);
            match (depth, text.is_empty() && next == open && depth == 1) {
                (0, _) => break,
                (_, true) => {}
                _ => text.push(next),
            }
        }
        text
    }
}

impl RawWord {
    fn push(&mut self, character: char, as_quoted: bool) {
        if let Some(Piece::Text { text, quoted }) = self.pieces.last_mut()
            && *quoted == as_quoted
        {
            text.push(character);
            return;
        }
        self.pieces.push(Piece::Text { text: character.into(), quoted: as_quoted });
    }

    /// `""` is a word, though an empty one.
    fn begin_quoted(&mut self) {
        if !matches!(self.pieces.last(), Some(Piece::Text { quoted: true, .. })) {
            self.pieces.push(Piece::Text { text: String::new(), quoted: true });
        }
    }
}

fn is_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// The tokens: a word's line and pieces, or the operator.
    fn told(text: &str) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text { text, quoted: false } => text.clone(),
            Piece::Text { text, quoted: true } => format!("'{text}'"),
            Piece::Variable { name, quoted } => format!("{{{name}{}}}", if *quoted { "'" } else { "" }),
            Piece::Command { text, quoted } => format!("<{text}{}>", if *quoted { "'" } else { "" }),
            Piece::Unknown { text } => format!("!{text}!"),
        };
        let token = |token: &Token| match token {
            Token::Word(word) => format!("{}:{}", word.line, word.pieces.iter().map(piece).collect::<String>()),
            Token::Operator { text, .. } => text.replace('\n', "/"),
        };
        tokens(text).iter().map(token).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words_are_read_as_the_shell_reads_them() {
        let table = [
            ("blanks", "a  b\tc", "1:a 1:b 1:c"),
            ("lines", "a\nb\n", "1:a / 2:b /"),
            ("a continued line", "a \\\n  b\\\nc", "1:a 2:bc"),
            ("a comment", "#!/bin/sh\na # b\nc#d", "/ 2:a / 3:c#d"),
            ("quotes", r#"a'b c'"d e" '' "\"\$\x""#, r#"1:a'b cd e' 1:'' 1:'"$\x'"#),
            ("an escaped blank", r"a\ b", "1:a' 'b"),
            ("variables", r#"$A ${B}c "$D" '$E'"#, "1:{A} 1:{B}c 1:''{D'} 1:'$E'"),
            ("commands", "`a b` $(c $(d)) \"`e`\"", "1:<a b> 1:<c $(d)> 1:''<e'>"),
            ("operators", "a;b&&c||d|e&(f)", "1:a ; 1:b && 1:c || 1:d | 1:e & ( 1:f )"),
            ("redirections", "a 2>&1 >/dev/null <f 3>>g b", "1:a 1:b"),
            ("a redirection at the word", "a>b c", "1:a 1:c"),
            ("what is not understood", "$((1+1)) $1 ${A:-b} a* ~/x", "1:!$((1+1))! 1:!$1! 1:!${A:-b}! 1:a!*! 1:!~!/x"),
            ("a dollar alone", "a$ $", "1:a$ 1:$"),
            ("quotes that never end", "a 'b\nc", "1:a 1:'b\nc'"),
            ("a bracket that never ends", "$(a", "1:<a>"),
        ];
        for (what, text, expected) in table {
            assert_eq!(told(text), expected, "{what}");
        }
    }

    #[test]
    fn assignments_have_a_name_and_one_word() {
        let table = [
            ("A=b", Some("A")),
            ("A=", Some("A")),
            ("A1_=$B", Some("A1_")),
            ("1A=b", None),
            ("'A'=b", None),
            ("A", None),
        ];
        for (text, name) in table {
            let Some(Token::Word(word)) = tokens(text).into_iter().next() else { panic!("{text}") };
            assert_eq!(word.assignment().map(|(name, _)| name).as_deref(), name, "{text}");
        }
    }
}

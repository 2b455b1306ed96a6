//! The words of a shell script, with their lines: quotes, comments, continued lines, `$NAME`, backquotes.
//!
//! It is no shell. It must not run, expand or judge anything: what it cannot read it keeps as unknown, with its text.

use std::iter::Peekable;
use std::str::Chars;

use crate::takeover::script::raw::Piece;
use crate::takeover::script::raw::RawWord;
use crate::takeover::script::raw::Token;
use crate::takeover::script::raw::is_name;
use crate::takeover::script::raw::is_name_character;

/// All tokens. Redirections are left out: where output goes is the new service's affair.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut reader = Reader { rest: text.chars().peekable(), line: 1, depth: 0, documents: Vec::new() };
    let mut tokens = Vec::new();
    while let Some(token) = reader.token() {
        tokens.push(token);
    }
    tokens
}

struct Reader<'t> {
    rest: Peekable<Chars<'t>>,
    line: u32,
    /// Defaults in one another.
    depth: u32,
    /// Lines that end the here-documents that begin with the next line, and whether tabs may stand before them.
    documents: Vec<(String, bool)>,
}

impl Reader<'_> {
    fn token(&mut self) -> Option<Token> {
        loop {
            self.skip_blanks();
            let line = self.line;
            let next = *self.rest.peek()?;
            let text = match next {
                '\n' => "\n",
                ';' => ";",
                '(' => "(",
                ')' => ")",
                '&' if self.is_before('>') => {
                    self.next();
                    continue;
                }
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
            if text == "\n" {
                self.skip_documents();
            }
            let doubled = match (text, self.rest.peek()) {
                ("&", Some('&')) => Some("&&"),
                ("|", Some('|')) => Some("||"),
                // The end of a branch of `case`.
                (";", Some(';')) => Some(";;"),
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

    fn is_before(&self, next: char) -> bool {
        self.rest.clone().nth(1) == Some(next)
    }

    /// `>file`, `2>&1`, `<<END`: up to the end of the file's name.
    fn redirection(&mut self) {
        let mut operator = String::new();
        while let Some(next) = self.rest.peek().copied().filter(|next| matches!(next, '<' | '>' | '&' | '-')) {
            self.next();
            operator.push(next);
        }
        while self.rest.peek().is_some_and(|next| matches!(next, ' ' | '\t')) {
            self.next();
        }
        let word = self.word();
        if matches!(operator.as_str(), "<<" | "<<-") && self.documents.len() < MOST_DOCUMENTS {
            let text = |piece: &Piece| match piece {
                Piece::Text { text, .. } => text.clone(),
                _ => String::new(),
            };
            let end = word.map_or_else(String::new, |word| word.pieces.iter().map(text).collect());
            self.documents.push((end, operator.ends_with('-')));
        }
    }

    /// Leaves out the text of here-documents.
    fn skip_documents(&mut self) {
        for (end, indented) in std::mem::take(&mut self.documents) {
            while self.rest.peek().is_some() {
                let mut line = String::new();
                while let Some(next) = self.next().filter(|&next| next != '\n') {
                    line.push(next);
                }
                if line == end || indented && line.trim_start_matches('\t') == end {
                    break;
                }
            }
        }
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
                let text = self.until('{', '}');
                word.pieces.push(match is_parameter(&text) {
                    true => Piece::Variable { name: text, quoted },
                    false => self.default(&text, quoted).unwrap_or(Piece::Unknown { text: format!("${{{text}}}") }),
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
            Some(&digit) if digit.is_ascii_digit() => {
                self.next();
                word.pieces.push(Piece::Variable { name: digit.into(), quoted });
            }
            // $@, $$ and the like.
            Some(&special) if "@*#?-$!".contains(special) => {
                self.next();
                word.pieces.push(Piece::Unknown { text: format!("${special}") });
            }
            Some('\'') if !quoted => self.escaped(word),
            _ => word.push('$', quoted),
        }
    }

    /// `$'text'` of bash; what its escapes stand for is not understood.
    fn escaped(&mut self, word: &mut RawWord) {
        let mut text = RawWord { line: self.line, pieces: Vec::new() };
        self.single_quoted(&mut text);
        let has_escapes = |piece: &Piece| matches!(piece, Piece::Text { text, .. } if text.contains('\\'));
        match text.pieces.iter().any(has_escapes) {
            true => word.pieces.push(Piece::Unknown { text: "$'...'".to_owned() }),
            false => word.pieces.append(&mut text.pieces),
        }
    }

    /// `NAME:-word` of `${NAME:-word}`.
    fn default(&self, text: &str, quoted: bool) -> Option<Piece> {
        let at = text.find(|next| !is_name_character(next))?;
        let (name, rest) = text.split_at(at);
        let operator = OPERATORS.into_iter().find(|operator| rest.starts_with(operator))?;
        if !is_parameter(name) || self.depth >= DEEPEST {
            return None;
        }
        let rest = rest[operator.len()..].chars().peekable();
        let mut reader = Reader { rest, line: self.line, depth: self.depth + 1, documents: Vec::new() };
        let mut word = RawWord { line: self.line, pieces: Vec::new() };
        while let Some(&next) = reader.rest.peek() {
            match next {
                '\'' if !quoted => reader.single_quoted(&mut word),
                '"' => reader.double_quoted(&mut word),
                '$' => reader.dollar(&mut word, quoted),
                '`' => reader.backquoted(&mut word, quoted),
                _ => {
                    reader.next();
                    word.push(next, quoted);
                }
            }
        }
        Some(Piece::Default { name: name.to_owned(), operator, word, quoted })
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

/// A name, or the number of an argument.
fn is_parameter(text: &str) -> bool {
    is_name(text) || text.len() == 1 && text.bytes().all(|octet| octet.is_ascii_digit())
}

/// Between the name and the word of `${...}`; those with a colon first.
const OPERATORS: [&str; 8] = [":-", ":=", ":+", ":?", "-", "=", "+", "?"];
/// Defaults in one another.
const DEEPEST: u32 = 10;
/// Here-documents of one line.
const MOST_DOCUMENTS: usize = 20;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn told_piece(piece: &Piece) -> String {
        match piece {
            Piece::Text { text, quoted: false } => text.clone(),
            Piece::Text { text, quoted: true } => format!("'{text}'"),
            Piece::Variable { name, quoted } => format!("{{{name}{}}}", if *quoted { "'" } else { "" }),
            Piece::Default { name, operator, word, .. } => {
                format!("{{{name}{operator}{}}}", word.pieces.iter().map(told_piece).collect::<String>())
            }
            Piece::Command { text, quoted } => format!("<{text}{}>", if *quoted { "'" } else { "" }),
            Piece::Unknown { text } => format!("!{text}!"),
        }
    }

    /// The tokens: a word's line and pieces, or the operator.
    fn told(text: &str) -> String {
        let token = |token: &Token| match token {
            Token::Word(word) => format!("{}:{}", word.line, word.pieces.iter().map(told_piece).collect::<String>()),
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
            ("what is not understood", "$((1+1)) $@ ${A#b} a* ~/x", "1:!$((1+1))! 1:!$@! 1:!${A#b}! 1:a!*! 1:!~!/x"),
            ("defaults", "${A:-b c}d \"${B-$C}\" ${1:=`e`}", "1:{A:-b c}d 1:''{B-{C'}} 1:{1:=<e>}"),
            ("defaults in one another", "${A:-${B:-c}}", "1:{A:-{B:-c}}"),
            ("a here-document", "cat <<END >/x\n exec $A\nEND\nb <<-'E'\n\tx\n\tE\nc", "1:cat / 4:b / 7:c"),
            ("both outputs", "a &>/dev/null b", "1:a 1:b"),
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

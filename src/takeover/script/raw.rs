//! The pieces of a shell script as it was written: words with their quotes, operators. It must not read text.

/// A piece of the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(RawWord),
    /// `;`, `;;`, `&&`, `||`, `|`, `&`, `(`, `)`, or the end of a line.
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
    /// `${NAME:-word}`: the name, the operator, and the word.
    Default {
        name: String,
        operator: &'static str,
        word: RawWord,
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

    /// `NAME` and the word that is the value, if this is `NAME=value`; `NAME+` if it is `NAME+=value`.
    pub(super) fn assignment(&self) -> Option<(String, Self)> {
        let Some(Piece::Text { text, quoted: false }) = self.pieces.first() else { return None };
        let (name, rest) = text.split_once('=')?;
        if !is_name(name.strip_suffix('+').unwrap_or(name)) {
            return None;
        }
        let mut pieces = self.pieces.clone();
        pieces[0] = Piece::Text { text: rest.to_owned(), quoted: false };
        // A value is one word, whatever is in it.
        pieces.iter_mut().for_each(Piece::quote);
        Some((name.to_owned(), Self { line: self.line, pieces }))
    }
}

impl RawWord {
    pub(super) fn push(&mut self, character: char, as_quoted: bool) {
        if let Some(Piece::Text { text, quoted }) = self.pieces.last_mut()
            && *quoted == as_quoted
        {
            text.push(character);
            return;
        }
        self.pieces.push(Piece::Text { text: character.into(), quoted: as_quoted });
    }

    /// `""` is a word, though an empty one.
    pub(super) fn begin_quoted(&mut self) {
        if !matches!(self.pieces.last(), Some(Piece::Text { quoted: true, .. })) {
            self.pieces.push(Piece::Text { text: String::new(), quoted: true });
        }
    }
}

impl Piece {
    fn quote(&mut self) {
        match self {
            Self::Text { quoted, .. }
            | Self::Variable { quoted, .. }
            | Self::Default { quoted, .. }
            | Self::Command { quoted, .. } => *quoted = true,
            Self::Unknown { .. } => {}
        }
    }
}

/// A name that a variable may have.
pub(super) fn is_name(text: &str) -> bool {
    let first = text.chars().next();
    first.is_some_and(|first| first.is_ascii_alphabetic() || first == '_') && text.chars().all(is_name_character)
}

/// A character that the name of a variable may have.
pub(super) fn is_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

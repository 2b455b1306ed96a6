//! Words of strangers, in mail, logs and files of this host, as text that a terminal shows and does not obey: what
//! cannot be seen, or turns the order of letters around, is written as `\x1b`, `\u{202e}`. It must not change what can
//! be seen.

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::RangeInclusive;

/// Appends `octets`, one line of text whatever they are.
pub fn write(out: &mut String, octets: &[u8]) {
    for chunk in octets.utf8_chunks() {
        let text = chunk.valid();
        if text.bytes().all(|octet| matches!(octet, b' '..=b'~')) {
            out.push_str(text);
        } else {
            text.chars().for_each(|character| push(out, character));
        }
        chunk.invalid().iter().for_each(|octet| _ = write!(out, "\\x{octet:02x}"));
    }
}

/// `octets` as one line of text.
pub fn text(octets: &[u8]) -> String {
    let mut out = String::with_capacity(octets.len());
    write(&mut out, octets);
    out
}

/// A text as one line; most of it stays as it is.
pub fn shown(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|octet| matches!(octet, b' '..=b'~')) || text.chars().all(is_seen) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|character| push(&mut out, character));
    Cow::Owned(out)
}

/// Appends JSON, in which what cannot be seen may stand as it is: as JSON escapes it. Only strings hold such characters.
pub fn write_json(out: &mut String, json: &str) {
    for character in json.chars() {
        match is_seen(character) {
            true => out.push(character),
            false => escape_json(out, character),
        }
    }
}

/// Whether a character shows as itself: letters of all scripts with their marks, and blanks. No controls, none without a
/// width, none that changes the direction of writing, and none that only a private agreement gives a meaning.
pub fn is_seen(character: char) -> bool {
    match character {
        ' '..='~' => true,
        _ => !character.is_control() && !INVISIBLE.iter().any(|range| range.contains(&character)),
    }
}

/// Appends a character as `\x1b` or `\u{202e}`.
pub fn escape(out: &mut String, character: char) {
    let _ = match character {
        '\0'..='\x7f' => write!(out, "\\x{:02x}", u32::from(character)),
        _ => write!(out, "\\u{{{:x}}}", u32::from(character)),
    };
}

/// Appends a character as JSON escapes it: `\u001b`.
pub fn escape_json(out: &mut String, character: char) {
    character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| _ = write!(out, "\\u{unit:04x}"));
}

fn push(out: &mut String, character: char) {
    match is_seen(character) {
        true => out.push(character),
        false => escape(out, character),
    }
}

/// Unicode's Default_Ignorable_Code_Point but for the variation selectors of the BMP, its Bidi_Control, line separators,
/// interlinear annotations, and private use.
const INVISIBLE: [RangeInclusive<char>; 17] = [
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{61c}'..='\u{61c}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180e}'..='\u{180e}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{3164}'..='\u{3164}',
    '\u{e000}'..='\u{f8ff}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fffb}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    // Tags, more variation selectors, and the planes of private use.
    '\u{e0000}'..='\u{10ffff}',
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown() {
        let table: &[(&[u8], &str)] = &[
            (b"plain \"text\" \\x41", "plain \"text\" \\x41"),
            (b"a\rb\x1b[31m\x07\x7f", "a\\x0db\\x1b[31m\\x07\\x7f"),
            ("\u{9b}31m \u{202e}moc".as_bytes(), "\\u{9b}31m \\u{202e}moc"),
            (b"a\xff\xfeb", "a\\xff\\xfeb"),
            ("j\u{fc}rgen".as_bytes(), "j\u{fc}rgen"),
            (
                "ju\u{308}rgen \u{e17}\u{e35}\u{e48} \u{2764}\u{fe0f}".as_bytes(),
                "ju\u{308}rgen \u{e17}\u{e35}\u{e48} \u{2764}\u{fe0f}",
            ),
            ("a\u{200b}b\u{ad}c\u{2028}d\u{e0041}".as_bytes(), "a\\u{200b}b\\u{ad}c\\u{2028}d\\u{e0041}"),
            ("\u{3164}\u{ffa0}\u{e000}\u{f0000}".as_bytes(), "\\u{3164}\\u{ffa0}\\u{e000}\\u{f0000}"),
            ("caf\u{e9}\u{a0}\u{4f8b}\u{3000}".as_bytes(), "caf\u{e9}\u{a0}\u{4f8b}\u{3000}"),
        ];
        for (octets, expected) in table {
            assert_eq!(text(octets), *expected);
            if let Ok(text) = str::from_utf8(octets) {
                assert_eq!(shown(text), *expected);
            }
        }
    }

    #[test]
    fn json_stays_what_it_was() {
        let value = serde_json::json!({ "a": "b\u{7f}\u{9b}c\u{202e}\u{f0000}\u{1b}\"\\j\u{fc}" });
        let mut out = String::new();
        write_json(&mut out, &value.to_string());
        assert!(!out.contains(|it: char| it.is_control() || it == '\u{202e}'), "{out}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&out).ok(), Some(value));
    }
}

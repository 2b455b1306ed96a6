//! What strangers wrote, in mail, logs and files of this host, as text that a terminal shows and does not obey: what cannot
//! be seen, or turns the order of letters around, is written as `\x1b`, `\u{202e}`, in the spelling of our own log lines.

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

/// The same as a text of its own.
pub fn text(octets: &[u8]) -> String {
    let mut out = String::with_capacity(octets.len());
    write(&mut out, octets);
    out
}

/// The same for what is text already; most of it stays as it is.
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
            false => {
                let units = character.encode_utf16(&mut [0; 2]).to_vec();
                units.iter().for_each(|unit| _ = write!(out, "\\u{unit:04x}"));
            }
        }
    }
}

fn push(out: &mut String, character: char) {
    let _ = match character {
        _ if is_seen(character) => out.write_char(character),
        '\0'..='\x7f' => write!(out, "\\x{:02x}", u32::from(character)),
        _ => write!(out, "\\u{{{:x}}}", u32::from(character)),
    };
}

/// Letters of all scripts with their marks; no controls, no marks without a width, none that change the direction of writing.
fn is_seen(character: char) -> bool {
    match character {
        ' '..='~' => true,
        _ => !character.is_control() && !INVISIBLE.iter().any(|range| range.contains(&character)),
    }
}

/// Unicode's Default_Ignorable_Code_Point as far as it is no variation selector, its Bidi_Control, and line separators.
const INVISIBLE: [RangeInclusive<char>; 9] = [
    '\u{ad}'..='\u{ad}',
    '\u{61c}'..='\u{61c}',
    '\u{180e}'..='\u{180e}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{feff}'..='\u{feff}',
    '\u{fff9}'..='\u{fffb}',
    '\u{e0000}'..='\u{e0fff}',
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

//! What was probably meant by a value of the wrong kind or a word that is not known. Pure. It must not report anything.

use toml_spanner::Item;
use toml_spanner::Value;

use crate::config::faults::meant;
use crate::config::faults::one_of;

/// The value of the name `text`, or what to write instead.
pub(crate) fn choose<T: Copy>(text: &str, choices: &[(&'static str, T)]) -> Result<T, String> {
    let names = || choices.iter().map(|(name, _)| *name);
    match choices.iter().find(|(name, _)| *name == text) {
        Some((_, value)) => Ok(*value),
        None => Err(match meant(text, names()) {
            Some(name) => format!("write {name:?} instead"),
            None => format!("write {}", one_of(names())),
        }),
    }
}

/// A text, a number or a truth value as it would stand in quotes.
pub(crate) fn scalar(item: &Item<'_>) -> Option<String> {
    match item.value() {
        Value::String(text) => Some((*text).to_string()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        _ => item.as_bool().map(|value| value.to_string()),
    }
}

/// The first text in quotes, with them.
pub(crate) fn first_quoted(text: &str) -> Option<&str> {
    let start = text.find('"')?;
    let length = text[start + 1..].find('"')?;
    text.get(start..start + length + 2)
}

/// What to write for a truth value that was written as a text.
pub(crate) fn flag_word(text: Option<&str>) -> &'static str {
    match text.map(str::to_ascii_lowercase).as_deref() {
        Some("true" | "yes" | "on" | "1") => "true",
        Some("false" | "no" | "off" | "0") => "false",
        _ => "true or false",
    }
}

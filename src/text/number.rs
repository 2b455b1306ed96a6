//! A number with its noun: "1 error", "2 errors", "0 entries". It must not know what is counted.

/// `number` with `noun`, in the plural unless the number is one. Regular nouns only: `message`, `entry`, `address`.
pub fn count(number: impl Into<u64>, noun: &str) -> String {
    let number = number.into();
    format!("{number} {}", form(number, noun))
}

fn form(number: u64, noun: &str) -> String {
    if number == 1 {
        return noun.to_owned();
    }
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ if noun.ends_with(['s', 'x']) || noun.ends_with("ch") || noun.ends_with("sh") => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn singular_and_plural() {
        for (number, noun, text) in [
            (1_u64, "error", "1 error"),
            (0, "error", "0 errors"),
            (2, "entry", "2 entries"),
            (3, "day", "3 days"),
            (2, "address", "2 addresses"),
            (9, "match", "9 matches"),
        ] {
            assert_eq!(count(number, noun), text);
        }
    }
}

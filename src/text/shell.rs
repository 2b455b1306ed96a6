//! Words of a POSIX shell, for commands that people copy. It must not be given what a terminal would obey: see `readable`.

/// `text` as one word, in quotes only where it needs them.
pub fn word(text: &str) -> String {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"/._-+=:,@%".contains(&octet);
    match !text.is_empty() && text.bytes().all(plain) {
        true => text.to_owned(),
        false => quoted(text),
    }
}

/// `text` as one word in single quotes, in which a shell expands nothing.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_each() {
        for (text, expected) in [
            ("/var/qmail/bin/qmail-smtpd", "/var/qmail/bin/qmail-smtpd"),
            ("a@b.example", "a@b.example"),
            ("", "''"),
            ("a b", "'a b'"),
            ("$HOME", "'$HOME'"),
            ("~", "'~'"),
            ("it's", r"'it'\''s'"),
        ] {
            assert_eq!(word(text), expected);
        }
        assert_eq!(quoted("a"), "'a'");
    }
}

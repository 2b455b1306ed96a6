//! Cutting a line at fixed words. It must not know what they mean.

use std::str::FromStr;

/// A decimal number, digits only, that fits.
pub(super) fn number<N: FromStr>(digits: &[u8]) -> Option<N> {
    digits.first().filter(|first| first.is_ascii_digit())?;
    str::from_utf8(digits).ok()?.parse().ok()
}

/// The text before and behind the first `mark`.
pub(super) fn cut<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = memchr::memmem::find(text, mark)?;
    Some((&text[..at], &text[at + mark.len()..]))
}

/// The first word, and what follows the blank behind it.
pub(super) fn word(text: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b' ', text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts() {
        assert_eq!(number::<u32>(b"42"), Some(42));
        for no in [&b""[..], b"+1", b"-1", b"1 ", b"99999999999999", b"x"] {
            assert_eq!(number::<u32>(no), None, "{no:?}");
        }
        assert_eq!(cut(b"a: b: c", b": "), Some((&b"a"[..], &b"b: c"[..])));
        assert_eq!(cut(b"a", b": "), None);
        assert_eq!(word(b"a b c"), (&b"a"[..], &b"b c"[..]));
        assert_eq!(word(b"a"), (&b"a"[..], &b""[..]));
    }
}

//! An address out of a log as lists compare it: the folding of `smtp::address`, and for what that cannot read lower
//! case. It must not refuse: whatever is in a log is folded somehow.

use crate::smtp::address;
use crate::smtp::address::parse_address;
use crate::smtp::address::without_trailing_dot;

/// Appends `path`, with or without its angle brackets, folded. The null sender is the empty text.
pub(super) fn fold(path: &[u8], folded: &mut Vec<u8>) {
    let bare = path.strip_prefix(b"<").unwrap_or(path);
    let bare = bare.strip_suffix(b">").unwrap_or(bare);
    let is_special = bare.first() == Some(&b'@') || bare.iter().any(|octet| matches!(octet, b'"' | b'\\'));
    if is_special {
        // A source route: qmail and we compare what follows it.
        let last = bare.iter().position(|&octet| octet == b':').filter(|_| bare[0] == b'@');
        let bare = last.map_or(bare, |at| &bare[at + 1..]);
        if let Ok(address) = parse_address(bare) {
            return folded.extend_from_slice(address.folded());
        }
    }
    let bare = without_trailing_dot(bare);
    match bare.is_ascii() {
        true => folded.extend(bare.iter().map(u8::to_ascii_lowercase)),
        false => folded.extend(address::fold(bare)),
    }
}

/// Appends each of a list, folded, with `separator` behind it. Commas inside quotes do not separate.
pub(super) fn fold_list(list: &[u8], separator: u8, folded: &mut Vec<u8>) {
    let (mut quoted, mut escaped) = (false, false);
    let mut separates = |octet: &u8| {
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            _ => return *octet == b',' && !quoted,
        }
        false
    };
    for path in list.split(|octet| separates(octet)).filter(|path| !path.is_empty()) {
        fold(path, folded);
        folded.push(separator);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_logs() {
        let table = [
            ("in brackets", "<NewsLetter@SillyPlace.COM>", "newsletter@sillyplace.com"),
            ("without", "a@B.example", "a@b.example"),
            ("the null sender", "<>", ""),
            ("a trailing dot", "<a@b.example.>", "a@b.example"),
            ("quotes that need not be", "<\"a\"@b.example>", "a@b.example"),
            ("a source route", "<@x.example,@y.example:a@b.example>", "a@b.example"),
            ("qmail's own", "owner-list-@lists.example-@[]", "owner-list-@lists.example-@[]"),
            ("no address", "<A B", "a b"),
        ];
        for (what, path, expected) in table {
            let mut folded = Vec::new();
            fold(path.as_bytes(), &mut folded);
            assert_eq!(String::from_utf8(folded).as_deref(), Ok(expected), "{what}");
        }
        let mut folded = Vec::new();
        fold_list(b"<A@b.example>,<\"c,d\"@b.example>", b'\n', &mut folded);
        assert_eq!(folded, b"a@b.example\nc,d@b.example\n");
    }
}

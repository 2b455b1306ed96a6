//! Addresses that an operator asks for, in the queue and in logs, compared as badmailfrom compares them: whole or `@host`, in
//! any case, without a trailing dot; there are no globs. It must not open files.

use crate::policy::list::AddressList;
use crate::policy::list::Dialect;
use crate::policy::list::fault::ListFault;
use crate::smtp::address;
use crate::smtp::address::without_trailing_dot;

/// A set of addresses, any of which is meant.
#[derive(Clone, Debug)]
pub struct Addresses {
    list: AddressList,
    /// Addresses that no list can have: the null sender, `#@[]` of a double bounce, and those without a domain.
    special: Vec<Vec<u8>>,
}

impl Addresses {
    /// Reads the words of an option, such as `--sender`; `<>` is the null sender. `None` without words: nothing is
    /// asked for.
    ///
    /// # Errors
    /// A word that can match nothing, with what to write instead. An empty word is one of them: a script whose variable is
    /// empty does not mean the null sender.
    pub fn read(option: &str, words: &[String]) -> Result<Option<Self>, String> {
        if words.is_empty() {
            return Ok(None);
        }
        let (mut special, mut text) = (Vec::new(), String::new());
        for word in words {
            let word = word.trim();
            if word.is_empty() {
                return Err(empty_word(option));
            }
            let inner = word.strip_prefix('<').and_then(|inner| inner.strip_suffix('>'));
            // `root` has no domain, `sillyplace.com` is more likely to be one; `<sillyplace.com>` is what it says.
            let is_mailbox = !word.contains(['@', '*', '?']) && (inner.is_some() || !word.contains('.'));
            let word = inner.unwrap_or(word);
            if word.is_empty() || word.starts_with('#') || is_mailbox && !word.contains(char::is_control) {
                special.push(fold(word.as_bytes()));
                continue;
            }
            if word.contains(['*', '?']) {
                return Err(format!(
                    "{option} {word}: write an address or @host, as in badmailfrom; there are no globs"
                ));
            }
            let doubts = AddressList::warnings(option, Dialect::Qmail, word.as_bytes());
            if word.chars().any(char::is_control) {
                return Err(format!("{option} {word:?}: no address has such octets in it"));
            }
            if let Some(doubt) = doubts.first().filter(|_| !word.contains('@')) {
                return Err(format!("{option}: {}", doubt.what));
            }
            text.push_str(word);
            text.push('\n');
        }
        let list = AddressList::parse(option.into(), Dialect::Qmail, text.as_bytes());
        let told = |faults: Vec<_>| faults.into_iter().next().map_or(String::new(), |fault: ListFault| fault.what);
        Ok(Some(Self { list: list.map_err(told)?, special }))
    }

    /// Whether an address, as it was stored or logged, is one of them.
    pub fn has(&self, address: &[u8]) -> bool {
        let folded = fold(address);
        self.special.contains(&folded) || self.list.find_folded(&folded).is_some()
    }
}

/// The error for an empty word, wherever an address is asked for.
pub fn empty_word(option: &str) -> String {
    format!("{option} '': an empty word is not a valid address; the null sender is written <>")
}

/// Folds an address that qmail stored, which is free of quotes and routes. A blank or a dot at its end evades qmail's
/// own list; not this one.
fn fold(address: &[u8]) -> Vec<u8> {
    address::fold(without_trailing_dot(address.trim_ascii_end()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn they_are_compared_as_badmailfrom_is() {
        let stored = b"NewsLetter@SillyPlace.COM".as_slice();
        let table: &[(&[&str], &[u8], bool)] = &[
            (&["newsletter@sillyplace.com"], stored, true),
            (&["<NEWSLETTER@sillyplace.com.>"], stored, true),
            (&[" @sillyplace.com "], stored, true),
            (&["a@b.example", "@SILLYPLACE.com"], stored, true),
            (&["letter@sillyplace.com"], stored, false),
            (&["@place.com"], stored, false),
            (&["<>"], stored, false),
            (&["#@[]"], stored, false),
            (&["<>"], b"", true),
            (&["#@[]"], b"#@[]", true),
            (&["a@b.example"], b"a@b.example. ", true),
            (&["a@b.example"], b"", false),
            (&["root"], b"root", true),
            (&["<Root>"], b"root", true),
            (&["<odd.host>"], b"odd.host", true),
            (&["root"], b"root@b.example", false),
            (&["root@"], b"root", false),
        ];
        for (words, address, expected) in table {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(Addresses::read("--sender", &words).unwrap().unwrap().has(address), *expected, "{words:?}");
        }
        assert!(Addresses::read("--sender", &[]).unwrap().is_none());
    }

    #[test]
    fn words_that_can_match_nothing_are_refused() {
        let table = [
            ("sillyplace.com", "@"),
            ("*@sillyplace.com", "no globs"),
            ("", "the null sender is written <>"),
            (" ", "the null sender is written <>"),
            ("a@b\nc@d", "--sender"),
        ];
        for (word, expected) in table {
            let what = Addresses::read("--sender", &[word.to_owned()]).unwrap_err();
            assert!(what.contains(expected) && what.starts_with("--sender"), "{word:?}: {what}");
        }
    }
}

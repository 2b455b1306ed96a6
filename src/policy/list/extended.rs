//! Entries of the `extended` dialect: `address`, `@host`, `.domain` and globs.
//!
//! An entry that can match nothing is refused with what to write instead: silently dead, it would refuse nobody. It
//! must not look at the file around the entry (comments, `!`): the list does that.

use memchr::memchr;
use memchr::memrchr;

use crate::smtp::address::fold_domain;
use crate::smtp::address::without_trailing_dot;

/// The pattern of an entry. All texts are folded.
#[derive(Debug, PartialEq, Eq)]
pub enum Pattern {
    /// A `.domain`, with the dot: every host below it.
    Below(Vec<u8>),
    /// An address, or `@host`.
    Exact(Vec<u8>),
    /// A glob with `*` and `?`.
    Glob(Glob),
}

/// `*` matches any run of octets, `?` one octet; there are no classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Box<[u8]>);

impl Glob {
    /// A glob that begins with `@` looks at `host` (`@` and the domain), any other at the whole address.
    pub fn matches(&self, folded: &[u8], host: Option<&[u8]>) -> bool {
        match (self.0.first(), host) {
            (Some(b'@'), Some(host)) => matches_glob(&self.0, host),
            (Some(b'@'), None) => false,
            _ => matches_glob(&self.0, folded),
        }
    }
}

/// Reads one entry, without the `!` of an exception.
///
/// # Errors
/// The fault in the entry, and what to write instead.
pub fn parse_entry(entry: &[u8]) -> Result<Pattern, String> {
    let folded = fold(without_trailing_dot(entry))?;
    if let Some(what) = fault(&folded) {
        return Err(what);
    }
    // `*@host` and `@host` say the same, and `@*.domain` and `.domain`: the table is faster than a glob.
    let folded = folded.strip_prefix(b"*").filter(|rest| rest.starts_with(b"@")).unwrap_or(&folded);
    let below = folded.strip_prefix(b"@*").filter(|rest| rest.starts_with(b".")).unwrap_or(folded);
    if !is_glob(below) && below.starts_with(b".") && memchr(b'@', below).is_none() {
        return Ok(Pattern::Below(below.strip_suffix(b".").unwrap_or(below).to_vec()));
    }
    if is_glob(folded) {
        return Ok(Pattern::Glob(Glob(folded.into())));
    }
    Ok(Pattern::Exact(folded.to_vec()))
}

/// Folds an entry as addresses are folded. In a domain with globs each label is converted by itself, and one that has a
/// glob cannot be.
fn fold(entry: &[u8]) -> Result<Vec<u8>, String> {
    let domain = memrchr(b'@', entry).or_else(|| entry.starts_with(b".").then_some(0)).map_or(entry.len(), |at| at + 1);
    let (before, domain) = entry.split_at(domain);
    if domain.is_ascii() || !is_glob(domain) {
        return Ok([before.to_ascii_lowercase(), fold_domain(domain)].concat());
    }
    let mut folded = before.to_ascii_lowercase();
    for (index, label) in domain.split(|&octet| octet == b'.').enumerate() {
        if is_glob(label) && !label.is_ascii() {
            let label = String::from_utf8_lossy(label);
            return Err(format!(
                "domains are compared as A-labels (xn--...), so {label} matches nothing: write it as one"
            ));
        }
        folded.extend((index > 0).then_some(b'.'));
        folded.extend(fold_domain(label));
    }
    Ok(folded)
}

fn is_glob(entry: &[u8]) -> bool {
    entry.iter().any(|octet| matches!(octet, b'*' | b'?'))
}

fn fault(entry: &[u8]) -> Option<String> {
    let shown = String::from_utf8_lossy(entry);
    let at = memchr(b'@', entry);
    let what = match entry {
        [] => "an exception needs an entry after the !".to_owned(),
        _ if entry.len() > MAX_ENTRY => "the entry is longer than any address".to_owned(),
        _ if entry.iter().any(u8::is_ascii_control) => {
            "control octets match nothing: write one entry per line".to_owned()
        }
        _ if has_comment(entry) => "put the comment on a line of its own, after #".to_owned(),
        [b'!', ..] => "write one ! for an exception".to_owned(),
        [b'<', ..] | [.., b'>'] => format!("write {} without < and >", shown.trim_matches(['<', '>'])),
        _ if entry.iter().any(|octet| matches!(octet, b'"' | b'\\')) => {
            "addresses are compared without quotes and backslashes: leave them out".to_owned()
        }
        [.., b'@'] => format!("{shown} has no domain: write {shown}* for any domain"),
        [b'@', b'.', rest @ ..] => {
            let rest = String::from_utf8_lossy(rest);
            format!("{shown} matches nothing: write @{rest} for that host, .{rest} for all below it")
        }
        [b'.'] => "a dot alone matches nothing".to_owned(),
        _ if at.is_some_and(|at| memchr(b' ', &entry[at..]).is_some()) => "write one entry per line".to_owned(),
        [b'.', ..] => return None,
        _ if at.is_none() && !is_glob(entry) => {
            format!(
                "{shown} is neither an address nor a domain: write @{shown} for that host, .{shown} for all below it"
            )
        }
        _ => return None,
    };
    Some(what)
}

/// Whether a comment, ` #`, stands behind the entry.
fn has_comment(entry: &[u8]) -> bool {
    entry.windows(2).any(|pair| matches!(pair, [b' ' | b'\t', b'#']))
}

/// Whether `pattern` matches all of `text`. A mismatch goes back to the last star only: at most `pattern * text` steps.
pub fn matches_glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut here, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while seen < text.len() {
        match pattern.get(here) {
            Some(b'*') => {
                star = Some((here, seen));
                here += 1;
            }
            Some(&octet) if octet == b'?' || octet == text[seen] => {
                here += 1;
                seen += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                here = at + 1;
                seen = taken + 1;
            }
        }
    }
    pattern[here..].iter().all(|&octet| octet == b'*')
}

/// Octets of the longest entry; qmail takes addresses of up to 899.
const MAX_ENTRY: usize = 900;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::any;
    use proptest::prop_assert_eq;
    use proptest::proptest;

    use super::*;

    #[test]
    fn entries_that_match_nothing_are_refused_with_what_to_write() {
        let cases = [
            ("a bare domain", "bare.example", "write @bare.example for that host, .bare.example"),
            ("an empty host", "user@", "write user@*"),
            ("@ alone", "@", "write @*"),
            ("@.domain", "@.x.example", ".x.example for all below it"),
            ("brackets", "<a@b.example>", "write a@b.example without"),
            ("quotes", "\"a b\"@c.example", "leave them out"),
            ("an inline comment", "a@b.example # why", "line of its own"),
            ("two entries", "a@b.example c@d.example", "one entry per line"),
            ("nothing", "", "an exception needs"),
            ("two exclamation marks", "!a@b.example", "one ! for an exception"),
            ("a dot", ".", "matches nothing"),
            ("a TAB", "a@b\tc", "control octets"),
        ];
        for (what, entry, told) in cases {
            let fault = parse_entry(entry.as_bytes());
            assert!(fault.as_ref().is_err_and(|fault| fault.contains(told)), "{what}: {fault:?}");
        }
        assert!(parse_entry(&[b'a'; 901]).is_err());
    }

    #[test]
    fn globs_that_the_table_can_hold_are_put_there() {
        let cases = [
            ("*@*.x.example", Pattern::Below(b".x.example".to_vec())),
            ("@*.x.example", Pattern::Below(b".x.example".to_vec())),
            (".X.example.", Pattern::Below(b".x.example".to_vec())),
            ("*@x.example", Pattern::Exact(b"@x.example".to_vec())),
            ("a@x.example.", Pattern::Exact(b"a@x.example".to_vec())),
            ("*@*x.example", Pattern::Glob(Glob(b"@*x.example".as_slice().into()))),
            ("*.ru", Pattern::Glob(Glob(b"*.ru".as_slice().into()))),
        ];
        for (entry, pattern) in cases {
            assert_eq!(parse_entry(entry.as_bytes()), Ok(pattern), "{entry}");
        }
    }

    /// The definition of a glob, exponential.
    fn model(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => model(rest, text) || (!text.is_empty() && model(pattern, &text[1..])),
            ([b'?', rest @ ..], [_, text @ ..]) => model(rest, text),
            ([octet, rest @ ..], [first, text @ ..]) => octet == first && model(rest, text),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn globs_match_as_they_are_defined(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            prop_assert_eq!(matches_glob(pattern.as_bytes(), text.as_bytes()), model(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn no_entry_is_too_strange(entry in any::<Vec<u8>>()) {
            drop(parse_entry(&entry));
        }
    }
}

//! What to write instead of a line of badmailfrom that matches nothing: several addresses in a line, reasons and comments
//! behind one, brackets, blanks that do not show, patterns of other programs. It must not decide whether a line needs a
//! remedy: `lint` does.

use std::net::IpAddr;
use std::net::Ipv4Addr;

use memchr::memrchr;

use crate::policy::list::extended::parse_entry;

/// Lines to write instead of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Remedy {
    /// The lines; none where nothing was recognised.
    pub(super) lines: Vec<String>,
    /// Whether they need dialect = "extended".
    pub(super) extended: bool,
    /// Whether the old line had more, which is a comment or a reason.
    pub(super) has_rest: bool,
}

/// Whether a line can match an address that a sender may have: something, `@`, and a domain.
pub(super) fn is_live(entry: &[u8]) -> bool {
    let Some(at) = memrchr(b'@', entry) else { return false };
    let (local, domain) = (&entry[..at], &entry[at + 1..]);
    entry.len() <= MOST && (is_domain(domain) || at > 0 && is_used(domain)) && is_local(local)
}

/// Whether senders have such a domain, although DNS has not: devices send as `root@192.0.2.1`, some hosts as `a@x-.example`.
fn is_used(domain: &[u8]) -> bool {
    let Ok(domain) = str::from_utf8(domain) else { return false };
    let is_label = |label: &str| {
        label.contains(char::is_alphanumeric) && label.chars().all(|letter| letter.is_alphanumeric() || letter == '-')
    };
    let is_marked = domain.ends_with('-') || domain.bytes().all(|octet| octet.is_ascii_digit() || octet == b'.');
    domain.parse::<Ipv4Addr>().is_ok() || !is_marked && domain.contains('.') && domain.split('.').all(is_label)
}

/// Whether a name is one that DNS may have, or an address literal.
pub(super) fn is_domain(name: &[u8]) -> bool {
    if let [b'[', inside @ .., b']'] = name {
        return !inside.is_empty()
            && inside.iter().all(|octet| octet.is_ascii_alphanumeric() || b".:-".contains(octet));
    }
    let Ok(name) = str::from_utf8(name) else { return false };
    let is_letter = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_');
    let is_label = |label: &str| {
        let ends = [label.chars().next(), label.chars().next_back()];
        label.chars().all(is_letter) && ends.iter().all(|end| end.is_some_and(|end| end != '-'))
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.split('.').all(is_label) && !last.bytes().all(|octet| octet.is_ascii_digit())
}

/// Whether a local part, or none, stands as qmail compares it: without quotes, blanks at its ends and marks.
fn is_local(local: &[u8]) -> bool {
    let is_odd = |octet: &u8| octet.is_ascii_control() || b"\"\\<>()[],;:*?".contains(octet);
    let marked = matches!(local.first(), Some(b'!' | b'~' | b'^')) || local.starts_with(b"//");
    let several = local.contains(&b'@') && (local.contains(&b' ') || local.contains(&b'|'));
    let text = String::from_utf8_lossy(local);
    let hidden = text.chars().any(|letter| is_blank(letter) && letter != ' ' || is_hidden(letter));
    !local.iter().any(is_odd) && !marked && !several && !hidden && local.trim_ascii() == local
}

/// The remedy for a line of a list of addresses.
pub(super) fn of_addresses(line: &[u8]) -> Remedy {
    let line = tidy(line);
    let bracketed: Vec<&str> = line.split('<').skip(1).filter_map(|rest| Some(rest.split_once('>')?.0)).collect();
    let mut remedy = Remedy::default();
    if !bracketed.is_empty() && bracketed.iter().all(|inside| inside.contains('@')) {
        bracketed.iter().for_each(|inside| remedy.take(inside));
        let outside = line.split('<').map(|part| part.split_once('>').map_or(part, |(_, behind)| behind));
        remedy.has_rest = outside.skip(1).any(|part| part.contains(|letter: char| letter.is_alphanumeric()));
        return remedy;
    }
    let words: Vec<&str> = line.split([' ', ',', ';', '|']).filter(|word| !word.is_empty()).collect();
    let is_list = line.contains([',', ';', '|']);
    for (at, word) in words.iter().enumerate() {
        if is_comment(word) {
            remedy.has_rest = true;
            break;
        }
        let known = remedy.lines.len();
        let is_domain = word.contains('.') && (at == 0 || is_list);
        if word.contains('@') || is_domain || words.len() == 1 {
            remedy.take(word);
        }
        remedy.has_rest |= remedy.lines.len() == known;
    }
    remedy
}

/// The remedy for a line of a list of domains: rcpthosts.
pub(super) fn of_domains(line: &[u8]) -> Remedy {
    let mut remedy = Remedy::default();
    for word in tidy(line).split([' ', ',', ';', '|']).filter(|word| !word.is_empty()) {
        let name = bare(word).trim_start_matches(['*', '@']);
        let name = name.trim_end_matches('.').split(['#', '/', ':']).next().unwrap_or_default();
        let is_name = is_domain(name.strip_prefix('.').unwrap_or(name).as_bytes());
        if is_comment(word) || !is_name || (!remedy.lines.is_empty() && !name.contains('.')) {
            remedy.has_rest = true;
            break;
        }
        remedy.lines.push(name.to_owned());
    }
    remedy
}

impl Remedy {
    /// Adds what stands for one word, if that is known.
    fn take(&mut self, word: &str) {
        let Some((line, extended)) = entry(word) else { return };
        let is_read = |line: &str| parse_entry(line.strip_prefix('!').unwrap_or(line).as_bytes()).is_ok();
        if extended && !is_read(&line) {
            return;
        }
        if !self.lines.contains(&line) {
            self.lines.push(line);
        }
        self.extended |= extended;
    }
}

/// The words about a remedy: `write "a@b.example"`.
pub(super) fn told(remedy: &Remedy) -> Option<String> {
    let shown: Vec<String> = remedy.lines.iter().take(MOST_LINES).map(|line| format!("\"{line}\"")).collect();
    let lines = match &shown[..] {
        [] => return None,
        [one] => format!("write {one}"),
        [all @ .., last] => format!("write one entry per line: {} and {last}", all.join(", ")),
    };
    let rest = if remedy.has_rest { ", and the rest on its own line after #" } else { "" };
    let dialect = if remedy.extended { " and set dialect = \"extended\"" } else { "" };
    Some(format!("{lines}{dialect}{rest}"))
}

/// The entry that a word stands for, and whether it needs dialect = "extended".
fn entry(word: &str) -> Option<(String, bool)> {
    let word = bare(word);
    if is_live(word.as_bytes()) {
        return Some((word.to_owned(), false));
    }
    if let Some(at) = word.rfind('@') {
        // A reason right behind the domain.
        let end = word[at..].find(['#', '/', ':', '(', ')', ',', ';', '"', '\'']).map_or(word.len(), |end| at + end);
        let cut = word[..end].trim_end_matches(['.', '-', '=', '+']);
        if is_live(cut.as_bytes()) {
            return Some((cut.to_owned(), false));
        }
    }
    if let Some(host) = word.strip_prefix("*@").filter(|host| is_domain(host.as_bytes())) {
        return Some((format!("@{host}"), false));
    }
    let below = ["*@*.", "@*.", "@.", "*.", "."].iter().find_map(|mark| word.strip_prefix(mark));
    if let Some(domain) = below.filter(|domain| is_domain(domain.as_bytes())) {
        return Some((format!(".{domain}"), true));
    }
    if let Some(ip) = word.strip_prefix('@').and_then(|ip| ip.parse::<IpAddr>().ok()).filter(IpAddr::is_ipv4) {
        return Some((format!("@[{ip}]"), false));
    }
    if let Some(excepted) = word.strip_prefix(['!', '?']) {
        let (excepted, _) = entry(excepted).filter(|(excepted, _)| !excepted.starts_with('!'))?;
        return Some((format!("!{excepted}"), true));
    }
    if let Some(local) = word.strip_suffix('@').filter(|local| !local.is_empty() && is_local(local.as_bytes())) {
        return Some((format!("{local}@*"), true));
    }
    let host = word.split(['/', '#', ':']).next().unwrap_or_default();
    if !word.contains(['@', '*', '?']) && is_domain(host.as_bytes()) {
        return Some((format!("@{host}"), false));
    }
    let is_glob = word.contains(['*', '?']) && word.contains(|letter: char| letter.is_alphanumeric());
    (is_glob && is_plain(word) && parse_entry(word.as_bytes()).is_ok()).then(|| (word.to_owned(), true))
}

/// Whether a glob has nothing that looks like another program's pattern.
fn is_plain(word: &str) -> bool {
    !word.contains([',', ';', '|', '[', ']', '(', ')', '{', '}', '^', '$', '+', '\\', '"', '\'', '<', '>', ':', '~'])
}

/// The glob that a regular expression of qregex stands for, where there is one: `.*@x\.example`, `^spam@.*$`.
pub(super) fn of_regex(expression: &[u8]) -> Remedy {
    let mut remedy = Remedy::default();
    let tidied = tidy(expression);
    if let Some(glob) = glob(&tidied) {
        remedy.take(&glob);
    }
    remedy
}

fn glob(expression: &str) -> Option<String> {
    let expression = expression.strip_prefix('^').unwrap_or(expression);
    let expression = expression.strip_suffix('$').unwrap_or(expression);
    let mut glob = String::new();
    let mut letters = expression.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '.' if letters.next_if(|next| matches!(next, '*' | '+')).is_some() => glob.push('*'),
            '\\' => glob.push(letters.next().filter(|escaped| !escaped.is_alphanumeric())?),
            '*' | '+' | '?' | '[' | ']' | '(' | ')' | '{' | '}' | '|' | '^' | '$' | '!' | ' ' => return None,
            _ => glob.push(letter),
        }
    }
    Some(glob)
}

/// A line in which each blank is a blank, nothing is hidden, and signs are those of ASCII; a blank beside `@` is gone.
fn tidy(line: &[u8]) -> String {
    let text = match str::from_utf8(line) {
        Ok(text) => text.to_owned(),
        // A blank that does not break, in Latin-1.
        Err(_) => String::from_utf8_lossy(
            &line.iter().map(|octet| if *octet == 0xA0 { b' ' } else { *octet }).collect::<Vec<u8>>(),
        )
        .into_owned(),
    };
    let letters = text.chars().filter(|letter| !is_hidden(*letter)).map(|letter| match letter {
        '\u{FF20}' | '\u{FE6B}' => '@',
        '\u{FF0E}' | '\u{3002}' | '\u{FF61}' => '.',
        '\u{201C}' | '\u{201D}' | '\u{201E}' | '\u{AB}' | '\u{BB}' => '"',
        '\u{2018}' | '\u{2019}' => '\'',
        '\u{FF0C}' => ',',
        _ if is_blank(letter) => ' ',
        _ => letter,
    });
    let mut tidied: String = letters.collect();
    while tidied.contains("@ ") {
        tidied = tidied.replace("@ ", "@");
    }
    let tidied = tidied.trim();
    // "joe @x.example", but not "a@b.example @x.example".
    match tidied.split_once(" @") {
        Some((local, host)) if !local.trim().contains([' ', '@', '.', ',', ';']) => format!("{}@{host}", local.trim()),
        _ => tidied.to_owned(),
    }
}

/// A word without quotes, brackets and signs around it, and without `mailto:`.
fn bare(word: &str) -> &str {
    let around = ['"', '\'', '`', '<', '>', '(', ')', '{', '}', ',', ';'];
    let word = word.trim_matches(around).trim_end_matches(['.', ':']);
    let scheme = |mark: &&&str| word.get(..mark.len()).is_some_and(|start| start.eq_ignore_ascii_case(mark));
    let word = SCHEMES.iter().find(scheme).map_or(word, |mark| &word[mark.len()..]);
    word.trim_matches(around).trim_end_matches('.')
}

fn is_comment(word: &str) -> bool {
    word.starts_with('#') || word.starts_with("//") || word.starts_with("/*") || word.trim_matches('-').is_empty()
}

fn is_blank(letter: char) -> bool {
    letter.is_whitespace() || letter.is_control()
}

/// Whether a letter takes no room on a screen: a byte order mark, a soft hyphen, marks of direction.
fn is_hidden(letter: char) -> bool {
    matches!(letter, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

const SCHEMES: [&str; 7] = ["mailto:", "from:", "sender:", "smtp:", "http://", "https://", "envelope-from:"];
/// Octets of the longest entry: qmail takes addresses of up to 899.
const MOST: usize = 900;
/// Lines of a remedy that are shown.
const MOST_LINES: usize = 4;

//! Follows the remedies that are printed: what an error says to write is written, by rule and without thinking, and then the
//! error is gone and has brought no other. It must not know any key.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;

use crate::config::faults::Fault;
use crate::config::parse;

#[test]
fn a_remedy_that_is_printed_works_when_it_is_followed() {
    let mut followed = 0;
    let (mut open, mut wrong) = (Vec::new(), Vec::new());
    for text in planted().chain(OTHERS.iter().map(|text| with_backend(text))) {
        match follow(&text) {
            Ok(steps) => followed += steps,
            Err(Stuck::Unclear(what)) => open.push(what),
            Err(Stuck::Wrong(what)) => wrong.push(format!("{text}{what}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(followed > 150, "{followed}");
    // These ask for something that only the operator knows.
    let known = |what: &String| ASK_FOR_MORE.iter().any(|known| what.contains(known));
    let unknown: Vec<&String> = open.iter().filter(|what| !known(what)).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

enum Stuck {
    /// The remedy is none that a rule can follow.
    Unclear(String),
    /// It was followed, and there is an error still, or another one.
    Wrong(String),
}

/// Follows the remedy of the first error, again and again; gives the number of steps to a file without errors.
fn follow(text: &str) -> Result<usize, Stuck> {
    let mut text = text.to_owned();
    for steps in 0..MOST_STEPS {
        let faults = faults(&text);
        let Some(first) = faults.first() else { return Ok(steps) };
        let Some(better) = apply(&text, first) else { return Err(Stuck::Unclear(first.to_string())) };
        let known: BTreeSet<&str> = faults[1..].iter().map(|fault| fault.what.as_str()).collect();
        // A part that could not be read, or had another name, may have errors of its own.
        let hides = HIDING.iter().any(|hiding| first.what.contains(hiding));
        let left = self::faults(&better);
        let new = left.iter().find(|fault| fault.what == first.what || !(hides || known.contains(fault.what.as_str())));
        if let Some(new) = new.filter(|_| left.len() >= faults.len() || !known.contains(first.what.as_str())) {
            return Err(Stuck::Wrong(format!("-- {first}\nfollowed:\n{better}\n-- {new}")));
        }
        text = better;
    }
    Err(Stuck::Wrong("it does not come to an end".to_owned()))
}

fn faults(text: &str) -> Vec<Fault> {
    parse(Path::new("p.toml"), text).err().unwrap_or_default()
}

/// The text as the remedy says, where one of a few forms is recognised.
fn apply(text: &str, fault: &Fault) -> Option<String> {
    let what = fault.what.as_str();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.resize(lines.len().max(fault.line as usize).max(1), String::new());
    let at = (fault.line as usize).saturating_sub(1);
    let (_, remedy) = what.rsplit_once("write ").unwrap_or(("", what));
    if let Some(value) = remedy.strip_prefix("it in quotes: ") {
        let key = lines[at].split('=').next()?.to_owned();
        lines[at] = format!("{key}= {value}");
    } else if what.contains("leave it out") || what.contains("write it once") || what.contains("leave one of them out")
    {
        leave_out(&mut lines, at, fault.column);
    } else if let Some(key) = what.rsplit_once(": leave ").and_then(|(_, key)| key.strip_suffix(" out")) {
        lines.retain(|line| !line.starts_with(key));
    } else if let Some(section) = what.split_once("it belongs in ").map(|(_, section)| section) {
        let line = lines.remove(at);
        insert(&mut lines, section, &line);
    } else if remedy.starts_with("[[") {
        let header = remedy.split(' ').next()?;
        lines[at] = header.to_owned();
    } else if remedy.starts_with('[') && remedy.ends_with(']') && !remedy.contains('"') {
        lines[at] = remedy.to_owned();
    } else if let Some(section) = remedy.strip_suffix(" and its keys below it") {
        lines.remove(at);
        lines.push(section.to_owned());
    } else if let Some(name) = remedy.strip_suffix(" instead").filter(|name| !name.starts_with('"')) {
        let (before, after) = split(&lines[at], fault.column);
        let rest = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "_-".contains(c));
        lines[at] = format!("{before}{name}{rest}");
    } else if let Some(keys) = assignments(remedy) {
        for (key, value) in keys {
            assign(&mut lines, at, remedy, &key, &value);
        }
    } else {
        let value = value(remedy)?;
        let (before, after) = split(&lines[at], fault.column);
        let rest = &after[value_length(&after)..];
        lines[at] = format!("{before}{value}{rest}");
    }
    Some(lines.join("\n") + "\n")
}

/// `"x"`, `such as "x"`, `true or false`, `5`, `a number from 1 to 9`.
fn value(remedy: &str) -> Option<String> {
    if let Some(start) = remedy.find('"') {
        let end = start + 1 + remedy[start + 1..].find('"')?;
        return Some(remedy[start..=end].to_owned());
    }
    let remedy = remedy.trim_start_matches("a number from ");
    let word = remedy.split(' ').next()?;
    (word == "true" || word == "false" || word.parse::<u64>().is_ok()).then(|| word.to_owned())
}

/// `key = value`, and another behind `and`.
fn assignments(remedy: &str) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut rest = remedy;
    while let Some((before, after)) = rest.split_once(" = ") {
        let key = before.rsplit(' ').next()?.to_owned();
        if !after.starts_with(['"', '[', '{']) {
            return None;
        }
        let length = value_length(after);
        found.push((key, after[..length].replace("...", "other")));
        rest = &after[length..];
    }
    (!found.is_empty()).then_some(found)
}

/// Writes the key over the line that has it, or where the remedy says, or where the error is.
fn assign(lines: &mut Vec<String>, at: usize, remedy: &str, key: &str, value: &str) {
    let (section, key) = key.rsplit_once('.').unwrap_or(("", key));
    let line = format!("{key} = {value}");
    let has = |line: &String| line.split('=').next().is_some_and(|name| name.trim() == key);
    let named = remedy.split_once(" in [").map(|(_, rest)| format!("[{}]", rest.split(']').next().unwrap_or_default()));
    let is_header = |line: &String| line.starts_with('[');
    let begin = lines[..=at].iter().rposition(is_header).map_or(0, |header| header + 1);
    let end = lines[at + 1..].iter().position(is_header).map_or(lines.len(), |header| at + 1 + header);
    let own = (begin..end).find(|line| has(&lines[*line]));
    match () {
        () if !section.is_empty() => insert(lines, &format!("[{section}]"), &line),
        () if named.is_some() => insert(lines, &named.unwrap_or_default(), &line),
        () if own.is_some() => lines[own.unwrap_or_default()] = line,
        () => lines.insert(at + 1, line),
    }
}

/// Writes a line below a header, which is made where it is missing.
fn insert(lines: &mut Vec<String>, header: &str, line: &str) {
    match lines.iter().position(|found| found.trim() == header) {
        Some(at) => lines.insert(at + 1, line.to_owned()),
        None => lines.extend([header.to_owned(), line.to_owned()]),
    }
}

/// Removes an element of a list, a pair of a table, or the whole line.
fn leave_out(lines: &mut Vec<String>, at: usize, column: u32) {
    let (before, after) = split(&lines[at], column);
    let is_element =
        before.trim_end().ends_with([',', '[']) || before.trim().is_empty() && after.trim_end().ends_with(',');
    if !is_element {
        lines.remove(at);
        return;
    }
    let rest = after[value_length(&after)..].trim_start_matches(',').to_owned();
    lines[at] = format!("{}{rest}", before.trim_end().trim_end_matches(','));
}

fn split(line: &str, column: u32) -> (String, String) {
    let octet = line.char_indices().nth((column as usize).saturating_sub(1)).map_or(line.len(), |(octet, _)| octet);
    (line[..octet].to_owned(), line[octet..].to_owned())
}

/// Octets of the value that a text begins with.
fn value_length(text: &str) -> usize {
    let (mut depth, mut quoted) = (0_i32, None);
    for (octet, character) in text.char_indices() {
        match (quoted, character) {
            (Some(quote), _) if character == quote => quoted = None,
            (Some(_), _) => continue,
            (None, '"' | '\'') => {
                quoted = Some(character);
                continue;
            }
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') if depth == 0 => return octet,
            (None, ']' | '}') => depth -= 1,
            (None, ',' | ' ') if depth == 0 => return octet,
            (None, _) => continue,
        }
        if depth == 0 && quoted.is_none() {
            return octet + character.len_utf8();
        }
    }
    text.len()
}

/// The mistakes of the table of messages.
fn planted() -> impl Iterator<Item = String> {
    include_str!("mistakes.txt").split("\n== ").skip(1).map(|mistake| {
        let lines = mistake.lines().skip(1).filter(|line| !line.starts_with("-- "));
        with_backend(&lines.collect::<Vec<_>>().join("\n"))
    })
}

fn with_backend(text: &str) -> String {
    let backend = if text.contains("[backend") { "" } else { "[backend]\nmaildir = \"mail\"\n" };
    format!("{}\n{backend}", text.trim_end())
}

const MOST_STEPS: usize = 8;

const HIDING: &[&str] = &[
    "expected",
    "nvalid",
    "defined multiple",
    "has no key",
    "there is no section",
    "it belongs in",
    "several of them",
    "no backend",
    "this is not a table",
    "tls.required cannot be",
];

/// Remedies that name a choice, or something that no rule can know.
const ASK_FOR_MORE: &[&str] = &[
    "its keys are ",
    "the sections are ",
    "write another name",
    "write another port",
    "write exactly one of",
    "close the text on the line",
    "write a comma between",
    "write KEY = VALUE",
    "write # before a comment",
    "write straight quotes",
    "write = in place of",
    "write it without control characters",
    "write a name without = and no NUL",
    "write a name without blanks",
    "write the path of a",
    "write a URL or an address",
    "write it for your own networks",
    "write a smaller one",
    "write a shorter first",
    "write it in one of them",
    "write [[throttle]] and keys below it",
];

/// Mistakes as they are made, beside those of the table.
const OTHERS: &[&str] = &[
    "[message]\nhold = True",
    "[message]\nhold = no",
    "[server]\nauth = off",
    "[server]\nmax_errors = 010",
    "[server]\nlisten = 127.0.0.1:25",
    "[server]\nlisten = \"127.0.0.1:25\", \"127.0.0.1:26\"",
    "[server]\nhostname = \"mx.example\";",
    "[server]\nhostname = mx.example",
    "[backend]\nmaildir = ./mail",
    "[backend]\nspawn = \"prog -x\"",
    "[backend]\nspawn = \"prog\"",
    "[backend]\nspawn = \"/usr/sbin/smtpfront-qmail --x  y\"",
    "[backend]\nspawn = \"fixcrio smtpfront-qmail 2>&1\"",
    "[backend]\nspawn = \"sh -c 'exec x'\"",
    "[backend]\nspawn = \"\"",
    "[backend]\nspawn = 5",
    "[backend]\nspawn = [\"prog\", \"-x\"]",
    "[backend]\nspawn = [5]",
    "[backend]\ntcp = \"localhost\"",
    "[backend]\ntcp = 25",
    "[backend]\ntcp = [\"127.0.0.1:26\"]",
    "[backend]\ntcp = true",
    "[backend]\nmaildir = 5",
    "[backend]\nmaildir = [\"mail\"]",
    "[backend]\nmaildir = \"m\"\nmax = \"40\"",
    "[backend]\nmaildir = \"m\"\nmax = 0",
    "[backend]\nmaildir = \"m\"\nidentity = \"proxy\"",
    "[backend]\nmaildir = \"m\"\ntimeout = \"5m\"",
    "[backend]\nmaildir = \"m\"\ntimeout = 30",
    "[backend]\nmaildir = \"m\"\nenv = [\"A=1\"]",
    "[backend]\nmaildir = \"m\"\nenv = { A = true }",
    "[backend]\ntcp = \"127.0.0.1:26\"\nverify = \"yes\"",
    "[backend]\ntcp = \"127.0.0.1:26\"\ntls = true",
    "[backend]\nkeepalive = 5",
    "[qmail]\nlookup = \"on\"",
    "[qmail]\nlookup = \"paranoid\"",
    "[qmail]\nlookup = true",
    "[qmail]\ncontrol = [\"/var/qmail/control\"]",
    "[state]\nurl = \"redis://127.0.0.1\"",
    "[state]\nurl = \"redb:\"",
    "[state]\nurl = \"memory\"",
    "[state]\nurl = \"/var/lib/portcullis/state\"",
    "[state]\nurl = \"sqlite:x.db\"",
    "[state]\nurl = \"\"",
    "[state]\nurl = false",
    "[admin]\nlisten = \"/run/p.sock\"",
    "[admin]\nlisten = \"./p.sock\"",
    "[admin]\nlisten = \"unix:\"",
    "[admin]\nlisten = \"0.0.0.0:8025\"",
    "[admin]\nlisten = \"localhost:8025\"",
    "[admin]\nlisten = \":8025\"",
    "[admin]\nlisten = \"http://127.0.0.1:8025/\"",
    "[admin]\nlisten = \"http://127.0.0.1:8025\"",
    "[admin]\nlisten = 8025",
    "[admin]\nlisten = false",
    "[admin]\nlisten = [\"127.0.0.1:8025\"]",
    "[server]\nlisten = \"25\"",
    "[server]\nlisten = 25",
    "[server]\nlisten = true",
    "[server]\nlisten = [25]",
    "[server]\nlisten = [\"25\"]",
    "[server]\nlisten = [\"*:25\"]",
    "[server]\nlisten = [\"localhost:25\"]",
    "[server]\nlisten = [\"LOCALHOST:2525\"]",
    "[server]\nlisten = [\"smtp://127.0.0.1:2525\"]",
    "[server]\nlisten = \"0.0.0.0\"",
    "[server]\nlisten = [\"::\"]",
    "[server]\nlisten = [\"mx.example.org:25\"]",
    "[server]\nlisten = [\"127.0.0.1:99999\"]",
    "[server]\nlisten = [\"127.0.0.1:25\", \"127.0.0.1:25\"]",
    "[server]\nlisten = [\"0.0.0.0:25\", \"127.0.0.1:25\"]",
    "[server]\nlisten_tls = [\"127.0.0.1:465\"]",
    "[server]\nuser = 5",
    "[server]\nuser = [\"qmaild\"]",
    "[server]\ngroup = \"nogroup\"",
    "[server]\nmax_connections = \"100\"",
    "[server]\nmax_connections = true",
    "[server]\nmax_recipients = -1",
    "[server]\ngreet_delay = true",
    "[server]\ngreet_delay = [\"5s\"]",
    "[server]\ngreet_delay = \"2m\"",
    "[server]\ntimeout = 30",
    "[server]\ntimeout = []",
    "[server]\ntimeout = { command = 30 }",
    "[server]\nmin_rate = true",
    "[server]\nmin_rate = 500",
    "[server]\nauth = 1",
    "[server]\nauth = [\"tls\"]",
    "[server]\nauth = \"no\"",
    "[server]\nproxy_protocol_from = \"10.0.0.0/8\"",
    "[server]\nproxy_protocol_from = \"ten\"",
    "[server]\nhostname = 5",
    "[server]\nhostname = true",
    "[server]\nhostname = mx1.example.org # ours",
    "[server]\ndrain = 5m",
    "[message]\nhold = \"no\"",
    "[message]\nhold = 1",
    "[message]\nhold_total = \"1 GB\"",
    "[message]\nhold_total = true",
    "[message]\nbare_newline_exempt = \"relayclient\"",
    "[message]\nbare_newline_exempt = \"all\"",
    "[message]\nmax_hops = \"30\"",
    "[message]\nspool = 7",
    "[senders]\nblocked = \"badmailfrom\"",
    "[senders]\nblocked = 5",
    "[senders]\ndialect = true",
    "[recipients]\nrouting = \"On\"",
    "[size]\nlimit = \"10M\"",
    "[size]\nlimit = true",
    "[[size.recipients]]\nmatch = \"example.org\"\nlimit = 1000",
    "[[size.recipients]]\nmatch = []\nlimit = \"10MB\"",
    "[[size.recipients]]\nlimit = 0",
    "[repeat]\nwindow = 7",
    "[repeat]\nexcept = \"relay\"",
    "[repeat]\nlimit = \"4\"",
    "[[throttle]]\nname = \"a\"\ncount = \"bytes\"\nper = [\"client\"]\nlimit = \"0\"",
    "[[throttle]]\nname = \"a\"\ncount = \"bytes\"\nper = [\"client\"]\nlimit = \"0B/day\"",
    "[[throttle]]\nname = \"a\"\ncount = \"mails\"\nper = \"client\"\nlimit = 5",
    "[[throttle]]\nname = \"a\"\ncount = \"mails\"\nper = \"sender-net\"\nlimit = \"5/d\"",
    "[[throttle]]\nname = 5\ncount = \"mails\"\nper = [\"client\"]\nlimit = \"5/day\"\nburst = 0",
    "[[throttle]]\nname = \"a\"\ncount = \"bytes\"\nper = [\"client\"]\nlimit = \"5MB/day\"\nburst = 0",
    "[[throttle]]\nname = \"a\"\ncount = \"mails\"\nper = [\"client\"]\nlimit = \"5/day\"\naction = \"block\"\nblock = \"1h\"",
    "[[throttle]]\nname = \"a\"\ncount = \"mails\"\nper = [\"client\"]\nlimit = \"5/day\"\nshadow = \"yes\"",
    "[[throttle]]\nname = \"a\"\ncount = \"connections\"\nper = [\"sender\"]\nlimit = \"5/day\"",
    "[tls]\nrequired = \"true\"",
    "[tls]\ncertificate = \"c.pem\"",
    "[tls]\ncertificate = [\"c.pem\"]\nkey = 5",
    "[[alert]]\nwebhook = 5",
    "[[alert]]\nwebhook = [\"https://example.org/hook\"]",
    "[[alert]]\ncommand = \"page me\"",
    "[[alert]]\ncommand = []",
    "[[alert]]\nwebhook = \"https://example.org/\"\nkinds = \"storm\"",
    "[[alert]]\nwebhook = \"https://example.org/\"\nfor = 5",
    "[[alert]]\nwebhook = \"https://example.org/\"\nrepeat = 0",
    "[alert]\nwebhook = \"https://example.org/\"",
    "[log]\nformat = true",
    "[log]\nlevel = \"warning\"",
    "[log]\ntime = \"iso\"",
    "listen = [\"127.0.0.1:25\"]",
    "[server]\nuser = \"q\"\nuser = \"r\"",
];

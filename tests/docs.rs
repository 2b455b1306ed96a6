//! The pages in docs/ against the program: what there is stands in the reference, what stands there is, every command
//! line can be typed, every link leads somewhere, no line is too long, no word is one that the glossary rules out. It must
//! not judge more of the words between.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use portcullis::policy::replies::DECLARED;
use portcullis::policy::verdict::Reason;
use portcullis::policy::verdict::Verdict;
use proxy::Proxy;
use proxy::Site;
use proxy::host::make_certificate;

#[test]
fn every_key_of_the_configuration() {
    let known = portcullis::config::known_keys();
    let dotted = |section: &str, key: &str| match section.trim_start_matches('[').trim_end_matches(']') {
        "" => key.to_owned(),
        section => format!("{section}.{key}"),
    };
    let sections: BTreeSet<String> = known.iter().map(|(section, _)| dotted("", &dotted(section, ""))).collect();
    let keys = known.iter().map(|(section, key)| dotted(section, key));
    let keys = keys.filter(|key| !sections.contains(&format!("{key}."))).collect();
    same("docs/reference/configuration.md", first_cells("configuration"), keys);
}

#[test]
fn the_defaults_are_those_of_the_default_file() {
    let rows = rows("configuration");
    let written = written_defaults(portcullis::config::DEFAULT_TEXT);
    assert!(written.len() > 40, "{written:?}");
    for (key, value) in written {
        let row = rows.iter().find(|row| row[0] == key).unwrap_or_else(|| panic!("{key} is missing"));
        assert_eq!(row[2], value, "the default of {key}");
    }
}

#[test]
fn what_needs_a_restart() {
    let source = source("src/daemon/reload.rs");
    let (_, list) = source.split_once("let changed = [").unwrap();
    let list = &list[..list.find("];").unwrap()];
    let mut keys: BTreeSet<String> = list.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    // Compared there with its section.
    keys.insert("admin.token_file".into());
    let rows = rows("configuration");
    assert!(rows.iter().all(|row| row.len() == 5 && ["reload", "restart"].contains(&row[3].as_str())), "{rows:?}");
    let named = rows.into_iter().filter(|row| row[3] == "restart").map(|row| row[0].clone()).collect();
    same("docs/reference/configuration.md, restart", named, keys);
}

#[test]
fn every_reply() {
    let declared = DECLARED.iter();
    // The one place without a name is always the wait.
    let lines = declared.map(|(_, code, status, text)| format!("{code} {status} {}", text.replace("{}", "{seconds}")));
    let lines = lines.map(|line| line.replace("  ", " ")).collect();
    same("docs/reference/replies.md", first_cells("replies"), lines);
}

#[test]
fn every_verdict_and_reason() {
    let verdicts = Verdict::ALL.iter().map(|verdict| verdict.as_str());
    let words = verdicts.chain(Reason::ALL.iter().map(|reason| reason.as_str())).map(str::to_owned).collect();
    same("docs/reference/reasons.md", first_cells("reasons"), words);
}

#[test]
fn every_line_of_the_log_and_every_key() {
    let events = events();
    assert!(events.len() > 30, "{events:#?}");
    let mut keys: BTreeSet<String> = ["level", "message", "time"].map(str::to_owned).into();
    keys.extend(events.iter().flat_map(|event| event.keys.iter().cloned()));
    let (lines, named): (Vec<_>, Vec<_>) = rows("log").into_iter().partition(|row| row.len() == 4);
    let lines = lines.into_iter().map(|row| format!("{} {}: {}", row[1], row[0], named_or_none(&row[2]))).collect();
    same("docs/reference/log.md, lines", lines, events.iter().map(Event::to_string).collect());
    same("docs/reference/log.md, keys", named.into_iter().map(|row| row[0].clone()).collect(), keys);
}

#[test]
fn every_metric() {
    let throttle = "[[throttle]]\nname = \"NAME\"\ncount = \"mails\"\nper = [\"sender\"]\nlimit = \"1/day\"\n";
    let throttles = throttle.replace("NAME", "one") + &throttle.replace("NAME", "dark") + "shadow = true\n";
    let tls = "[tls]\ncertificate = \"tls/certificate.pem\"\nkey = \"tls/key.pem\"\n";
    let site = Site::new("", &[&throttles, tls].concat()).with_throttles();
    fs::create_dir(site.path("tls")).unwrap();
    make_certificate(&site.path("tls"), &["localhost"]).unwrap();
    let proxy = Proxy::start(&site);
    let mut client = proxy.client().hello();
    client.mail("a@b.example", "Subject: x");
    client.dialog(&[("MAIL FROM:<a@b.example>", "450"), ("MAIL FROM:<c@b.example>", "250")]);
    client.dialog(&[("RCPT TO:<x@elsewhere.example>", "553"), ("FROB", "500"), ("QUIT", "221")]);
    client.rest();
    let metrics = site.get("/metrics");
    let mut families: BTreeMap<&str, (&str, BTreeSet<&str>)> = BTreeMap::new();
    for line in metrics.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            families.insert(name, (kind, BTreeSet::new()));
        } else if let Some((name, labels)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
            let bare = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let family = families.get_mut(bare.unwrap_or(name)).unwrap();
            let labels = labels.split_once('}').unwrap().0;
            family.1.extend(labels.split(',').map(|label| label.split_once('=').unwrap().0));
        }
    }
    let expected = families.iter().map(|(name, (kind, labels))| {
        let labels: Vec<&str> = labels.iter().copied().collect();
        format!("{name} {kind} {}", labels.join(", "))
    });
    let named = rows("metrics").into_iter().map(|row| format!("{} {} {}", row[0], row[1], named_or_none(&row[2])));
    let expected = expected.map(|line| line.trim_end().to_owned()).collect();
    same("docs/reference/metrics.md", named.map(|line| line.trim_end().to_owned()).collect(), expected);
}

#[test]
fn every_command_line_can_be_typed() {
    let mut typed = 0;
    for page in pages() {
        for line in commands(&read(&page)) {
            match portcullis::cli::try_words(&line) {
                Ok(()) => typed += 1,
                Err(what) => panic!("{}: {}\n{what}", page.display(), line.join(" ")),
            }
        }
    }
    assert!(typed > 30, "{typed}");
}

/// What editors say of a file is what `check` says of it, as far as one file tells.
#[test]
fn the_schema_agrees_with_check() {
    let site = Site::new("", "");
    site.write("schema.json", &site.run(&["check", "--schema"]).out);
    let whole =
        |text: String| if text.contains("[backend]") { text } else { text + "\n[backend]\nmaildir = \"mail\"\n" };
    let shown = pages().into_iter().flat_map(|page| fenced(&read(&page), "toml"));
    let mut files: Vec<String> = shown.map(whole).collect();
    files.push(portcullis::config::DEFAULT_TEXT.to_owned());
    files.extend(BROKEN.map(|text| whole(text.to_owned())));
    let names: Vec<String> = (0..files.len()).map(|number| format!("{number}.toml")).collect();
    names.iter().zip(&files).for_each(|(name, text)| site.write(name, text));
    let has_validator = |python: &&str| {
        let mut import = Command::new(python);
        import.args(["-c", "import jsonschema"]).output().is_ok_and(|output| output.status.success())
    };
    let python = ["python3", "/usr/bin/python3"].into_iter().find(has_validator).expect("python3-jsonschema");
    let mut python = Command::new(python);
    python.current_dir(site.path("")).args(["-c", VALIDATOR, "schema.json"]).args(&names);
    let outcome = python.output().unwrap();
    assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));
    let said = String::from_utf8(outcome.stdout).unwrap();
    assert_eq!(said.lines().count(), files.len());
    for (text, said) in files.iter().zip(said.lines()) {
        let faults = portcullis::config::parse(Path::new("x"), text).err();
        assert_eq!(said == "valid", faults.is_none(), "{text}\nschema: {said}\ncheck: {faults:?}");
    }
    assert_eq!(said.lines().filter(|said| *said != "valid").count(), BROKEN.len());
}

/// Each has an error that an editor can see.
const BROKEN: [&str; 26] = [
    "[server]\nlisen = [\"127.0.0.1:2525\"]",
    "[server]\nlisten = \"127.0.0.1:2525\"",
    "[server]\nlisten = [\"localhost\"]",
    "[server]\nmax_connections = 0",
    "[server]\nmax_connections = \"many\"",
    "[server]\ngreet_delay = \"5\"",
    "[server]\ntimeout = \"5m\"",
    "[server]\ntimeout = { comand = \"5m\" }",
    "[server]\nauth = \"yes\"",
    "[server]\nmin_rate = \"500B\"",
    "[server]\nproxy_protocol_from = [\"lan\"]",
    "[servers]\nlisten = []",
    "[backend]",
    "[backend]\nmaildir = \"mail\"\ntcp = \"127.0.0.1:2526\"",
    "[backend]\ntcp = \"127.0.0.1\"",
    "[backend]\nspawn = []",
    "[backend]\nmaildir = \"mail\"\nverify = \"no\"",
    "[qmail]\nlookup = \"ptr\"",
    "[size]\nlimit = \"10 MB\"",
    "[[size.recipients]]\nmatch = [\"@example.org\"]",
    "[[throttle]]\nname = \"slow\"",
    "[[throttle]]\nname = \"two words\"\ncount = \"mails\"\nper = [\"sender\"]\nlimit = \"1/day\"",
    "[[throttle]]\nname = \"slow\"\ncount = \"mails\"\nper = [\"sendr\"]\nlimit = \"1/day\"",
    "[[throttle]]\nname = \"slow\"\ncount = \"mails\"\nper = [\"sender\"]\nlimit = \"1/week\"",
    "[tls]\ncertificate = \"cert.pem\"",
    "[log]\nlevel = \"warning\"",
];

/// One line a file: `valid`, or the first error.
const VALIDATOR: &str = "
import json, sys, tomllib, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft7Validator.check_schema(schema)
validator = jsonschema.Draft7Validator(schema)
for name in sys.argv[2:]:
    error = jsonschema.exceptions.best_match(validator.iter_errors(tomllib.load(open(name, 'rb'))))
    print(error.message.replace('\\n', ' ')[:200] if error else 'valid')
";

#[test]
fn the_configurations_that_are_shown_have_no_faults() {
    let mut shown = 0;
    for page in pages() {
        for block in fenced(&read(&page), "toml") {
            // A part of a file is shown too.
            let whole = if block.contains("[backend]") { block } else { block + "\n[backend]\nmaildir = \"mail\"\n" };
            let parsed = portcullis::config::parse(Path::new("portcullis.toml"), &whole);
            parsed.unwrap_or_else(|faults| panic!("{}: {faults:#?}\n{whole}", page.display()));
            shown += 1;
        }
    }
    assert!(shown > 3, "{shown}");
}

#[test]
fn every_link_leads_somewhere() {
    let mut followed = 0;
    for page in pages() {
        for link in links(&read(&page)).into_iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(target.is_file(), "{}: {link}", page.display());
            let found = anchor.is_empty() || headings(&read(&target)).iter().any(|heading| heading == anchor);
            assert!(found, "{}: {link}; there are {:?}", page.display(), headings(&read(&target)));
            followed += 1;
        }
    }
    assert!(followed > 30, "{followed}");
}

#[test]
fn the_index_names_every_page() {
    let index = read(&root().join("docs/README.md"));
    for page in pages() {
        let Ok(name) = page.strip_prefix(root().join("docs")) else { continue };
        assert!(name == Path::new("README.md") || index.contains(&format!("({})", name.display())), "{name:?}");
    }
}

/// Tables, blocks and definitions of links cannot be wrapped.
#[test]
fn no_line_of_prose_is_over_120_columns() {
    let own = ["CONTRIBUTING.md", "SECURITY.md", "ARCHITECTURE.md"].map(|name| root().join(name));
    let mut too_long = Vec::new();
    for page in pages().into_iter().chain(own) {
        let text = read(&page);
        for line in prose(&text).lines().filter(|line| !line.starts_with('|') && !is_link_definition(line)) {
            if line.chars().count() > 120 {
                too_long.push(format!("{}: {line}", page.display()));
            }
        }
    }
    assert!(too_long.is_empty(), "{too_long:#?}");
}

fn is_link_definition(line: &str) -> bool {
    line.starts_with('[') && line.contains("]: ")
}

/// The right column of the glossary in CONTRIBUTING.md, in pages, in the default configuration and in every help text.
#[test]
fn the_words_are_those_of_the_glossary() {
    let phrases = ruled_out();
    assert!(phrases.len() > 20 && phrases.contains(&"hears 000".to_owned()), "{phrases:?}");
    let mut texts: Vec<(String, String)> = pages().iter().map(|page| named(page)).collect();
    texts.push(named(&root().join("SECURITY.md")));
    for folder in ["config/systemd", "config/service", "config/runit", "config/s6"] {
        let files = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        texts.extend(files.filter(|path| path.is_file()).map(|path| named(&path)));
    }
    texts.push(("the default configuration".to_owned(), portcullis::config::DEFAULT_TEXT.to_owned()));
    texts.extend(helps());
    assert!(texts.len() > 40, "{}", texts.len());
    let mut found = Vec::new();
    for (name, text) in &texts {
        let text = plain(text);
        let hits = phrases.iter().filter(|phrase| has_phrase(&text, phrase));
        found.extend(hits.map(|phrase| format!("{name}: {phrase}")));
    }
    assert!(found.is_empty(), "{found:#?}");
}

fn named(page: &Path) -> (String, String) {
    (page.display().to_string(), read(page))
}

/// What the glossary says not to write, without what only a reader can tell from a good use.
fn ruled_out() -> Vec<String> {
    let table = read(&root().join("CONTRIBUTING.md"));
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    let phrases =
        rows.flat_map(|(_, not)| not.split([',', ';']).map(|phrase| phrase.trim().to_owned()).collect::<Vec<_>>());
    let told = phrases.filter(|phrase| !ONLY_A_READER.contains(&phrase.as_str()));
    told.map(|phrase| plain(&phrase)).collect()
}

/// `not` is the head of the column; a process gives up its capabilities, and a command may say something.
const ONLY_A_READER: [&str; 5] = ["not", "---", "give up", "say", "tell what … amounts to"];

/// Words alone: without blocks, code and line ends, digits all alike.
fn plain(text: &str) -> String {
    let prose = prose(text).split('`').step_by(2).collect::<Vec<_>>().join("` `");
    let words = prose.split_whitespace().filter(|word| *word != "#").collect::<Vec<_>>().join(" ");
    words.chars().map(|c| if c.is_ascii_digit() { '0' } else { c.to_ascii_lowercase() }).collect()
}

fn has_phrase(text: &str, phrase: &str) -> bool {
    let ends = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    text.match_indices(phrase)
        .any(|(at, _)| ends(text[..at].chars().next_back()) && ends(text[at + phrase.len()..].chars().next()))
}

/// `portcullis COMMAND --help` for each, with its subcommands.
fn helps() -> Vec<(String, String)> {
    let mut helps = Vec::new();
    let mut wanted = vec![Vec::new()];
    while let Some(words) = wanted.pop() {
        let run = Command::new(env!("CARGO_BIN_EXE_portcullis")).args(&words).arg("--help").output().unwrap();
        let text = String::from_utf8(run.stdout).unwrap();
        let listed = text.split_once("\nCommands:\n").map_or("", |(_, rest)| rest.split("\n\n").next().unwrap());
        let names = listed.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
        let below = names.filter(|name| !name.is_empty() && *name != "help");
        wanted.extend(below.map(|name| [words.clone(), vec![name.to_owned()]].concat()));
        helps.push((format!("portcullis {} --help", words.join(" ")), text));
    }
    assert!(helps.len() > 15, "{}", helps.len());
    helps
}

/// Both ways; what differs is named.
fn same(what: &str, page: Vec<String>, program: BTreeSet<String>) {
    let mut twice = page.clone();
    twice.sort();
    twice.dedup();
    let missing: Vec<&String> = program.iter().filter(|item| !page.contains(item)).collect();
    let unknown: Vec<&String> = page.iter().filter(|item| !program.contains(*item)).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "{what}: missing {missing:#?}, not in the program {unknown:#?}");
    assert_eq!(twice.len(), page.len(), "{what}: something stands there twice");
    assert!(!program.is_empty(), "{what}");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// README.md and everything below docs.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md")];
    for folder in ["docs", "docs/reference"] {
        let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        pages.extend(entries.filter(|path| path.extension().is_some_and(|it| it == "md")));
    }
    assert!(pages.len() > 10, "{pages:?}");
    pages
}

/// The rows of all tables of a page whose first cell is code; cells without their backticks.
fn rows(page: &str) -> Vec<Vec<String>> {
    let text = read(&root().join(format!("docs/reference/{page}.md")));
    let lines = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows = lines.filter(|line| line.starts_with('`'));
    let cell = |cell: &str| cell.trim().trim_matches('`').to_owned();
    rows.map(|row| row.split(" | ").map(cell).collect()).collect()
}

/// An empty cell is written as a word.
fn named_or_none(cell: &str) -> &str {
    if cell == "none" { "" } else { cell }
}

fn first_cells(page: &str) -> Vec<String> {
    rows(page).into_iter().map(|row| row[0].clone()).collect()
}

/// `server.timeout.data` and `"3m"`; of the throttles that are shipped, none.
fn written_defaults(text: &str) -> Vec<(String, String)> {
    let (mut section, mut found) = (String::new(), Vec::new());
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with('[') {
            section = line[..=line.rfind(']').unwrap()].trim_matches(['[', ']']).to_owned();
        } else if let Some((key, value)) = line.split_once(" = ").filter(|_| section != "throttle") {
            let value = value.split(" #").next().unwrap().trim();
            let key = format!("{section}.{key}");
            match value.strip_prefix("{ ").and_then(|inner| inner.strip_suffix(" }")) {
                Some(inner) => found.extend(inner.split(", ").map(|pair| {
                    let (name, value) = pair.split_once(" = ").unwrap();
                    (format!("{key}.{name}"), value.to_owned())
                })),
                None => found.push((key, value.to_owned())),
            }
        }
    }
    found
}

/// A line of the log as the source has it.
#[derive(Debug)]
struct Event {
    level: String,
    name: String,
    keys: Vec<String>,
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.level, self.name, self.keys.join(" "))
    }
}

/// Every `tracing::LEVEL!` of the source; one of a record stands for all kinds of its arm, and one with a choice of words for each.
fn events() -> Vec<Event> {
    let mut events = Vec::new();
    for file in sources(&root().join("src")) {
        let text = source(&file);
        for (at, _) in text.match_indices("tracing::") {
            let rest = &text[at + "tracing::".len()..];
            let Some((level, rest)) = rest.split_once("!(").filter(|(word, _)| LEVELS.contains(word)) else { continue };
            let fields = fields(rest);
            let name = fields.iter().find(|field| field.starts_with('"') || field.starts_with(MESSAGE)).unwrap();
            let keys: Vec<String> = fields.iter().filter(|field| *field != name).map(|field| key(field)).collect();
            let names = match name.strip_prefix(MESSAGE) {
                Some("record.kind.as_str()") => variants(text[..at].lines().last().unwrap(), "Kind::"),
                _ => name.split('"').skip(1).step_by(2).map(str::to_owned).collect(),
            };
            events.extend(names.into_iter().map(|name| Event { level: level.to_owned(), name, keys: keys.clone() }));
        }
    }
    events
}

const LEVELS: [&str; 4] = ["error", "warn", "info", "debug"];

const MESSAGE: &str = "message = ";

/// The words of the enum's variants that the text names.
fn variants(text: &str, path: &str) -> Vec<String> {
    let word = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    text.split(path).skip(1).map(word).collect()
}

/// `client = %record.client`, `{ Key::Client.name() } = %record.client`, `%error`
fn key(field: &str) -> String {
    if let Some(key) = variants(field, "{ Key::").pop() {
        return key;
    }
    field.split(" = ").next().unwrap().trim_start_matches(['%', '?']).to_owned()
}

/// The arguments up to the closing parenthesis.
fn fields(text: &str) -> Vec<String> {
    let (mut depth, mut quoted, mut fields) = (0, false, vec![String::new()]);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' if !quoted && depth == 0 => break,
            ')' | ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                fields.push(String::new());
                continue;
            }
            _ => {}
        }
        fields.last_mut().unwrap().push(c);
    }
    fields.into_iter().map(|field| field.trim().to_owned()).filter(|field| !field.is_empty()).collect()
}

/// Without its tests.
fn source(file: impl AsRef<Path>) -> String {
    let text = read(&root().join(file));
    text.split("#[cfg(test)]\n#[allow(").next().unwrap().to_owned()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => files.extend(sources(&entry)),
            false if !entry.ends_with("tests.rs") => files.push(entry),
            _ => {}
        }
    }
    files
}

/// The blocks of a page between three backticks; `kind` is the word behind them, "" for any.
fn fenced(text: &str, kind: &str) -> Vec<String> {
    let parts = text.split("\n```").skip(1).step_by(2);
    let blocks = parts.filter_map(|part| part.split_once('\n'));
    blocks.filter(|(word, _)| kind.is_empty() || *word == kind).map(|(_, block)| block.to_owned()).collect()
}

/// The words of each line that begins with our name, up to what the shell does with them.
fn commands(text: &str) -> Vec<Vec<String>> {
    let blocks = fenced(text, "").join("\n").replace("\\\n", " ");
    let lines = blocks.lines().map(|line| line.trim_start_matches(['$', '#', ' ']));
    lines.filter(|line| line.starts_with("portcullis ")).map(words).filter(|words| words.len() > 1).collect()
}

fn words(line: &str) -> Vec<String> {
    let (mut words, mut quote) = (vec![String::new()], None);
    for c in line.chars() {
        match (quote, c) {
            // `2> log`: the number belongs to the shell too.
            (None, '>') => {
                words.pop_if(|word| word.chars().all(|c| c.is_ascii_digit()));
                break;
            }
            (None, '|' | '&' | ';' | '#') => break,
            (None, ' ') => words.push(String::new()),
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (_, c) => words.last_mut().unwrap().push(c),
        }
    }
    words.into_iter().filter(|word| !word.is_empty()).collect()
}

/// A page without its blocks.
fn prose(text: &str) -> String {
    text.split("\n```").step_by(2).collect()
}

/// What stands in the parentheses of `[text](link)`, outside of blocks and code.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let found = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    found.map(|(link, _)| link.to_owned()).collect()
}

/// The anchors of a page, as forges make them of its headings.
fn headings(text: &str) -> Vec<String> {
    let prose = prose(text);
    let heads = prose.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let fits = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    heads.map(|head| head.to_lowercase().chars().filter(fits).collect::<String>().replace(' ', "-")).collect()
}

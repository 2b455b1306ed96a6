//! The JSON Schema of the configuration, for editors: keys and what they take from the reader, words and defaults from
//! the reference of keys. It must not know a key that the reader does not ask for.

use std::collections::BTreeMap;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::config::faults::Findings;
use crate::config::file::File;
use crate::config::key::Key;
use crate::config::key::Kind;

/// The schema, draft 7: what editors' TOML plugins understand.
pub fn schema() -> Value {
    let findings = Findings::default();
    File::read("", &findings);
    let mut schema = Writer { keys: findings.keys(), rows: rows() }.object("");
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    schema["title"] = "Portcullis".into();
    schema
}

/// A row of the reference: type, default, what it needs to take effect, description.
struct Row {
    kind: &'static str,
    default: Option<Value>,
    change: &'static str,
    meaning: &'static str,
}

/// The rows of the tables of keys, by the key.
fn rows() -> BTreeMap<&'static str, Row> {
    let row = |line: &'static str| {
        let cells: Vec<&str> = line.strip_prefix("| `")?.strip_suffix(" |")?.splitn(5, " | ").collect();
        let [key, kind, default, change, meaning] = cells.try_into().ok()?;
        let default = serde_json::from_str(default.trim_matches('`')).ok();
        Some((key.trim_end_matches('`'), Row { kind, default, change, meaning }))
    };
    REFERENCE.lines().filter_map(row).collect()
}

struct Writer {
    keys: Vec<(String, Key)>,
    rows: BTreeMap<&'static str, Row>,
}

impl Writer {
    /// A table, by the name of its section: `server`, `server.timeout`, `[[throttle]]`, or `""` for the file.
    fn object(&self, section: &str) -> Value {
        let own = self.keys.iter().filter(|(name, _)| name == section);
        let properties: Map<String, Value> =
            own.map(|(_, key)| (key.name.to_owned(), self.property(&dotted(section, key.name), &key.kind))).collect();
        let mut object = json!({ "type": "object", "additionalProperties": false, "properties": properties });
        for (name, keyword, value) in constraints() {
            if name == section {
                object[keyword] = value;
            }
        }
        object
    }

    fn property(&self, key: &str, kind: &Kind) -> Value {
        let row = self.rows.get(key);
        let mut property = match kind {
            Kind::Flag => json!({ "type": "boolean" }),
            Kind::Number(range) => json!({ "type": "integer", "minimum": range.start(), "maximum": range.end() }),
            Kind::Text if key == "qmail.lookup" => json!({ "enum": ["off"] }),
            Kind::Text => text(pattern(key, row)),
            Kind::Quantity => {
                json!({ "anyOf": [text(pattern(key, row)), { "type": "integer", "minimum": 0 }] })
            }
            Kind::Word(words) => json!({ "enum": words }),
            Kind::List => json!({ "type": "array", "items": text(pattern(key, row)) }),
            Kind::Words(words) => json!({ "type": "array", "items": { "enum": words } }),
            Kind::Table => self.object(key),
            Kind::Tables => json!({ "type": "array", "items": self.object(&format!("[[{key}]]")) }),
            Kind::Pairs => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        };
        if NOT_EMPTY.contains(&key) {
            property["minItems"] = 1.into();
        }
        if let Some(row) = row {
            let needs = if row.change == "restart" { " A change needs a restart." } else { "" };
            property["description"] = format!("{}{needs}", alone(row.meaning)).into();
            row.default.iter().for_each(|default| property["default"] = default.clone());
        }
        property
    }
}

/// A description without its references to text further below, which an editor does not have.
fn alone(meaning: &str) -> String {
    let mut parts = meaning.split(" ([below](");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.filter_map(|part| part.split_once("))")).fold(first, |whole, (_, after)| whole + after)
}

/// `server.listen`, whatever brackets the section is written with.
fn dotted(section: &str, key: &str) -> String {
    match section.trim_start_matches('[').trim_end_matches(']') {
        "" => key.to_owned(),
        section => format!("{section}.{key}"),
    }
}

fn text(pattern: Option<String>) -> Value {
    match pattern {
        Some(pattern) => json!({ "type": "string", "pattern": pattern }),
        None => json!({ "type": "string" }),
    }
}

/// A regular expression for a text; nothing is known of most. Where `""` is the default, it may be written.
fn pattern(key: &str, row: Option<&Row>) -> Option<String> {
    if let Some((_, pattern)) = PATTERNS.iter().find(|(name, _)| *name == key) {
        return Some(format!("^({pattern})$"));
    }
    let row = row?;
    let (_, pattern) = KINDS.iter().find(|(name, _)| *name == row.kind)?;
    let empty = if row.default == Some(json!("")) { "|" } else { "" };
    Some(format!("^({pattern}{empty})$"))
}

/// What keys of one table mean together: the section, the keyword and its value.
fn constraints() -> [(&'static str, &'static str, Value); 7] {
    [
        ("", "required", json!(["backend"])),
        (
            "backend",
            "oneOf",
            json!([
                { "required": ["maildir"] },
                { "required": ["queue"] },
                { "required": ["tcp"] },
                { "required": ["lmtp"] },
                { "required": ["spawn"] },
            ]),
        ),
        ("[[alert]]", "oneOf", json!([{ "required": ["webhook"] }, { "required": ["command"] }])),
        ("[[throttle]]", "required", json!(["name", "count", "per", "limit"])),
        ("[[size.recipients]]", "required", json!(["match", "limit"])),
        ("tls", "dependencies", json!({ "certificate": ["key"], "key": ["certificate"] })),
        ("[[tls.more]]", "required", json!(["certificate", "key"])),
    ]
}

const REFERENCE: &str = include_str!("../../docs/reference/configuration.md");

/// Lists that have to name something.
const NOT_EMPTY: [&str; 4] = ["alert.command", "backend.spawn", "throttle.per", "size.recipients.match"];

/// By the type that the reference gives a key.
const KINDS: [(&str, &str); 8] = [
    ("duration", "([0-9]+(d|h|ms|m|s))+"),
    ("host and port", r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}"),
    ("list of addresses", r"(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]{1,5}"),
    ("list of networks", "[0-9A-Fa-f:.]+(/[0-9]{1,3})?"),
    ("number or size", "[0-9]+([kK]B|[KMG]iB|[MG]B|B)?"),
    ("rate", "[0-9]+([kK]B|[KMG]iB|[MG]B|B)?/(s|second|m|minute|h|hour|d|day)"),
    ("size", "[0-9]+([kK]B|[KMG]iB|[MG]B|B)?"),
    ("size a second", "0|[0-9]+([kK]B|[KMG]iB|[MG]B|B)?/(s|second|m|minute|h|hour|d|day)"),
];

/// By the key, where its type says too little.
const PATTERNS: [(&str, &str); 11] = [
    ("admin.listen", r"|unix:.+|(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]{1,5}"),
    ("alert.name", "[A-Za-z0-9._-]{1,64}"),
    ("alert.repeat", "0|([0-9]+(d|h|ms|m|s))+"),
    ("alert.webhook", "https?://[^ /@]+.*"),
    ("backend.lmtp", r"unix:.+|(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}"),
    ("qmail.lookup", "off"),
    ("server.contact", "[ -~]{0,100}"),
    ("server.hostname", r"[A-Za-z0-9._\[\]:-]{0,255}"),
    ("size.recipients.match", "[^ *?]*@[^ @*?]+"),
    ("state.url", "redb:.+|memory:"),
    ("throttle.name", "[A-Za-z0-9._-]{1,64}"),
];

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config;

    #[test]
    fn it_has_the_keys_that_are_known_and_no_others() {
        let known: BTreeSet<String> = config::known_keys().iter().map(|(section, key)| dotted(section, key)).collect();
        let mut found = BTreeSet::new();
        names(&schema(), "", &mut found);
        assert_eq!(found, known);
    }

    fn names(schema: &Value, section: &str, found: &mut BTreeSet<String>) {
        let table = if schema["type"] == "array" { &schema["items"] } else { schema };
        for (key, below) in table["properties"].as_object().into_iter().flatten() {
            found.insert(dotted(section, key));
            names(below, &dotted(section, key), found);
        }
    }

    #[test]
    fn every_key_has_its_words_and_its_default() {
        let schema = schema();
        let hold_total = &schema["properties"]["message"]["properties"]["hold_total"];
        assert_eq!(hold_total["default"], "1GiB");
        assert!(hold_total["description"].as_str().unwrap().contains("452 4.3.1"), "{hold_total}");
        let listen = &schema["properties"]["server"]["properties"]["listen"];
        assert!(listen["description"].as_str().unwrap().ends_with("A change needs a restart."), "{listen}");
        let queue = &schema["properties"]["backend"]["properties"]["queue"]["description"];
        let queue = queue.as_str().unwrap();
        assert!(queue.starts_with("qmail-queue, or a program in its place: one process per message"), "{queue}");
        assert_eq!(schema["properties"]["throttle"]["items"]["properties"]["escalate"]["default"], 0);
        for row in rows().keys() {
            let parts: Vec<&str> = row.split('.').collect();
            let found = parts.iter().fold(&schema, |table, part| {
                let table = if table["type"] == "array" { &table["items"] } else { table };
                &table["properties"][part]
            });
            let description = found["description"].as_str().unwrap_or_else(|| panic!("{row}: {found}"));
            assert!(!description.contains("]("), "{row}: {description}");
        }
    }
}

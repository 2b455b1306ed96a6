//! The machine of the figures, its kernel, and the versions of all programs.

use std::fs;
use std::process::Command;

use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;

/// Names and values.
pub(crate) struct Machine(Vec<(&'static str, String)>);

impl Machine {
    pub(crate) fn here() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut facts = vec![
            ("day", Timestamp::now().strftime("%Y-%m-%d").to_string()),
            ("cores", format!("{cores} of {}", line("/proc/cpuinfo", "model name"))),
            ("memory", line("/proc/meminfo", "MemTotal")),
            ("kernel", fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()),
            ("system", line("/etc/os-release", "PRETTY_NAME")),
        ];
        for (name, words) in VERSIONS {
            facts.extend(version(words).map(|version| (*name, version)));
        }
        Self(facts)
    }

    pub(crate) fn text(&self) -> String {
        let rows: String = self.0.iter().map(|(name, what)| format!("| {name} | {what} |\n")).collect();
        format!("| | |\n| --- | --- |\n{}", rows.trim_end())
    }

    pub(crate) fn json(&self) -> Value {
        self.0.iter().map(|(name, what)| ((*name).to_owned(), json!(what))).collect::<serde_json::Map<_, _>>().into()
    }
}

/// The value of `name` in a file of such lines.
fn line(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let found = text.lines().find_map(|line| line.strip_prefix(name));
    found.unwrap_or("unknown").trim_matches([' ', '\t', ':', '=', '"']).to_owned()
}

/// The first line of the program's output.
fn version(words: &[&str]) -> Option<String> {
    let output = Command::new(words[0]).args(&words[1..]).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    // Some print in colour.
    let said = String::from_utf8_lossy(&said).lines().next()?.replace("\x1b[0m", "").replace("\x1b[32;40m", "");
    let said = said.trim().to_owned();
    (output.status.success() && !said.is_empty()).then_some(said)
}

const VERSIONS: &[(&str, &[&str])] = &[
    ("portcullis", &[env!("CARGO_BIN_EXE_portcullis"), "--version"]),
    ("haproxy", &["/usr/sbin/haproxy", "-v"]),
    ("nginx", &["/usr/sbin/nginx", "-v"]),
    ("postfix", &["/usr/sbin/postconf", "-dh", "mail_version"]),
    ("haraka", &["haraka", "--version"]),
    ("mailfront", &["dpkg-query", "-W", "-f=${Version}", "mailfront"]),
    ("ucspi-tcp", &["dpkg-query", "-W", "-f=${Version}", "ucspi-tcp"]),
];

//! The dashboard and the alert rules in `config/`, evaluated by a real Prometheus that scrapes the built program in a real
//! storm: no expression has an error, each of the dashboard's has something to show, and the alert of the storm rings. It
//! must not judge what a panel looks like.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use proxy::Proxy;
use proxy::Site;
use proxy::host::free_address;
use proxy::host::make_certificate;
use proxy::host::until;
use serde_json::Value;
use tempfile::TempDir;

#[test]
fn dashboard_and_rules_in_a_storm() {
    let (site, admin) = site();
    let proxy = Proxy::start(&site);
    let Some(prometheus) = Prometheus::scrapes(&admin) else { return };
    // A rate needs the series from before the storm.
    until("a first scrape", || prometheus.has("portcullis_build_info"));
    storm(&proxy);
    let refused = format!("sum(portcullis_transactions_total{{reason=\"blocked_sender\"}}) == {COPIES}");
    until("the storm was scraped", || prometheus.has(&refused));
    let (shown, marks) = dashboard();
    assert!(shown.len() > 40 && marks.len() > 2, "{} {}", shown.len(), marks.len());
    marks.iter().for_each(|expression| drop(prometheus.query(expression)));
    for expression in &shown {
        until(&format!("something to show for {expression}"), || prometheus.has(expression));
    }
    let rules = prometheus.rules();
    assert!(rules.len() > 12, "{rules:#?}");
    let names = prometheus.names();
    for (alert, expression) in &rules {
        prometheus.query(expression);
        let unknown: Vec<_> = metrics_of(expression).filter(|name| !names.contains(*name)).collect();
        assert!(unknown.is_empty(), "{alert} asks for {unknown:?}, which nobody has");
    }
    until("the alert of the storm rings", || prometheus.firing() == ["PortcullisStorm"]);
    // Where Prometheus offers it, that is the format it is given.
    let open = prometheus.get("/api/v1/targets/metadata?match_target=%7B%7D&metric=portcullis_connections_total");
    assert_eq!(open["data"][0]["type"], "unknown", "{open}");
}

#[test]
fn each_alert_rings_for_its_reason_and_none_on_a_quiet_day() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rules = fs::read_to_string(root.join(RULES)).unwrap();
    let played = fs::read_to_string(root.join(PLAYED)).unwrap();
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(played.contains(&format!("alertname=\"{alert}\"")), "{alert} is not in {PLAYED}");
    }
    for arguments in [["check", "rules", RULES], ["test", "rules", PLAYED]] {
        let Ok(output) = Command::new("promtool").args(arguments).current_dir(root).output() else {
            return eprintln!("promtool is not installed (Debian: prometheus)");
        };
        assert!(output.status.success(), "{output:?}");
    }
}

/// A site in which everything is to be seen: a certificate, throttles of both kinds, a blocked sender.
fn site() -> (Site, String) {
    let throttle = "[[throttle]]\nname = \"NAME\"\ncount = \"mails\"\nper = [\"sender\"]\nlimit = \"1/day\"\n";
    let throttles = throttle.replace("NAME", "one") + &throttle.replace("NAME", "dark") + "shadow = true\n";
    let tls = "[tls]\ncertificate = \"tls/certificate.pem\"\nkey = \"tls/key.pem\"\n";
    let site = Site::new("", &[&throttles, tls].concat()).with_throttles();
    site.write("control/badmailfrom", "newsletter@sillyplace.com\n");
    fs::create_dir(site.path("tls")).unwrap();
    make_certificate(&site.path("tls"), &["localhost"]).unwrap();
    let admin = site.admin_over_tcp();
    (site, admin)
}

/// Copies of a blocked sender, and mail of others.
fn storm(proxy: &Proxy) {
    for _ in 0..COPIES {
        let mut client = proxy.client().hello();
        client.dialog(&[("MAIL FROM:<newsletter@sillyplace.com> SIZE=100000", "554"), ("QUIT", "221")]);
        client.rest();
    }
    let mut client = proxy.client().hello();
    client.mail("a@b.example", "Subject: x");
    client.dialog(&[("MAIL FROM:<a@b.example>", "450"), ("MAIL FROM:<c@b.example>", "250")]);
    client.dialog(&[("RCPT TO:<x@elsewhere.example>", "553"), ("FROB", "500"), ("QUIT", "221")]);
    client.rest();
}

/// The expressions of the dashboard's panels, and those of its marks, which may have nothing to show.
fn dashboard() -> (Vec<String>, Vec<String>) {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(DASHBOARD)).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let marks = dashboard["annotations"]["list"].as_array().unwrap().iter();
    let expression = |of: &Value| filled(of["expr"].as_str().unwrap());
    (targets.map(expression).collect(), marks.map(expression).collect())
}

/// An expression with Grafana's variables filled in.
fn filled(expression: &str) -> String {
    let variables =
        [("$__rate_interval", "1m"), ("$__range", "1m"), ("$__interval", "1m"), ("$job", ".*"), ("$instance", ".*")];
    let filled = variables.iter().fold(expression.to_owned(), |text, (name, value)| text.replace(name, value));
    assert!(!filled.contains('$'), "{filled}");
    filled
}

/// The names of metrics in an expression.
fn metrics_of(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("portcullis_") || word.starts_with("process_"))
}

/// A running Prometheus, ended when the value is dropped.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Prometheus {
    /// One that scrapes this address often; `None` where none is installed.
    fn scrapes(target: &str) -> Option<Self> {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address().unwrap());
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join(RULES);
        let configuration = format!(
            "global: {{ scrape_interval: 250ms, evaluation_interval: 250ms }}\nrule_files: [\"{}\"]\nscrape_configs:\n  \
             - job_name: mail\n    static_configs: [{{ targets: [\"{target}\"] }}]\n",
            rules.display()
        );
        fs::write(folder.path().join("prometheus.yml"), configuration).unwrap();
        let mut command = Command::new("prometheus");
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn"]);
        command.arg(format!("--web.listen-address={address}")).current_dir(folder.path()).stdin(Stdio::null());
        let Ok(child) = command.spawn() else {
            eprintln!("prometheus is not installed (Debian: prometheus)");
            return None;
        };
        let prometheus = Self { child, address, _folder: folder };
        until("Prometheus is ready", || {
            prometheus.ask("/-/ready").is_some_and(|answer| answer.starts_with("HTTP/1.0 200"))
        });
        Some(prometheus)
    }

    /// Whether the expression has a series now. It must have no error.
    fn has(&self, expression: &str) -> bool {
        !self.query(expression).is_empty()
    }

    fn query(&self, expression: &str) -> Vec<Value> {
        let answer = self.get(&format!("/api/v1/query?query={}", escaped(expression)));
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        answer["data"]["result"].as_array().unwrap().clone()
    }

    /// The alerts and their expressions, once all were evaluated without an error.
    fn rules(&self) -> Vec<(String, String)> {
        let all = || self.get("/api/v1/rules")["data"]["groups"][0]["rules"].as_array().cloned().unwrap_or_default();
        until("all rules are evaluated", || all().iter().all(|rule| rule["health"] != "unknown"));
        let told = |rule: &Value| {
            assert!(rule["health"] == "ok" && rule["lastError"].is_null(), "{rule}");
            for name in ["summary", "description"] {
                assert!(rule["annotations"][name].as_str().is_some_and(|text| text.len() > 20), "{rule}");
            }
            (rule["name"].as_str().unwrap().to_owned(), rule["query"].as_str().unwrap().to_owned())
        };
        all().iter().map(told).collect()
    }

    /// The alerts that ring.
    fn firing(&self) -> Vec<String> {
        let answer = self.get("/api/v1/alerts");
        let alerts = answer["data"]["alerts"].as_array().unwrap().iter().filter(|alert| alert["state"] == "firing");
        alerts.map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect()
    }

    /// The names of all series.
    fn names(&self) -> BTreeSet<String> {
        let answer = self.get("/api/v1/label/__name__/values");
        answer["data"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.ask(path).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    /// By HTTP/1.0, whose answer ends with the connection; `None`: it does not listen yet.
    fn ask(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As it stands in a query of a URL.
fn escaped(text: &str) -> String {
    text.bytes().map(|octet| format!("%{octet:02X}")).collect()
}

const DASHBOARD: &str = "config/grafana/portcullis.json";
const RULES: &str = "config/prometheus/portcullis.rules.yml";
/// Days that are played to the rules.
const PLAYED: &str = "tests/data/portcullis.rules.test.yml";
const COPIES: usize = 20;

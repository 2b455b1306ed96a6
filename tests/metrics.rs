//! `/metrics` of the built program as scrapers read it: both formats under a strict parser, and promtool where there is
//! one; and the series that change with what happens to the proxy. It must not know how they are counted.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::process::Stdio;

use proxy::Proxy;
use proxy::Site;
use proxy::configuration;
use proxy::host::free_address;
use proxy::host::make_certificate;

#[test]
fn both_formats_are_what_a_scraper_reads() {
    let tls = "[tls]\ncertificate = \"tls/certificate.pem\"\nkey = \"tls/key.pem\"\n";
    let site = Site::new("", tls).with_throttles();
    fs::create_dir(site.path("tls")).unwrap();
    make_certificate(&site.path("tls"), &["localhost"]).unwrap();
    let proxy = Proxy::start(&site);
    let mut client = proxy.client().hello();
    client.mail("a@b.example", "Subject: x");
    client.dialog(&[("FROB", "500"), ("QUIT", "221")]);
    client.rest();
    let (kind, plain) = scrape(&site, "*/*");
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    let (kind, open) = scrape(&site, "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3");
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let (plain_series, open_series) = (read(&plain, &[""; 3]), read(open.strip_suffix("# EOF\n").unwrap(), &OPEN));
    assert!(plain_series.len() > 200, "{plain}");
    // A dashboard must not care for the format.
    let names = |series: &BTreeMap<String, f64>| series.keys().cloned().collect::<BTreeSet<_>>();
    let other: Vec<_> = names(&plain_series).symmetric_difference(&names(&open_series)).cloned().collect();
    assert!(other.is_empty(), "{other:#?}");
    assert_eq!(plain_series["portcullis_transactions_total{reason=\"none\",verdict=\"accept\"}"], 1.0);
    assert_eq!(plain_series["portcullis_transactions_total{reason=\"blocked_sender\",verdict=\"reject\"}"], 0.0);
    promtool(&plain);
}

#[test]
fn strangers_add_no_series() {
    let site = Site::new("", "").with_throttles();
    site.write("control/badmailfrom", "@blocked.example\n");
    let proxy = Proxy::start(&site);
    let series = || read(&scrape(&site, "*/*").1, &[""; 3]);
    let before = series();
    for stranger in 0..50 {
        let mut client = proxy.client().hello();
        client.dialog(&[(&format!("EHLO host{stranger}.example"), "250")]);
        client.dialog(&[(&format!("MAIL FROM:<{stranger}@blocked.example>"), "554"), (&format!("X{stranger}"), "500")]);
        client.dialog(&[(&format!("MAIL FROM:<{stranger}@fair.example>"), "250")]);
        client.dialog(&[(&format!("RCPT TO:<{stranger}@elsewhere.example>"), "553"), ("QUIT", "221")]);
        client.rest();
    }
    let after = series();
    assert!(before.keys().eq(after.keys()), "{:#?}", after.keys().filter(|name| !before.contains_key(*name)));
    assert_eq!(after["portcullis_transactions_total{reason=\"blocked_sender\",verdict=\"reject\"}"], 50.0);
    assert!(after["portcullis_command_seconds_count{}"] >= 200.0, "{after:#?}");
}

#[test]
fn a_failed_reload_and_its_repair() {
    let site = Site::new("", "");
    let mut proxy = Proxy::start(&site);
    let good = fs::read_to_string(site.path("portcullis.toml")).unwrap();
    let value = |name: &str| read(&scrape(&site, "*/*").1, &[""; 3])[name];
    let began = value("portcullis_config_last_reload_timestamp_seconds{}");
    assert_eq!(value("portcullis_config_last_reload_successful{}"), 1.0);
    site.rename_over("portcullis.toml", &good.replace("tcp.smtp", "nowhere"));
    proxy.wait_for("not reloaded");
    assert_eq!(value("portcullis_config_last_reload_successful{}"), 0.0);
    assert_eq!(value("portcullis_reloads_total{outcome=\"failed\"}"), 1.0);
    assert_eq!(
        value("portcullis_config_last_reload_timestamp_seconds{}"),
        began,
        "what is in force is as old as before"
    );
    site.rename_over("portcullis.toml", &good);
    proxy.wait_for("reloaded");
    assert_eq!(value("portcullis_config_last_reload_successful{}"), 1.0);
    assert_eq!(value("portcullis_reloads_total{outcome=\"done\"}"), 1.0);
}

#[test]
fn a_backend_that_is_not_there() {
    let site = Site::new("", "");
    let nobody = format!("tcp = \"{}\"", free_address().unwrap());
    site.write("portcullis.toml", &configuration("", &nobody, ""));
    let mut proxy = Proxy::start(&site);
    let mut client = proxy.client().hello();
    client.dialog(&[("MAIL FROM:<a@b.example>", "451"), ("QUIT", "221")]);
    client.rest();
    proxy.wait_for("backend_unavailable");
    let series = read(&scrape(&site, "*/*").1, &[""; 3]);
    assert!(series["portcullis_backend_sessions_total{outcome=\"failed\"}"] >= 1.0, "{series:#?}");
    assert_eq!(series["portcullis_backend_sessions_total{outcome=\"opened\"}"], 0.0);
    assert_eq!(series["portcullis_transactions_total{reason=\"backend_unavailable\",verdict=\"defer\"}"], 1.0);
    assert_eq!(series["portcullis_backend_seconds_count{step=\"open\"}"], 0.0, "it was not opened");
}

#[test]
fn a_client_that_types_slowly_is_not_our_time() {
    let site = Site::new("timeout = { command = \"1s\" }", "");
    let proxy = Proxy::start(&site);
    let mut client = proxy.client().hello();
    client.dialog(&[("NOOP", "250")]);
    client.send("NOO");
    assert!(client.rest().starts_with("421 "));
    let series = read(&scrape(&site, "*/*").1, &[""; 3]);
    assert_eq!(series["portcullis_command_seconds_count{}"], 2.0);
    assert_eq!(series["portcullis_command_seconds_bucket{le=\"0.5\"}"], 2.0, "{series:#?}");
}

/// The series and their values. `behind` is what the samples of a counter, of a gauge and of an
/// info have behind the name of their family.
fn read(text: &str, behind: &[&str; 3]) -> BTreeMap<String, f64> {
    let (mut families, mut series, mut family) = (BTreeSet::new(), BTreeMap::new(), (String::new(), String::new()));
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(help.ends_with('.') && help.len() > 10, "{line}");
            let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {name} ")).unwrap();
            assert!(families.insert(name.to_owned()), "{name} twice");
            family = (name.to_owned(), kind.to_owned());
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        let (bare, labels) = name.split_once('{').map_or((name, ""), |(bare, labels)| (bare, labels));
        for label in labels.strip_suffix('}').into_iter().flat_map(|labels| labels.split(',')) {
            let (name, value) = label.split_once('=').unwrap();
            assert!(name.bytes().all(|octet| octet.is_ascii_lowercase()), "{line}");
            assert!(value.len() > 2 && value.starts_with('"') && value.ends_with('"'), "{line}");
        }
        let end = bare.strip_prefix(&family.0).unwrap_or_else(|| panic!("{line} below {}", family.0));
        match family.1.as_str() {
            "counter" => assert_eq!(end, behind[0], "{line}"),
            "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&end), "{line}"),
            "info" => assert_eq!(end, behind[2], "{line}"),
            "gauge" | "unknown" => assert_eq!(end, behind[1], "{line}"),
            kind => panic!("{line}: {kind}"),
        }
        let once = series.insert(spelled(bare, labels), value.parse().unwrap());
        assert_eq!(once, None, "{line} twice");
    }
    series
}

/// A series in one spelling: its labels in order, and `le` without a needless `.0`.
fn spelled(name: &str, labels: &str) -> String {
    let mut labels: Vec<_> = labels.trim_end_matches('}').split(',').map(|label| label.replace(".0\"", "\"")).collect();
    labels.sort_by_key(|label| label.split('=').next().map(str::to_owned));
    format!("{name}{{{}}}", labels.join(","))
}

const OPEN: [&str; 3] = ["_total", "", "_info"];

/// Content-Type and text.
fn scrape(site: &Site, accept: &str) -> (String, String) {
    let mut stream = UnixStream::connect(site.path("admin.sock")).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap();
    (kind.to_owned(), text.to_owned())
}

/// It finds names and units that are not as is usual.
fn promtool(text: &str) {
    let checks =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut checks) = checks else {
        return eprintln!("promtool is not installed (Debian: prometheus)");
    };
    checks.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let outcome = checks.wait_with_output().unwrap();
    assert!(outcome.status.success() && outcome.stderr.is_empty(), "{outcome:?}");
}

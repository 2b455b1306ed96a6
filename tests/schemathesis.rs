//! schemathesis makes requests of the description of the admin API, well-formed and not: no answer is a 5xx, none is other
//! than its description says, and nothing that the description forbids is taken. A short run of the same requests each
//! time; `make api-fuzz` is ten minutes of others.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;

use std::env;
use std::fs;
use std::process::Command;

use proxy::Proxy;
use proxy::Site;

#[test]
fn schemathesis_finds_nothing() {
    let site = Site::new("", "");
    let address = site.admin_over_tcp();
    let _proxy = Proxy::start(&site);
    // A body that is too large is refused before it is read.
    site.write(
        "schemathesis.toml",
        "[checks.negative_data_rejection]\nexpected-statuses = [400, 401, 403, 404, 405, 409, 413, 415, 429]\n",
    );
    let token = fs::read_to_string(site.path("portcullis-token")).unwrap();
    let program = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/schemathesis.sh")).output().unwrap();
    let program = String::from_utf8(program.stdout).unwrap();
    let setting = |name: &str, usual: &str| env::var(name).unwrap_or_else(|_| usual.to_owned());
    let mut command = Command::new(program.trim());
    command.current_dir(site.path("")).args(["run", &format!("http://{address}/api/v1/openapi.json")]);
    command.args(["--header", &format!("Authorization: Bearer {}", token.trim())]);
    command.args(["--seed", &setting("SCHEMATHESIS_SEED", "20")]);
    command.args(["--max-time", &setting("SCHEMATHESIS_SECONDS", "30"), "--continue-on-failure"]);
    // A stream has no end.
    command.args(["--exclude-path", "/api/v1/events"]);
    // What is an address is no matter of JSON Schema, so some of what it allows is refused.
    command.args(["--exclude-checks", "positive_data_acceptance"]);
    let outcome = command.output().unwrap();
    let told = String::from_utf8_lossy(&outcome.stdout);
    println!("{told}");
    assert!(outcome.status.success() && told.contains("Tested:"), "{told}{}", String::from_utf8_lossy(&outcome.stderr));
}

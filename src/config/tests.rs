//! The configuration as a whole: planted mistakes, the default file, what each key does.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn faults_of(text: &str) -> Vec<String> {
    match parse(Path::new("p.toml"), text) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

/// The mistake, then a backend, so that only the mistake is wrong.
fn with_backend(text: &str) -> String {
    match text.contains("[backend]") {
        true => text.to_owned(),
        false => format!("{text}\n[backend]\nmaildir = \"mail\"\n"),
    }
}

#[test]
fn show() {
    for text in MISTAKES {
        println!("{text:?}");
        for fault in faults_of(&with_backend(text)) { println!("        {fault}"); }
    }
}

const MISTAKES: &[&str] = &[
    "[server]\nlisen = []",
    "[sever]\nlisten = []",
    "listen = []",
    "[server]\ncolour = 1",
    "[colour]\n",
    "server = 1",
    "[server]\nlisten = \"127.0.0.1:25\"",
    "[server]\nlisten = [\"127.0.0.1\"]",
    "[server]\nlisten = [\":25\"]",
    "[server]\nlisten = [\"localhost:25\"]",
    "[server]\nlisten = [25]",
    "[server]\nlisten = []",
    "[server]\nlisten = [\"127.0.0.1:25\", \"127.0.0.1:25\"]",
    "[server]\nlisten_tls = [\"127.0.0.1:465\"]",
    "[server]\nhostname = \"my host\"",
    "[server]\nhostname = \"a\\u0007b\"",
    "[server]\nmax_connections = 0",
    "[server]\nmax_connections = -5",
    "[server]\nmax_connections = \"many\"",
    "[server]\nmax_connections = 1.5",
    "[server]\nmax_connections = 99999999999999999999",
    "[server]\nauth = \"tsl\"",
    "[server]\nauth = true",
    "[server]\ngreet_delay = \"10m\"",
    "[server]\ngreet_delay = 5",
    "[server]\ntimeout = { data = \"3\" }",
    "[server]\ntimeout = { dta = \"3m\" }",
    "[server]\ntimeout = \"5m\"",
    "[server.timeout]\ncommand = \"0s\"",
    "[server]\nmin_rate = \"500\"",
    "[server]\ndrain = \"99999d\"",
    "[server]\nproxy_protocol_from = [\"192.0.2.0/33\"]",
    "[server]\ngroup = \"mail\"",
    "[backend]\n",
    "[server]\n",
    "[backend]\nmaildir = \"m\"\ntcp = \"127.0.0.1:26\"",
    "[backend]\ntcp = \"127.0.0.1\"",
    "[backend]\ntcp = \"127.0.0.1:0\"",
    "[backend]\nspawn = \"/usr/sbin/smtpfront-qmail\"",
    "[backend]\nspawn = []",
    "[backend]\nspawn = [\"smtpfront-qmail\"]",
    "[backend]\nmaildir = \"\"",
    "[backend]\nmaildir = \"m\"\nidentity = \"xclient\"",
    "[backend]\nmaildir = \"m\"\ntls = \"starttls\"",
    "[backend]\nmaildir = \"m\"\nenv = { \"A=B\" = \"1\" }",
    "[backend]\nmaildir = \"m\"\nenv = { A = 1 }",
    "[backend]\nmaildir = \"m\"\nenv = \"A\"",
    "[server]\nlisten = [\"0.0.0.0:25\"]\n[backend]\ntcp = \"127.0.0.1:26\"",
    "[server]\nlisten = [\"0.0.0.0:25\"]\n[backend]\nspawn = [\"/bin/true\"]\nenv = { RELAYCLIENT = \"\" }",
    "[qmail]\nlookup = \"ptr\"",
    "[qmail]\ncontrol = 5",
    "[senders]\nblocked = [\"\"]",
    "[senders]\ndialect = \"extendet\"",
    "[recipients]\nblock = [\"a\"]",
    "[size]\nlimit = \"10 MB\"",
    "[size]\nlimit = 1.5",
    "[[size.recipients]]\nmatch = [\"example.org\"]\nlimit = \"10MB\"",
    "[[size.recipients]]\nlimit = \"10MB\"",
    "[[size.recipients]]\nmatch = [\"@example.org\"]",
    "[[size.recipients]]\nmatch = [\"@example.org\"]\nlimit = \"0\"",
    "[size.recipients]\nmatch = [\"@example.org\"]\nlimit = \"1MB\"",
    "[message]\nhold = \"yes\"",
    "[message]\nhold_memory = \"2GiB\"",
    "[message]\nbare_newline = \"normalise\"",
    "[message]\nbare_newline_exempt = [\"everybody\"]",
    "[message]\nmax_hops = 20",
    "[repeat]\nlimit = 1",
    "[repeat]\nunacknowledged = \"drop\"",
    "[[throttle]]\nname = \"a\"",
    "[[throttle]]\nname = \"a b\"\ncount = \"mails\"\nper = [\"client\"]\nlimit = \"5/day\"",
    "[[throttle]]\nname = \"a\"\ncount = \"mail\"\nper = [\"client\"]\nlimit = \"5/day\"",
    "[[throttle]]\nname = \"a\"\ncount = \"mails\"\nper = [\"client_net\"]\nlimit = \"5/day\"",
    "[[throttle]]\nname = \"a\"\ncount = \"mails\"\nper = []\nlimit = \"5/day\"",
    "[[throttle]]\nname = \"a\"\ncount = \"mails\"\nper = [\"client\", \"client\"]\nlimit = \"5/day\"",
    "[[throttle]]\nname = \"a\"\ncount = \"mails\"\nper = [\"client\"]\nlimit = \"5\"",
    "[[throttle]]\nname = \"a\"\ncount = \"mails\"\nper = [\"client\"]\nlimit = \"0/day\"",
    "[[throttle]]\nname = \"a\"\ncount = \"bytes\"\nper = [\"client\"]\nlimit = \"10MB/week\"",
    "[[throttle]]\nname = \"a\"\ncount = \"mails\"\nper = [\"client\"]\nlimit = \"5/day\"\nburst = 0",
    "[[throttle]]\nname = \"a\"\ncount = \"connections\"\nper = [\"sender\"]\nlimit = \"5/day\"",
    "[[throttle]]\nname = \"a\"\ncount = \"mails\"\nper = [\"client\"]\nlimit = \"5/day\"\naction = \"block\"",
    "[[throttle]]\nname = \"a\"\ncount = \"mails\"\nper = [\"client\"]\nlimit = \"5/day\"\nblock = { first = \"1m\" }",
    "[[throttle]]\nname = \"a\"\ncount = \"mails\"\nper = [\"client\"]\nlimit = \"5/day\"\nescalate = 3",
    "[[throttle]]\nname = \"a\"\ncount = \"mails\"\nper = [\"client\"]\nlimit = \"5/day\"\nonly = [\"relayclient\"]\nexcept = [\"relayclient\"]",
    "[[throttle]]\nname = \"a\"\ncount = \"mails\"\nper = [\"client\"]\nlimit = \"5/day\"\n[[throttle]]\nname = \"a\"\ncount = \"mails\"\nper = [\"helo\"]\nlimit = \"5/day\"",
    "[throttle]\nname = \"a\"",
    "throttle = [1]",
    "[tls]\nrequired = true",
    "[tls]\ncertificate = \"c.pem\"",
    "[tls]\nkey = \"k.pem\"",
    "[[tls.more]]\ncertificate = \"c.pem\"\nkey = \"k.pem\"",
    "[tls]\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n[[tls.more]]\n",
    "[state]\nurl = \"redis://a\"",
    "[state]\nurl = \"file.db\"",
    "[admin]\nlisten = \"8025\"",
    "[alert]\nwebhook = \"example.org\"",
    "[log]\nformat = \"JSON\"",
    "[log]\nlevel = \"verbose\"",
    "[server]\nhostname = mx.example.org",
    "[server]\nhostname = \"mx",
    "[server]\nhostname = \"a\"\nhostname = \"b\"",
    "[server]\ndrain = 30s",
    "[server]\nlisten = [\"127.0.0.1:25\"",
    "[server\nlisten = []",
    "just words",
    "[log]\n[log]\n",
];

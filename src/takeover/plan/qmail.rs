//! `[qmail]` and `[size]`: qmail's own files, and what they say now. It must not change a file of qmail.

use std::path::Path;

use crate::control::cdb::Cdb;
use crate::takeover::plan::Planner;
use crate::takeover::plan::array;
use crate::takeover::plan::quoted;
use crate::takeover::script::Server;
use crate::takeover::services::Service;
use crate::text::number::count;

impl Planner<'_> {
    pub(super) fn qmail(&mut self) {
        self.control();
        if let Some(server) = self.service.and_then(|service| service.chain.server.as_ref()) {
            self.tcprules(server);
            self.lookup(server);
        }
        self.known();
        self.size();
    }

    /// Proposes the lists of the validrcptto patches: whether they are complete, only the operator knows.
    fn known(&mut self) {
        let Some(home) = self.home else { return };
        let names = home.others.iter().map(|other| other.name).filter(|name| name.contains("validrcptto"));
        let control = home.folder.join("control");
        let files: Vec<String> = names.map(|name| control.join(name).to_string_lossy().into_owned()).collect();
        if !files.is_empty() {
            let why = "who exists, for a patched qmail-smtpd; without the # others get 550 5.1.1 here";
            self.propose("recipients", "known", array(files.iter().map(String::as_str)), why);
        }
    }

    fn control(&mut self) {
        let Some(home) = self.home else {
            let found: Vec<String> = self.findings.homes.iter().map(|home| home.folder.display().to_string()).collect();
            let why = match found.is_empty() {
                true => "no qmail home was found".to_owned(),
                false => format!("could not tell whether {} is the one in use", found.join(" or ")),
            };
            let folder = found.first().map_or("/var/qmail", String::as_str);
            let remark =
                format!("{why}: write qmail.control, or senders and recipients are checked without control files");
            self.plan.remarks.push(remark);
            return self.propose("qmail", "control", quoted(&format!("{folder}/control")), why);
        };
        let folder = home.folder.join("control").to_string_lossy().into_owned();
        let (why, files) = (self.findings.why_home.clone(), home.control.clone());
        self.set("qmail", "control", quoted(&folder), why);
        self.tell("qmail", "read there, and again when they change:");
        for file in &files {
            self.tell("qmail", format!("  {} {}", file.name, file.says));
        }
        let is_behind = !self.is_wanted();
        for other in home.others.iter().filter(|_| is_behind) {
            let remark = format!(
                "{folder}/{}: read by a patched program behind Portcullis, not by Portcullis{}",
                other.name, other.instead
            );
            self.plan.remarks.push(remark);
        }
        let certificate = home.folder.join("control/servercert.pem");
        let is_smtpd = |service: &Service| {
            service.chain.behind.iter().flat_map(|it| &it.words).any(|it| it.name() == "qmail-smtpd")
        };
        if self.root.exists(&certificate) && self.service.is_some_and(is_smtpd) && is_behind {
            let remark = format!(
                "{}: a qmail-smtpd with the TLS patch offers STARTTLS by it; behind Portcullis clients are not offered \
                 it: write [tls]",
                certificate.display()
            );
            self.plan.remarks.push(remark);
        }
        if home.says("rcpthosts").is_none() && home.says("morercpthosts.cdb").is_none() {
            let remark = format!(
                "{folder}/rcpthosts: no such file, so no domain is local: mail from strangers is refused for every recipient"
            );
            self.plan.remarks.push(remark);
        }
    }

    fn tcprules(&mut self, server: &Server) {
        if let Some(folder) = server.option('i').filter(|_| server.program.name() == "tcpsvd") {
            let told = self.option('i', folder) + ": instructions of tcpsvd are not read; write them as tcprules";
            // It decides who may connect, and sets variables.
            let is_used =
                folder.known().is_none_or(|folder| !self.root.names(Path::new(&self.absolute(folder))).is_empty());
            if is_used { self.plan.errors.push(told) } else { self.plan.remarks.push(told) }
        }
        let Some(word) = server.option('x') else { return };
        let from = self.option('x', word);
        if server.program.name() == "tcpsvd" {
            return self.plan.errors.push(format!("{from}: a cdb of tcpsvd is not read; write it as tcprules"));
        }
        let Some(name) = word.known().map(|name| self.absolute(name)) else {
            return self.error(word, "-x, the rules");
        };
        let rules = self.root.read_up_to(Path::new(&name), LARGEST_RULES);
        let told = rules.as_deref().and_then(rules_of).filter(|_| name.ends_with(".cdb"));
        match told {
            Some(told) => {
                self.set("qmail", "tcprules", quoted(&name), from);
                self.tell("qmail", format!("now {told}"));
            }
            None => {
                self.propose("qmail", "tcprules", quoted(&name), from);
                let is_missing = self.root.seen(Path::new(&name)).is_some_and(|found| found.is_none());
                let what = match rules {
                    None if is_missing => "no such file",
                    None => "cannot be read",
                    Some(_) if !name.ends_with(".cdb") => "would be read as text: give it a name that ends in .cdb",
                    Some(_) => "is not a cdb",
                };
                let told = format!("{name}: {what}, so no rules are set");
                // With -X tcpserver goes on without the file.
                let is_optional = is_missing && server.option('X').is_some();
                if is_optional { self.plan.remarks.push(told) } else { self.plan.errors.push(told) }
            }
        }
    }

    fn lookup(&mut self, server: &Server) {
        let by_default = !matches!(server.program.name(), "tcpsvd") && server.last_of(['h', 'H']).is_none();
        let from = match server.last_of(['h', 'H']) {
            Some((letter @ 'H', word)) => self.option(letter, word),
            Some((letter, word)) => self.option(letter, word) + ": names of clients are not looked up in this version",
            None if by_default => {
                let name = server.program.name();
                self.place(
                    server.program.line,
                    &format!("{name} without -H: names of clients are not looked up in this version"),
                )
            }
            None => "tcpsvd without -h".to_owned(),
        };
        self.set("qmail", "lookup", quoted("off"), from);
    }

    /// Proposes a limit of the size: where nothing limited it, our default is a change.
    fn size(&mut self) {
        let databytes = self.home.and_then(|home| home.says("databytes")).map(str::to_owned);
        let exported =
            self.service.and_then(|service| service.script.exported.iter().find(|(name, _)| name == "DATABYTES"));
        match (exported, databytes) {
            _ if self.in_front_sets("DATABYTES") => {
                self.tell("size", "limit comes from DATABYTES of envdir, see service/run")
            }
            (Some((_, value)), _) => match value.known() {
                Some(octets) => self.tell("size", format!("limit comes from DATABYTES in [backend.env], {octets}")),
                None => {
                    let from = self.place(value.line, "DATABYTES, which was not understood");
                    self.propose("size", "limit", quoted("..."), from);
                }
            },
            (None, Some(octets)) => self.databytes(&octets),
            (None, None) => {
                self.tell(
                    "size",
                    "nothing limits the size now: neither control/databytes nor DATABYTES in the script.",
                );
                self.propose(
                    "size",
                    "limit",
                    quoted("0"),
                    "without this line messages over 25MB are refused, although they were not before",
                );
            }
        }
    }

    fn databytes(&mut self, says: &str) {
        let read = leading_number(says);
        if read != says {
            let remark = format!("control/databytes contains {}, which qmail reads as {read}", quoted(says));
            self.plan.remarks.push(remark);
        }
        let now = match read.trim_start_matches('0') {
            "" => "0, no limit",
            octets => octets,
        };
        self.tell("size", format!("limit comes from control/databytes, now {now}"));
    }
}

/// The number at the start of a text, as qmail reads it: 0 if there is none.
fn leading_number(text: &str) -> &str {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.get(..digits).filter(|digits| !digits.is_empty()).unwrap_or("0")
}

/// The number of rules, and what they do that matters here.
fn rules_of(octets: &[u8]) -> Option<String> {
    let cdb = Cdb::read(octets).ok()?;
    let sets = |data: &[u8], name: &[u8]| {
        data.split(|octet| *octet == 0).any(|set| set.strip_prefix(b"+").is_some_and(|set| set.starts_with(name)))
    };
    let relay = cdb.iter().filter(|(_, data)| sets(data, b"RELAYCLIENT=")).count();
    let scanned = cdb.iter().filter(|(_, data)| sets(data, b"QMAILQUEUE=")).count();
    let by_name = cdb.iter().filter(|(key, _)| key.contains(&b'=') || key.contains(&b'@')).count();
    let mut told = format!("{}, {relay} with RELAYCLIENT", count(cdb.iter().count() as u64, "rule"));
    if scanned > 0 {
        told += &format!(", {scanned} with QMAILQUEUE");
    }
    if by_name > 0 {
        told += &format!("; {by_name} by name or ident, which match no client");
    }
    Some(told)
}

const LARGEST_RULES: u64 = 256 << 20;

//! Control files of patches that stand beside the ones Portcullis reads: their names, and what to do instead. The table
//! is for `check`, the start and `init`. It must not open files.

/// A control file that Portcullis does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The name in the control folder.
    pub name: &'static str,
    /// What to do instead, as the end of a sentence.
    pub instead: &'static str,
}

impl Unread {
    /// The note about the file: that it is not read, and what to do instead.
    pub fn note(&self) -> String {
        format!("not read by Portcullis: {}", self.instead)
    }
}

/// The files of the table that `is_present` finds in a control folder, by name.
pub fn unread(is_present: impl Fn(&str) -> bool) -> Vec<Unread> {
    let files = FILES.iter().flat_map(|(instead, names)| names.iter().map(|name| Unread { name, instead }));
    files.filter(|file| is_present(file.name)).collect()
}

const SENDERS: &str = "copy its addresses to badmailfrom, unless the backend reads it";
const SENDER_PATTERNS: &str = "write globs into a list of senders.blocked, unless the backend reads it";
const RECIPIENTS: &str = "copy its addresses to badrcptto, unless the backend reads it";
const RECIPIENT_PATTERNS: &str = "write globs into a list of recipients.blocked, unless the backend reads it";
const KNOWN: &str = "name it in recipients.known, unless the backend reads it";
const VALID: &str = "a backend that reads it refuses unknown recipients";
const GREETING: &str = "a backend that reads it checks HELO";
const CHECK: &str = "a backend that reads it still applies it";
const RELAY: &str = "allow relaying by RELAYCLIENT in qmail.tcprules or by AUTH";
const RULES: &str = "set qmail.tcprules to the rules for clients";

/// What to do instead, and the files: of qregex and the toasters built on it (notqmail and netqmail with patches), SPAMCONTROL
/// and s/qmail, indimail, qmail-ldap, eQmail, sagredo's qmail, validrcptto, qmail-spp, simscan.
const FILES: &[(&str, &[&str])] = &[
    (SENDERS, &["badmailfrom.cdb", "badmailfrom-unknown", "badmailfromnorelay", "badmailfromto"]),
    (SENDER_PATTERNS, &["badmailpatterns", "badmailfrompatterns", "badmailpatternsnorelay"]),
    (RECIPIENTS, &["badmailto", "badmailtonorelay", "badrcptto.cdb", "badrcpttonorelay"]),
    (RECIPIENT_PATTERNS, &["badrcptpatterns", "badrcpttopatterns", "badmailtopatterns"]),
    (KNOWN, &["validrcptto", "validrcptto.cdb", "morevalidrcptto.cdb"]),
    (
        VALID,
        &[
            "goodrcptto",
            "goodrcptto.cdb",
            "goodrcptpatterns",
            "goodmailaddr",
            "recipients",
            "recipients.cdb",
            "rcptcheck",
            "chkuser",
            "chkrcptdomains",
        ],
    ),
    (GREETING, &["badhelo", "badhelonorelay", "badhelopatterns", "badehlo", "goodhelo", "helodnscheck"]),
    (
        CHECK,
        &[
            "spfbehavior",
            "spfbehaviour",
            "spfrules",
            "spfguess",
            "spfexp",
            "spfipv6",
            "greylist",
            "greylisting",
            "greylist.white",
            "greylist.cdb",
            "rbllist",
            "rblhosts",
            "dnsbllist",
            "dnsblfailclosed",
            "mfdnscheck",
            "brtlimit",
            "maxrcpt",
            "maxrecipients",
            "tarpitcount",
            "tarpitdelay",
            "surblfilter",
            "smtpplugins",
            "nodnscheck",
            "badcharset",
            "badext",
            "badloadertypes",
            "badmimetypes",
            "badsignatures",
            "signatures",
            "bodycheck",
            "simcontrol",
            "simcontrol.cdb",
            "filterargs",
        ],
    ),
    (RELAY, &["relaymailfrom", "relayclients", "relaydomains", "relaycountries"]),
    (RULES, &["tcprules", "hostaccess", "mfrules"]),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn what_is_present_is_named_with_a_remedy() {
        let named = |names: &[&str]| unread(|name| names.contains(&name)).iter().map(Unread::note).collect::<Vec<_>>();
        assert!(named(&["badmailfrom", "rcpthosts", "locals", "smtproutes"]).is_empty());
        for (name, told) in [
            ("badmailpatterns", "senders.blocked"),
            ("badmailto", "badrcptto"),
            ("badhelo", "checks HELO"),
            ("badrcptpatterns", "recipients.blocked"),
            ("badmailfrom.cdb", "badmailfrom"),
            ("badrcptto.cdb", "badrcptto"),
            ("validrcptto.cdb", "recipients.known"),
            ("goodrcptto", "unknown recipients"),
            ("spfbehavior", "a backend"),
            ("relaymailfrom", "RELAYCLIENT"),
        ] {
            let notes = named(&[name]);
            assert!(notes.len() == 1 && notes[0].contains(told), "{name}: {notes:?}");
        }
    }

    #[test]
    fn each_name_stands_once_and_none_is_read() {
        let all = unread(|_| true);
        let names: HashSet<&str> = all.iter().map(|file| file.name).collect();
        assert_eq!(names.len(), all.len());
        for read in ["badmailfrom", "badrcptto", "databytes", "me", "morercpthosts.cdb", "rcpthosts", "virtualdomains"]
        {
            assert!(!names.contains(read), "{read}");
        }
    }
}

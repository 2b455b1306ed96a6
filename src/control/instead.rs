//! What mailfront and patched qmail-smtpds do by variables and plug-ins, which ends where messages go straight to
//! qmail-queue, and what to use instead. The table is for `check`, the start and `init`. It must not judge a value.

/// A part of the program that spoke SMTP before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What it did, as a clause.
    pub did: &'static str,
    /// What does it now, as the end of a sentence.
    pub instead: &'static str,
}

impl Ended {
    /// The words about it, behind its name, for a host that would change to `backend.queue`.
    pub fn told(&self) -> String {
        format!("{}: {}", self.did, self.instead)
    }

    /// The words about it, behind its name, where `backend.queue` is set.
    pub fn note(&self) -> String {
        format!("{}; has no effect with backend.queue: {}", self.did, self.instead)
    }
}

/// What a variable made the program do, unless Portcullis or qmail-queue does the same by it.
pub fn of_variable(name: &str) -> Option<Ended> {
    let is_it = |pattern: &&str| match pattern.strip_suffix('*') {
        Some(begin) => name.starts_with(begin),
        None => name == *pattern,
    };
    find(VARIABLES, is_it)
}

/// What a plug-in of mailfront did, as an argument of smtpfront-qmail or in its chain.
pub fn of_plugin(name: &str) -> Option<Ended> {
    find(PLUGINS, |known| *known == name)
}

fn find(table: &[Row], is_it: impl Fn(&&str) -> bool) -> Option<Ended> {
    let row = table.iter().find(|(names, ..)| names.iter().any(&is_it))?;
    Some(Ended { did: row.1, instead: row.2 })
}

/// Names, what was done, and what to do instead. A name that ends in `*` is the beginning of one.
type Row = (&'static [&'static str], &'static str, &'static str);

const NOTHING: &str = "nothing replaces it";
const SCANNER: &str = "set QMAILQUEUE to a program that scans";

/// Of mailfront 2.12 to 2.22, the patches of John Simpson, netqmail toasters and sagredo's qmail, s/qmail and indimail.
const VARIABLES: &[Row] = &[
    (&["SMTPGREETING"], "set the greeting", "write it into control/smtpgreeting"),
    (&["TIMEOUT"], "limited the wait for a command", "write server.timeout.command"),
    (&["SESSION_TIMEOUT"], "limited a session", "write server.timeout.session"),
    (&["MAXNOTIMPL"], "ended sessions with unknown commands", "server.max_errors does"),
    (&["MAXRCPTS", "MAXRCPT", "MAXRECIPIENTS"], "limited recipients", "write server.max_recipients"),
    (&["MAXRCPTS_REJECT"], "refused a message with too many recipients whole", "the rest is sent separately"),
    (&["MAXMSGS"], "limited the messages of a session", "write a [[throttle]] with count = \"messages\""),
    (&["MAXHOPS"], "limited hops", "write message.max_hops"),
    (&["DEFAULTHOST", "DEFAULTDOMAIN"], "completed addresses", "qmail-send does by control/envnoathost"),
    (&["SENDER_DOMAINS"], "refused senders of other domains", "nothing replaces it for single clients"),
    (&["MAILRULES"], "ruled by sender and recipient", "write lists of senders.blocked and recipients.blocked"),
    (&["CVM_LOOKUP", "CVM_LOOKUP_SECRET", "LOOKUP_SECRET"], "looked recipients up", "write recipients.known"),
    (&["CVM_SASL_*", "AUTH_REQUIRES_TLS", "AUTH_ADD_RECEIVED"], "offered AUTH", NO_AUTH),
    (&["QQERRMSG_*"], "set the reply to an exit code of qmail-queue", "a program in QMAILQUEUE can write its own"),
    (&["HEADER_ADD"], "added header fields", "a program in QMAILQUEUE can"),
    (&["FIXUP_RECEIVED_*"], "changed Received fields", NOTHING),
    (&["PATTERNS", "PATTERNS_LINEMAX"], "refused messages by their lines", SCANNER),
    (&["RBL_*", "RBLSMTPD", "DNSBL*"], "asked lists of addresses", "deny such clients in qmail.tcprules"),
    (&["SMTPREJECT", "REJECT"], "refused every command", "write deny into the rule of qmail.tcprules"),
    (&["UCSPITLS", "TLS_*", "TLSCIPHERS", "CERTDIR", "SERVERCERT", "SMTPS"], "offered TLS", "write [tls]"),
    (&["FORCETLS", "FORCE_TLS", "REQUIRE_TLS"], "required TLS", "write tls.required = true"),
    (&["DENY_TLS", "DISABLETLS"], "offered no TLS to some clients", "[tls] offers it to all, or to none"),
    (&["SMTPAUTH*", "AUTH_CDB", "ALLOW_CRAM", "ALLOW_INSECURE_AUTH", "CRAM_*"], "offered AUTH", NO_AUTH),
    (&["REQUIRE_AUTH", "REQUIREAUTH", "FORCEAUTHMAILFROM", "FORCE_AUTH*"], "required AUTH", NO_AUTH),
    (&["GREETDELAY", "DROP_PRE_GREET"], "delayed the greeting", "write server.greet_delay"),
    (&["MFCHECK", "MFDNSCHECK", "DNSCHECK", "NODNSCHECK"], "looked senders up in DNS", NOTHING),
    (&["SPF*", "LOCALSPF*"], "checked SPF", NOTHING),
    (&["VALIDRCPTTO_CDB", "RCPTCHECK", "CHECKRECIPIENT", "CHKUSER_*"], "checked recipients", "write recipients.known"),
    (&["VALIDRCPTTO_LIMIT"], "ended sessions with unknown recipients", "fifty in one session end it"),
    (&["BADMAIL*"], "named lists of senders", "write senders.blocked"),
    (&["BADRCPT*"], "named lists of recipients", "write recipients.blocked"),
    (&["DISABLE_BADMAILFROM", "NOBADMAILFROM"], "switched badmailfrom off", "it applies to every client"),
    (&["BADHELO*", "HELOCHECK"], "checked HELO", NOTHING),
    (&["TARPITCOUNT", "TARPITDELAY"], "slowed down long lists of recipients", "write a [[throttle]]"),
    (&["GREYIP", "GREYLIST*", "JGREYLIST*"], "greylisted", NOTHING),
    (&["SURBL*", "BODYCHECK", "VIRUSCHECK", "SIGNATURES*", "WARLORD*"], "looked at messages", SCANNER),
    (&["QMAILSPP*", "SMTPPLUGINS*", "SPP_*"], "started plug-ins", NOTHING),
    (&["REJECTNULLSENDERS", "REJNULLMF"], "refused the null sender", "bounces are accepted (RFC 5321)"),
];

const PLUGINS: &[Row] = &[
    (&["cvm-authenticate", "require-auth"], "offered AUTH by CVM_SASL_*", NO_AUTH),
    (&["cvm-validate"], "looked recipients up by CVM_LOOKUP", "write recipients.known"),
    (&["check-fqdn"], "refused addresses without a full domain, and completed them", NOTHING),
    (&["counters"], "limited recipients and messages by MAXRCPTS and MAXMSGS", "write server.max_recipients"),
    (&["mailrules"], "ruled by MAILRULES", "write lists of senders.blocked and recipients.blocked"),
    (&["patterns"], "refused messages by PATTERNS", SCANNER),
    (&["clamav", "spamassassin", "virusscan"], "scanned messages", SCANNER),
    (&["starttls", "starttls-ucspi"], "offered STARTTLS", "write [tls]"),
    (&["rbl"], "asked lists of addresses", "deny such clients in qmail.tcprules"),
    (&["reject"], "refused every command where SMTPREJECT says so", "write deny into the rule of qmail.tcprules"),
    (&["header-add"], "added header fields", "a program in QMAILQUEUE can"),
    (&["force-file"], "wrote messages to a file", NOTHING),
    (&["lua"], "ran a script", NOTHING),
];

const NO_AUTH: &str = "AUTH ends; keep backend.spawn if clients log in";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_is_told_and_what_goes_on_is_not() {
        let ended = |name: &str| of_variable(name).map(|ended| ended.note()).unwrap_or_default();
        for (name, told) in [
            ("MAXHOPS", "message.max_hops"),
            ("MAXRCPTS", "server.max_recipients"),
            ("CVM_SASL_PLAIN", "AUTH ends"),
            ("QQERRMSG_31", "QMAILQUEUE"),
            ("FIXUP_RECEIVED_HOST", "nothing replaces it"),
            ("RBL_WHITELISTS", "qmail.tcprules"),
            ("TLS_CERTFILE", "[tls]"),
            ("CHKUSER_START", "recipients.known"),
        ] {
            assert!(ended(name).contains(told), "{name}: {}", ended(name));
        }
        let go_on = ["DATABYTES", "RELAYCLIENT", "QMAILQUEUE", "QMAILHOME", "PATH", "TCPREMOTEIP", "TZ", "MAXHOPS_X"];
        let told: Vec<&str> = go_on.into_iter().filter(|name| of_variable(name).is_some()).collect();
        assert_eq!(told, [""; 0]);
        assert_eq!(of_plugin("add-received"), None);
        assert!(of_plugin("cvm-authenticate").is_some());
    }

    #[test]
    fn each_name_stands_once_and_each_line_is_short() {
        for table in [VARIABLES, PLUGINS] {
            let mut names: Vec<&str> = table.iter().flat_map(|(names, ..)| names.iter().copied()).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all);
            for (names, did, instead) in table {
                assert!(Ended { did, instead }.note().len() < 160, "{names:?}");
            }
        }
    }
}

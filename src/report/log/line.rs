//! A record as one event, its keys in the order of docs/reference/log.md.

use crate::policy::verdict::Verdict;
use crate::session::record::Kind;
use crate::session::record::Record;

/// One line of the log.
pub fn write(record: &Record) {
    let has_recipients = matches!(record.kind, Kind::Mail | Kind::Rcpt);
    let recipients = has_recipients.then(|| record.recipients.join(","));
    let shadow = (!record.shadow.is_empty()).then(|| record.shadow.join(","));
    let ms = u64::try_from(record.took.as_millis()).unwrap_or(u64::MAX);
    macro_rules! event {
        ($word:literal) => {
            tracing::info!(
                session = &*record.session,
                client = %record.client,
                helo = record.helo.as_deref(),
                tls = record.tls,
                sender = record.sender.as_deref(),
                recipients = recipients.as_deref(),
                size = record.size,
                id = record.id.as_deref(),
                verdict = record.verdict.map(Verdict::as_str),
                code = record.code,
                reason = record.reason.map(display),
                user = record.user.as_deref(),
                rule = record.rule.as_deref(),
                shadow = shadow.as_deref(),
                backend = record.backend.as_deref(),
                words = record.words.as_deref(),
                ms,
                $word
            )
        };
    }
    match record.kind {
        Kind::Mail => event!("mail"),
        Kind::Rcpt => event!("rcpt"),
        Kind::Command => event!("command"),
        Kind::Session => event!("session"),
        Kind::Auth => event!("auth"),
        Kind::Folded => {
            let folded = record.folded.to_string();
            let (session, client) = (&*record.session, record.client);
            tracing::info!(session, %client, helo = record.helo.as_deref(), tls = record.tls, folded, ms, "folded");
        }
    }
}

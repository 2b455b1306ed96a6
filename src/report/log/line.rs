//! A record as one event of the log, by the table of its keys. It must not decide what is worth a line.

use crate::policy::verdict::Verdict;
use crate::session::record::Key;
use crate::session::record::Kind;
use crate::session::record::Record;

/// Writes the line of one record.
pub fn write(record: &Record) {
    let has_recipients = matches!(record.kind, Kind::Mail | Kind::Rcpt);
    let recipients = has_recipients.then(|| record.recipients.join(","));
    let shadow = (!record.shadow.is_empty()).then(|| record.shadow.join(","));
    let ms = u64::try_from(record.took.as_millis()).unwrap_or(u64::MAX);
    match record.kind {
        Kind::Folded => tracing::info!(
            message = record.kind.as_str(),
            { Key::Session.name() } = &*record.session,
            { Key::Client.name() } = %record.client,
            { Key::Helo.name() } = record.helo.as_deref(),
            { Key::Tls.name() } = record.tls,
            { Key::Folded.name() } = record.folded.to_string(),
            { Key::Ms.name() } = ms,
        ),
        Kind::Mail | Kind::Rcpt | Kind::Command | Kind::Session | Kind::Auth => tracing::info!(
            message = record.kind.as_str(),
            { Key::Session.name() } = &*record.session,
            { Key::Client.name() } = %record.client,
            { Key::Helo.name() } = record.helo.as_deref(),
            { Key::Tls.name() } = record.tls,
            { Key::Sender.name() } = record.sender.as_deref(),
            { Key::Recipients.name() } = recipients.as_deref(),
            { Key::Size.name() } = record.size,
            { Key::Id.name() } = record.id.as_deref(),
            { Key::Verdict.name() } = record.verdict.map(Verdict::as_str),
            { Key::Code.name() } = record.code,
            { Key::Reason.name() } = record.reason.map(|reason| reason.as_str()),
            { Key::User.name() } = record.user.as_deref(),
            { Key::Rule.name() } = record.rule.as_deref(),
            { Key::Shadow.name() } = shadow.as_deref(),
            { Key::Backend.name() } = record.backend.as_deref(),
            { Key::Words.name() } = record.words.as_deref(),
            { Key::Ms.name() } = ms,
        ),
    }
}

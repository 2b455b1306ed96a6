//! Every reply of ours, declared once: code, enhanced status (RFC 3463) and text. A refusal says what was refused and why.
//! Nobody else puts a reply together. It must not know how one is written.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Display;
use std::fmt::Write;
use std::time::Duration;

use crate::smtp::reply::Reply;

/// Makes a constructor of each row: code, status, name and arguments, text. A sender brings its `<>` along, a recipient
/// is the bare address.
macro_rules! replies {
    ($(
        $(#[$doc:meta])*
        $code:literal $status:literal $name:ident($($argument:ident: $kind:ty),*) $text:literal $(, $value:expr)?;
    )*) => {
        $($(#[$doc])* pub fn $name($($argument: $kind),*) -> Reply {
            reply($code, $status, format_args!($text $(, $value)?))
        })*

        /// The table below: name, code, enhanced status, and text with its places in braces. The reference of replies
        /// is held against it.
        pub const DECLARED: &[(&str, u16, &str, &str)] = &[$((stringify!($name), $code, $status, $text)),*];
    };
}

replies! {
    // The greeting, and the ends of a connection.
    /// The greeting; `banner` is the text behind the code: our name first (RFC 5321 section 4.2).
    220 "" greeting(banner: &str) "{banner}";
    /// A client that did not wait for the greeting.
    554 "5.5.1" early_talker() "You sent commands before the greeting";
    /// The answer to QUIT.
    221 "2.0.0" goodbye(hostname: &str) "{hostname} closing connection";
    /// All connections are taken.
    421 "4.3.2" too_busy() "Too many connections, try again later";
    /// This client's share of the connections is taken.
    421 "4.3.2" too_many_connections(client: impl Display) "Too many connections from {client}, try again later";
    /// The proxy stops.
    421 "4.3.2" shutting_down() "Shutting down, try again later";
    /// The message came in slowly, and its room was needed for others.
    421 "4.3.1" too_slow() "Storage is nearly full and this message arrives too slowly, try again later";
    /// The client was silent, or too slow.
    421 "4.4.2" timeout() "Time limit exceeded";
    /// More protocol errors than `server.max_errors`.
    421 "4.7.0" too_many_errors() "Too many errors";
    /// A verdict `disconnect` when no other reply is due; `what` as for [`throttled`].
    421 "4.7.0" disconnected(what: impl Display, wait: Duration)
        "Too many {what}, try again in {} seconds", seconds(wait);
    /// A browser: nothing of what it sends may run as a command.
    421 "4.7.0" http() "This is SMTP, not HTTP";
    /// A TLS handshake where plain text was due.
    421 "4.7.0" tls_hello() "Use STARTTLS to start TLS on this port";

    // Commands that are done.
    /// The answer to HELO; EHLO has [`ehlo`](crate::smtp::reply::ehlo).
    250 "" hello(hostname: &str) "{hostname}";
    /// The answer to DATA.
    354 "" start_data() "End the message with a dot on a line by itself";
    /// A message that was delivered before, and is not again.
    250 "2.0.0" absorbed() "Already delivered";
    /// The answer to RSET.
    250 "2.0.0" reset() "Reset";
    /// The answer to NOOP.
    250 "2.0.0" noop() "Ok";
    /// The answer to VRFY (RFC 5321 section 3.5.3).
    252 "2.5.2" cannot_verify() "Cannot verify an address, but will try to deliver";
    /// The answer to HELP.
    214 "2.0.0" help() "EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT, as in RFC 5321";
    /// The answer to STARTTLS; nothing follows it in the clear.
    220 "2.0.0" start_tls() "Ready to start TLS";

    // Lines that are no command of ours.
    /// A control octet in a command.
    500 "5.5.2" control_octet() "Control character in a command";
    /// A line without even a verb.
    500 "5.5.2" syntax() "Syntax error";
    /// An unknown verb.
    500 "5.5.1" unknown_command() "Unknown command";
    /// A verb of SMTP that is not offered here.
    502 "5.5.1" unsupported(verb: &str) "{verb} is not offered";
    /// A command line over the limit (RFC 5321 section 4.5.3.1.9).
    500 "5.5.2" line_too_long() "Line too long";
    /// A command that a bare LF ended, where that is refused.
    500 "5.5.2" bare_newline_in_command() "Line ends with a bare LF";
    /// A bad argument; `form` is the form that was due: `MAIL FROM:<address>`.
    501 "5.5.4" argument(form: &str) "Syntax: {form}";
    /// An argument of DATA, RSET, QUIT or STARTTLS, which stand alone.
    501 "5.5.4" no_argument_allowed() "This command takes no argument";
    /// A sender that is no address.
    501 "5.1.7" sender_syntax() "Syntax error in the sender's address";
    /// A recipient that is no address.
    501 "5.1.3" recipient_syntax() "Syntax error in the recipient's address";
    /// An address that needs SMTPUTF8 without it (RFC 6531 section 3.5).
    553 "5.6.7" non_ascii() "A non-ASCII address needs SMTPUTF8";
    /// A parameter with a value that it cannot have, or given twice.
    501 "5.5.4" bad_parameter(name: &str) "Parameter {name} has a bad value or is given twice";
    /// A parameter that was not offered.
    555 "5.5.4" unknown_parameter(name: &str) "Parameter {name} is not offered";
    /// A known parameter with a value that is not offered: `BODY=BINARYMIME`.
    504 "5.5.4" unsupported_value(parameter: &str) "{parameter} is not offered";

    // Commands out of their order (RFC 5321 section 4.1.4).
    /// AUTH before EHLO.
    503 "5.5.1" need_hello() "Send EHLO first";
    /// MAIL in a transaction.
    503 "5.5.1" nested_mail() "A sender was already given";
    /// RCPT or DATA outside of a transaction.
    503 "5.5.1" need_mail() "Send MAIL first";
    /// DATA before RCPT.
    503 "5.5.1" need_recipient() "Send RCPT first";
    /// DATA after all RCPT were refused.
    554 "5.5.1" no_valid_recipients() "No valid recipients";
    /// DATA after all RCPT were refused, one of them for now: programs that look at nothing but this reply would give
    /// the mail up.
    450 "4.5.1" no_recipients_for_now() "No valid recipients for now, try again later";
    /// AUTH or STARTTLS between MAIL and the end of the message.
    503 "5.5.1" in_transaction(verb: &str) "{verb} is not allowed in a transaction";
    /// A second STARTTLS.
    503 "5.5.1" already_tls() "TLS is already active";
    /// A second AUTH (RFC 4954 section 4).
    503 "5.5.1" already_authenticated() "Already authenticated";

    // TLS and AUTH.
    /// MAIL in the clear where TLS is required (RFC 3207 section 4).
    530 "5.7.0" tls_required() "Send STARTTLS first";
    /// AUTH in the clear where only TLS may carry it.
    538 "5.7.11" encryption_required() "AUTH requires TLS";
    /// A line of an AUTH exchange over its limit (RFC 4954 section 6).
    500 "5.5.6" authentication_line_too_long() "Authentication line too long";

    // Refusals by rule.
    /// A client under tcprules' `deny` or a block, at MAIL.
    554 "5.7.1" blocked_client(client: impl Display) "Client {client} is blocked";
    /// MAIL of a sender that will be refused at RCPT, and one that the backend hears of only with the message.
    250 "2.1.0" sender_ok() "Ok";
    /// RCPT that the backend hears of only with the message.
    250 "2.1.5" recipient_ok() "Ok";
    /// A sender on a list or under a block.
    554 "5.7.1" blocked_sender(sender: impl Display) "{sender} is blocked";
    /// A recipient on a list.
    554 "5.7.1" blocked_recipient(recipient: impl Display) "Recipient <{recipient}> is blocked";
    /// A recipient that is not in rcpthosts.
    553 "5.7.1" not_local(recipient: impl Display) "<{recipient}> is not local, and you may not relay";
    /// A recipient with `%`, `!` or `@` in its local part, without `recipients.routing`.
    553 "5.7.1" routed(recipient: impl Display) "<{recipient}> contains a route, and you may not relay";
    /// A recipient of ours that is not in `recipients.known` (RFC 3463 section 3.2).
    550 "5.1.1" unknown_recipient(recipient: impl Display) "Recipient <{recipient}> does not exist";
    /// More recipients than `server.max_recipients` (RFC 5321 section 4.5.3.1.10); the client sends the rest
    /// separately.
    452 "4.5.3" too_many_recipients(limit: u32) "Too many recipients, the limit is {limit}";
    /// A recipient whose size limit is not that of the first one; the client sends it separately.
    452 "4.5.3" different_limit(recipient: impl Display) "<{recipient}> has a different size limit, send to it separately";
    /// A message over the limit, declared at MAIL or counted at the final dot; both in octets.
    552 "5.3.4" oversize(size: u64, limit: u64) "Message of {size} octets exceeds the limit of {limit}";
    /// A message over the recipient's own limit.
    552 "5.3.4" oversize_for(recipient: impl Display, size: u64, limit: u64)
        "Message of {size} octets exceeds the limit of {limit} for <{recipient}>";
    /// A throttle's defer; `what` goes between `Too many` and the wait: `refused messages from <x@y>`.
    450 "4.7.1" throttled(what: impl Display, wait: Duration)
        "Too many {what}, try again in {} seconds", seconds(wait);
    /// AUTH after too many failures; the backend is not asked.
    454 "4.7.0" too_many_failures(wait: Duration) "Too many failed logins, try again in {} seconds", seconds(wait);
    /// A client that tries out names, behind the reply to the last of them.
    421 "4.7.0" too_many_unknown_recipients() "Too many unknown recipients";
    /// A throttle's defer that came too often; `what` as for [`throttled`].
    554 "5.7.1" escalated(what: impl Display, tries: u32) "Too many {what}, refused after {tries} tries";
    /// A throttle's block; `what` as for [`throttled`].
    554 "5.7.1" blocked_for(what: impl Display, wait: Duration) "Too many {what}, blocked for {} seconds", seconds(wait);
    /// A message without SIZE, after others that were too large.
    450 "4.7.1" oversize_remembered(recipient: impl Display, wait: Duration)
        "Messages for <{recipient}> were too large before: declare SIZE, or try again in {} seconds", seconds(wait);
    /// A message that was delivered often enough; `times` counts copies that were acknowledged.
    554 "5.7.1" repeated(times: u32) "This message was already delivered {times} times";
    /// DATA after copies of one message of this size were refused over and over.
    450 "4.7.1" expected_copy(wait: Duration)
        "Copies of a message of this size were already delivered, try again in {} seconds", seconds(wait);
    /// A message that is on its way to the backend already.
    450 "4.7.1" in_flight() "This message is being delivered, try again later";
    /// More Received or Delivered-To fields than `message.max_hops`.
    554 "5.4.6" too_many_hops(hops: u32, limit: u32) "Mail loop: {hops} hops, the limit is {limit}";
    /// More own hops than `message.own_hops`.
    554 "5.4.6" mail_loop(hops: u32, limit: u32) "Mail loop: passed here {hops} times, the limit is {limit}";
    /// A bare newline in a message, where it is refused.
    554 "5.5.2" bare_newline() "Message contains a bare CR or LF; lines must end with CRLF";
    /// NUL in a message.
    554 "5.6.0" nul() "Message contains a NUL character";

    // Errors on our side, which pass.
    /// STARTTLS while too many handshakes run (RFC 3207 section 4).
    454 "4.7.0" tls_not_available() "TLS is not available at present, try again later";
    /// A backend that is down, silent, or talks nonsense.
    451 "4.3.0" backend_unavailable() "The mail server behind this one is not available, try again later";
    /// A message that a backend with a reply for each recipient (LMTP) did not take for all of them.
    451 "4.2.0" partly_delivered(served: usize, recipients: usize)
        "Delivered to {served} of {recipients} recipients, try again later for the others";
    /// A backend without a free permit within `backend.timeout.connect`.
    451 "4.3.2" backend_busy() "The mail server behind this one is busy, try again later";
    /// No memory, disk or queue to hold the message.
    452 "4.3.1" no_room() "Insufficient storage for the message, try again later";
    /// An error of our own.
    451 "4.3.0" internal() "Internal error, try again later";
}

fn reply(code: u16, status: &'static str, text: fmt::Arguments<'_>) -> Reply {
    let text = text.as_str().map_or_else(|| Cow::from(written(text)), Cow::from);
    Reply { code, status, text }
}

/// The text, written with room for most replies: growing costs more than writing.
fn written(text: fmt::Arguments<'_>) -> String {
    let mut string = String::with_capacity(96);
    // A String takes whatever it is given.
    let _ = string.write_fmt(text);
    string
}

/// Whole seconds. A part of one is rounded up: a client that retries a moment early is refused once more.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::reply::Signature;

    #[test]
    fn values_in_their_places() {
        let rows = [
            (start_data(), "354 End the message with a dot on a line by itself"),
            (blocked_sender("<newsletter@sillyplace.com>"), "554 5.7.1 <newsletter@sillyplace.com> is blocked [s1]"),
            (
                oversize(35_651_584, 10_485_760),
                "552 5.3.4 Message of 35651584 octets exceeds the limit of 10485760 [s1]",
            ),
            (
                throttled("refused messages from <x@y>", Duration::from_millis(3_599_001)),
                "450 4.7.1 Too many refused messages from <x@y>, try again in 3600 seconds [s1]",
            ),
        ];
        for (reply, line) in rows {
            assert_eq!(reply.line(&Signature { session: "s1".into(), contact: "".into() }), line);
        }
    }

    /// Each new one is to be thought about.
    #[test]
    fn those_whose_reader_may_ask_the_operator() {
        let signature = Signature { session: "s1".into(), contact: "https://example.org/postmaster".into() };
        let asked = DECLARED.iter().filter(|(_, code, status, _)| {
            Reply { code: *code, status, text: "".into() }.line(&signature).contains(&*signature.contact)
        });
        let asked: Vec<&str> = asked.map(|(name, ..)| *name).collect();
        let expected = "blocked_client blocked_sender blocked_recipient not_local routed oversize oversize_for escalated \
                        blocked_for repeated too_many_hops mail_loop";
        assert_eq!(asked.join(" "), expected);
    }

    /// RFC 3463 section 2 and RFC 2034 section 4: the class of the status is the first digit of the code.
    #[test]
    fn status_and_code_agree() {
        for (name, code, status, _) in DECLARED {
            if status.is_empty() {
                assert!(["greeting", "hello", "start_data"].contains(name), "{name}");
            } else {
                assert_eq!(status.split('.').next(), Some(&code.to_string()[..1]), "{name}");
                assert_eq!(status.split('.').count(), 3, "{name}");
            }
        }
    }
}

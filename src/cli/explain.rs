//! `explain`: what would happen to a message, and which line of which file decides; printed. The session that is rehearsed
//! for it is `rehearsal::explain`'s.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

use bytes::Bytes;
use clap::Args;
use serde_json::json;

use crate::admin::client::Wish;
use crate::cli::BAD_USAGE;
use crate::cli::Source;
use crate::cli::desk::Desk;
use crate::cli::print;
use crate::config::units;
use crate::policy::addresses::empty_word;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Verdict;
use crate::rehearsal::explain;
use crate::rehearsal::explanation::Explanation;
use crate::rehearsal::message;
use crate::rehearsal::message::Message;
use crate::rehearsal::message::Script;
use crate::rehearsal::rehearse::Step;
use crate::rehearsal::story::Story;
use crate::rehearsal::told::Told;
use crate::text::bounded;
use crate::text::readable::shown;
use crate::text::shell;

/// Show what would happen to a message, and which line of which file decides
///
/// Rehearses the session of this client; nothing is counted or delivered. The files are read here; blocks, throttles,
/// deliveries and the backend's extensions come from the running proxy, if it is reachable. If the files have errors, the
/// proxy answers by the configuration that it has in force. Exit code 0: accept, 1: reject, 2: defer or disconnect.
#[derive(Args, Debug)]
pub(super) struct Explain {
    #[command(flatten)]
    source: Source,
    /// The envelope sender; <> is the null sender
    #[arg(long, value_name = "ADDRESS")]
    sender: String,
    /// An envelope recipient; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    recipient: Vec<String>,
    /// The client's address
    #[arg(long, value_name = "IP", default_value = "192.0.2.1", value_parser = client_address)]
    client: IpAddr,
    /// The client's host name, as in TCPREMOTEHOST
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// The name that the client gives in EHLO
    #[arg(long, value_name = "NAME", default_value = "client.example")]
    helo: String,
    /// As if the session used TLS
    #[arg(long)]
    tls: bool,
    /// As if this user had logged in
    #[arg(long, value_name = "USER")]
    authenticated: Option<String>,
    /// The declared size: octets, or 10MB, 10MiB
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    size: Option<u64>,
    /// A file with a message, of which only the header is sent (hops, loops); - is standard input
    #[arg(long, value_name = "FILE", requires = "recipient", conflicts_with = "message")]
    header: Option<PathBuf>,
    /// A file with a message, sent up to the final dot (size, hops, loops, line ends, repeats); - is standard input
    #[arg(long, value_name = "FILE", requires = "recipient")]
    message: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) fn run(&self) -> ExitCode {
        let desk = match self.source.desk() {
            Ok(desk) => desk,
            Err(code) => return code,
        };
        match self.explain(&desk) {
            Ok((message, explanation, basis)) => {
                match self.json {
                    true => {
                        let is_asked = matches!(basis, Basis::Both | Basis::Proxy);
                        print(&json!(Story::of(&message, &explanation, basis.word(), is_asked)).to_string());
                    }
                    false => print_table(&explanation, &basis),
                }
                match explanation.verdict() {
                    Verdict::Accept | Verdict::Absorb => ExitCode::SUCCESS,
                    Verdict::Reject => ExitCode::FAILURE,
                    Verdict::Defer | Verdict::Disconnect => ExitCode::from(2),
                }
            }
            Err((code, what)) => {
                eprintln!("{what}");
                code
            }
        }
    }

    /// The message, its explanation, and what that goes by.
    ///
    /// # Errors
    /// An option that is wrong; or the files have errors, and the running proxy, which has good ones, is not reachable.
    fn explain(&self, desk: &Desk) -> Result<(Message, Explanation, Basis), (ExitCode, String)> {
        let (script, body) = self.script(desk).map_err(|what| (ExitCode::from(BAD_USAGE), what))?;
        let asked = desk.ask(&Wish::Rehearsal(script.message.clone(), body.clone()));
        let asked = asked.and_then(|(_, answer)| serde_json::from_value(answer).map_err(|error| error.to_string()));
        let told: Result<Told, String> = asked;
        let configuration = (&desk.read.snapshot, &desk.read.config.backend);
        let (explanation, basis) = match told {
            Ok(Told { explanation: Some(explanation), .. }) if desk.is_faulty => (explanation, Basis::Proxy),
            Ok(told) => (explain::explain(configuration, &script, &body, told), Basis::Both),
            Err(why) if desk.read.lists_are_whole => {
                let explanation = explain::explain(configuration, &script, &body, Told::default());
                (explanation, if desk.is_faulty { Basis::Parts(why) } else { Basis::Files(why) })
            }
            Err(why) => {
                let told =
                    format!("{why}\nand the lists have errors, so nothing can be explained: run portcullis check");
                return Err((ExitCode::FAILURE, told));
            }
        };
        Ok((script.message, explanation, basis))
    }

    /// The session, and the octets of its message.
    ///
    /// # Errors
    /// An option that is wrong.
    fn script(&self, desk: &Desk) -> Result<(Script, Bytes), String> {
        if self.sender.trim().is_empty() {
            return Err(empty_word("--sender"));
        }
        let mut message = Message {
            client: self.client,
            host: self.host.clone(),
            helo: self.helo.clone(),
            tls: self.tls,
            user: self.authenticated.clone(),
            sender: self.sender.clone(),
            recipients: self.recipient.clone(),
            size: self.size,
            eight_bit: None,
        };
        let most = explain::largest(&desk.read.snapshot, &message);
        let octets = match (&self.header, &self.message) {
            (Some(file), _) => {
                let octets = read(file, "--header", most)?;
                Some(message::header(&octets).to_owned())
            }
            (None, Some(file)) => Some(read(file, "--message", most)?),
            (None, None) => None,
        };
        message.eight_bit = octets.as_ref().map(|octets| !octets.is_ascii());
        let body = Bytes::from(octets.map(|octets| message::as_sent(&octets)).unwrap_or_default());
        // What is wrong with it begins with the option's name.
        let script = message.script().map_err(|what| format!("--{what}"))?;
        Ok((script, body))
    }
}

/// What an explanation goes by.
enum Basis {
    /// The files, and the state of the running proxy.
    Both,
    /// What the running proxy has in force: the files have errors.
    Proxy,
    /// The files; the proxy is not reachable, for this reason.
    Files(String),
    /// The files without what has errors there; the proxy is not reachable, for this reason.
    Parts(String),
}

impl Basis {
    /// The configuration that was used, as `--json` names it.
    fn word(&self) -> &'static str {
        match self {
            Self::Both | Self::Files(_) => "files",
            Self::Proxy => "running proxy",
            Self::Parts(_) => "files without what has errors",
        }
    }
}

fn client_address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "write an address such as 192.0.2.1 or 2001:db8::1".to_owned())
}

/// A file whole, or standard input, up to `most` octets.
fn read(file: &Path, option: &str, most: u64) -> Result<Vec<u8>, String> {
    let octets = match file.as_os_str() == "-" {
        true => bounded::rest(io::stdin().lock(), most),
        false => bounded::read(file, most),
    };
    let fault = |what: &str| format!("{} ({option}): {what}", shown(&file.display().to_string()));
    match octets {
        Ok(octets) if octets.is_empty() => Err(fault("is empty")),
        Ok(octets) => Ok(octets),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            Err(fault(&format!("{error}; --size alone shows what a message of that size gets")))
        }
        Err(error) => Err(fault(&error.to_string())),
    }
}

fn print_table(explanation: &Explanation, basis: &Basis) {
    print(&format!("tcprules   {}", explanation.rule.as_deref().unwrap_or("no rule for this client")));
    let variables = explanation.variables.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect::<Vec<_>>();
    if !variables.is_empty() {
        print(&format!("  sets     {}", variables.join(", ")));
    }
    let limit = explanation.limit.as_ref().map(|limit| format!("{} octets by {}", limit.octets, limit.rule));
    // A backend whose offer is known, without SIZE, has no limit to say.
    let may_say_less = explanation.offer.as_ref().is_none_or(|offer| offer.iter().any(|word| word.starts_with("SIZE")));
    let less = if may_say_less { ", unless the backend says less" } else { "" };
    print(&format!("size       {}{less}", limit.as_deref().unwrap_or("no limit")));
    explanation.known.iter().for_each(|(who, rule)| print(&format!("known      {} by {rule}", shown(who))));
    print(&match basis {
        Basis::Both => "proxy      running; its blocks and throttles are included".to_owned(),
        Basis::Proxy => {
            "proxy      running; everything here is by the configuration that it has in force, not by the files"
                .to_owned()
        }
        Basis::Files(why) => format!("proxy      not reachable, so blocks and throttles are not included: {why}"),
        Basis::Parts(why) => {
            format!(
                "proxy      not reachable; by the files as far as they could be read, without blocks and throttles: {why}"
            )
        }
    });
    if explanation.offer.is_none() {
        print("backend    its extensions are not known yet; assumed to offer all of them");
    }
    explanation.steps.iter().for_each(print_step);
    let lift = |key: &String| print(&format!("to lift    portcullis unblock {}", shell::quoted(&shown(key))));
    explanation.throttled.iter().for_each(lift);
}

fn print_step(step: &Step) {
    if step.news().next().is_none() {
        print(&format!("{:<10} {}", Verdict::Accept.as_str(), step.command));
    }
    for said in step.news() {
        print(&format!("{:<10} {}", said.verdict.as_str(), step.command));
        print(&format!("  reply    {}", said.line));
        print(&format!("  reason   {}", said.reason.map_or("none", Reason::as_str)));
        print(&format!("  rule     {}", said.rule.as_deref().unwrap_or("none")));
    }
    // 421 says so itself.
    if step.closes && step.said.iter().all(|said| said.verdict != Verdict::Disconnect) {
        print("  then     the connection is closed");
    }
}

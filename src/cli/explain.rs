//! `explain`: what would happen to a message, and which line of which file decides; printed. What is ruled, and in which
//! order, is `rehearsal::explain`'s.

use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use serde_json::json;

use crate::admin::client;
use crate::admin::client::Wish;
use crate::cli::BAD_USAGE;
use crate::cli::Source;
use crate::cli::print;
use crate::config::units;
use crate::policy::addresses::empty_word;
use crate::policy::verdict::Verdict;
use crate::rehearsal::explain;
use crate::rehearsal::explain::Explanation;
use crate::rehearsal::explain::Message;
use crate::rehearsal::explain::Step;
use crate::rehearsal::standing::Standing;
use crate::text::readable::shown;
use crate::text::shell;

/// Say what would happen to a message, and which line of which file decides
///
/// Exit code 0 accept, 1 reject, 2 defer or disconnect. The running proxy is asked for its blocks and
/// throttles where `[admin]` answers; the files are read here.
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
    /// The client's name, as TCPREMOTEHOST would have it
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// The client's name for itself
    #[arg(long, value_name = "NAME", default_value = "client.example")]
    helo: String,
    /// The declared size: octets, or 10MB, 10MiB
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    size: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) fn run(&self) -> ExitCode {
        if self.sender.trim().is_empty() {
            eprintln!("{}", empty_word("--sender"));
            return ExitCode::from(BAD_USAGE);
        }
        let assembly = match self.source.assemble() {
            Ok(assembly) => assembly,
            Err(code) => return code,
        };
        let message = Message {
            client: self.client,
            host: self.host.clone(),
            helo: self.helo.clone(),
            sender: self.sender.clone(),
            recipients: self.recipient.clone(),
            size: self.size,
        };
        let asked = client::ask(&assembly.config.admin, &Wish::Standing(message.clone()));
        let asked = asked.and_then(|(_, answer)| serde_json::from_value(answer).map_err(|error| error.to_string()));
        let (standing, unasked): (Standing, _) = match asked {
            Ok(standing) => (standing, None),
            Err(why) => (Standing::default(), Some(why)),
        };
        let explanation = match explain::explain(&assembly, &message, &standing) {
            Ok(explanation) => explanation,
            Err(what) => {
                // It begins with the option's name.
                eprintln!("--{what}");
                return ExitCode::from(BAD_USAGE);
            }
        };
        if self.json {
            print(&self.as_json(&explanation, &standing, unasked.is_none()).to_string());
        } else {
            print_table(&explanation, unasked.as_deref());
            standing
                .throttled()
                .iter()
                .for_each(|key| print(&format!("to lift    portcullis unblock {}", shell::quoted(&shown(key)))));
        }
        match explanation.verdict() {
            Verdict::Accept | Verdict::Absorb => ExitCode::SUCCESS,
            Verdict::Reject => ExitCode::FAILURE,
            Verdict::Defer | Verdict::Disconnect => ExitCode::from(2),
        }
    }

    fn as_json(&self, explanation: &Explanation, standing: &Standing, asked: bool) -> Value {
        let step = |Step { command, ruling }: &Step| match ruling {
            None => json!({ "command": command, "verdict": Verdict::Accept.as_str() }),
            Some(ruling) => json!({
                "command": command,
                "verdict": ruling.verdict.as_str(),
                "code": ruling.reply.code,
                "reply": ruling.reply.line(&explanation.signature),
                "reason": ruling.reason.as_str(),
                "rule": ruling.rule.as_deref(),
            }),
        };
        json!({
            "verdict": explanation.verdict().as_str(),
            "client": self.client.to_string(),
            "helo": self.helo,
            "tcprules": explanation.rule,
            "size_limit": explanation.limit.map(|limit| limit.octets),
            "size_rule": explanation.limit.map(|limit| limit.rule),
            "proxy_asked": asked,
            "throttled": standing.throttled(),
            "steps": explanation.steps.iter().map(step).collect::<Vec<_>>(),
        })
    }
}

fn client_address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "write an address such as 192.0.2.1 or 2001:db8::1".to_owned())
}

fn print_table(explanation: &Explanation, unasked: Option<&str>) {
    print(&format!("tcprules   {}", explanation.rule.as_deref().unwrap_or("no rule for this client")));
    let limit = explanation.limit.map(|limit| format!("{} octets by {}", limit.octets, limit.rule));
    print(&format!("size       {}, unless the backend says less", limit.as_deref().unwrap_or("no limit")));
    print(&match unasked {
        None => "proxy      its blocks and throttles are asked".to_owned(),
        Some(why) => format!("proxy      blocks and throttles are not asked: {why}"),
    });
    for Step { command, ruling } in &explanation.steps {
        print(&format!("{:<10} {command}", ruling.as_ref().map_or(Verdict::Accept, |ruling| ruling.verdict).as_str()));
        if let Some(ruling) = ruling {
            print(&format!("  reply    {}", ruling.reply.line(&explanation.signature)));
            print(&format!("  reason   {}", ruling.reason));
            print(&format!("  rule     {}", ruling.rule.as_deref().unwrap_or("none")));
        }
    }
}

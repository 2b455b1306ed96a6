//! `explain`: what would happen to a message, and which line of which file decides. It calls the functions that `serve`
//! calls, in the same order; counters of a running proxy are not asked.

use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use serde_json::json;

use crate::cli::BAD_USAGE;
use crate::cli::Source;
use crate::cli::print;
use crate::ops::assemble::Assembly;
use crate::policy::Policy;
use crate::policy::environment::Environment;
use crate::policy::verdict::Ruling;
use crate::policy::verdict::Verdict;
use crate::smtp::command;
use crate::smtp::command::Command;
use crate::smtp::command::Mail;
use crate::smtp::command::Rcpt;

/// Say what would happen to a message, and which line of which file decides
///
/// Exit code 0 accept, 1 reject, 2 defer or disconnect. Throttles count in the running proxy and are not asked here.
#[derive(Args, Debug)]
pub(super) struct Explain {
    #[command(flatten)]
    source: Source,
    /// The envelope sender; <> or an empty word is the null sender
    #[arg(long, value_name = "ADDRESS")]
    sender: String,
    /// An envelope recipient; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    recipient: Vec<String>,
    /// The client's address
    #[arg(long, value_name = "IP", default_value = "192.0.2.1")]
    client: IpAddr,
    /// The client's name, as TCPREMOTEHOST would have it
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// The client's name for itself
    #[arg(long, value_name = "NAME", default_value = "client.example")]
    helo: String,
    /// The declared size in octets
    #[arg(long, value_name = "OCTETS")]
    size: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is ruled at one command.
struct Step {
    command: String,
    ruling: Option<Ruling>,
}

impl Explain {
    pub(super) fn run(&self) -> ExitCode {
        let assembly = match self.source.origin(&[], None).assemble() {
            Ok(assembly) => assembly,
            Err(faults) => {
                faults.iter().for_each(|fault| eprintln!("{fault}"));
                return ExitCode::FAILURE;
            }
        };
        let (mail, recipients) = match (self.mail(), self.recipients()) {
            (Ok(mail), Ok(recipients)) => (mail, recipients),
            (Err(what), _) | (_, Err(what)) => {
                eprintln!("{what}");
                return ExitCode::from(BAD_USAGE);
            }
        };
        let policy = &assembly.snapshot.policy;
        let (environment, refusal) = policy.client(self.client, self.host.as_deref());
        let steps = self.steps(&assembly, &environment, refusal, &mail, &recipients);
        let rule = policy.clients.find(self.client, self.host.as_deref(), None);
        let rule = rule.map(|(key, rule)| format!("{}, key {:?}", rule.place, String::from_utf8_lossy(key)));
        let limit = policy.size.ours(&environment).announced();
        if self.json {
            print(&self.as_json(&steps, rule.as_deref(), limit).to_string());
        } else {
            self.print_table(&steps, rule.as_deref(), limit);
        }
        let worst = steps.iter().filter_map(|step| step.ruling.as_ref()).next_back().map(|ruling| ruling.verdict);
        match worst {
            None | Some(Verdict::Accept | Verdict::Absorb) => ExitCode::SUCCESS,
            Some(Verdict::Reject) => ExitCode::FAILURE,
            Some(Verdict::Defer | Verdict::Disconnect) => ExitCode::from(2),
        }
    }

    /// By the grammar of the wire, so that what passes here passes there.
    fn mail(&self) -> Result<Mail, String> {
        let size = self.size.map(|size| format!(" SIZE={size}")).unwrap_or_default();
        let utf8 = if self.sender.is_ascii() { "" } else { " SMTPUTF8" };
        let line = format!("MAIL FROM:{}{size}{utf8}", bracketed(&self.sender));
        match command::parse(line.as_bytes()) {
            Ok(Command::Mail(mail)) => Ok(mail),
            _ => Err(format!(
                "--sender {:?} is no address; write user@example.org, or <> for the null sender",
                self.sender
            )),
        }
    }

    fn recipients(&self) -> Result<Vec<Rcpt>, String> {
        let parse = |recipient: &String| match command::parse(format!("RCPT TO:{}", bracketed(recipient)).as_bytes()) {
            Ok(Command::Rcpt(rcpt)) => Ok(rcpt),
            _ => Err(format!("--recipient {recipient:?} is no address; write user@example.org")),
        };
        self.recipient.iter().map(parse).collect()
    }

    /// The order of rulings: the first refusal of connection or sender ends it, each recipient stands for itself.
    fn steps(
        &self,
        assembly: &Assembly,
        environment: &Environment,
        refusal: Option<Ruling>,
        mail: &Mail,
        recipients: &[Rcpt],
    ) -> Vec<Step> {
        let policy = &assembly.snapshot.policy;
        let mut steps = vec![Step { command: format!("connect from {}", self.client), ruling: refusal }];
        if steps[0].ruling.is_some() {
            return steps;
        }
        let limit = policy.size.ours(environment);
        let ruling = policy.sender(&mail.sender).or_else(|| Policy::declared_size(mail.size, limit));
        let refused = ruling.is_some();
        let size = mail.size.map(|size| format!(" SIZE={size}")).unwrap_or_default();
        steps.push(Step { command: format!("MAIL FROM:{}{size}", mail.sender), ruling });
        if refused {
            return steps;
        }
        let relay = environment.get(b"RELAYCLIENT").is_some();
        for rcpt in recipients {
            let ruling = policy
                .recipient(&rcpt.recipient, relay)
                .or_else(|| policy.capped_size(&rcpt.recipient, mail.size).err());
            steps.push(Step { command: format!("RCPT TO:<{}>", rcpt.recipient), ruling });
        }
        // Accepted recipients do not undo a refusal, and a refused one is what the exit code tells of.
        steps.sort_by_key(|step| step.ruling.is_some());
        steps
    }

    fn print_table(&self, steps: &[Step], rule: Option<&str>, limit: Option<u64>) {
        print(&format!("tcprules   {}", rule.unwrap_or("no rule for this client")));
        let limit = limit.map_or("no limit".to_owned(), |limit| format!("{limit} octets"));
        print(&format!("size       {limit}, unless the backend says less"));
        for step in steps {
            match &step.ruling {
                None => print(&format!("accept     {}", step.command)),
                Some(ruling) => {
                    print(&format!("{:<10} {}", ruling.verdict.as_str(), step.command));
                    print(&format!("  reply    {}", ruling.reply.line("session")));
                    print(&format!("  reason   {}", ruling.reason));
                    print(&format!("  rule     {}", ruling.rule.as_deref().unwrap_or("size.limit")));
                }
            }
        }
    }

    fn as_json(&self, steps: &[Step], rule: Option<&str>, limit: Option<u64>) -> Value {
        let step = |step: &Step| match &step.ruling {
            None => json!({ "command": step.command, "verdict": "accept" }),
            Some(ruling) => json!({
                "command": step.command,
                "verdict": ruling.verdict.as_str(),
                "code": ruling.reply.code,
                "reply": ruling.reply.line("session"),
                "reason": ruling.reason.as_str(),
                "rule": ruling.rule.as_deref(),
            }),
        };
        let refused = steps.iter().rfind(|step| step.ruling.is_some());
        let verdict = refused.and_then(|step| step.ruling.as_ref()).map_or("accept", |ruling| ruling.verdict.as_str());
        json!({
            "verdict": verdict,
            "helo": self.helo,
            "tcprules": rule,
            "size_limit": limit,
            "steps": steps.iter().map(step).collect::<Vec<_>>(),
        })
    }
}

fn bracketed(address: &str) -> String {
    match address.starts_with('<') {
        true => address.to_owned(),
        false => format!("<{address}>"),
    }
}

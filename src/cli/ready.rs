//! `ready`: asks the running proxy whether it should get mail, for the health check of a container and for scripts that
//! start something behind it. It must not decide that itself.

use std::process::ExitCode;
use std::time::Duration;
use std::time::Instant;

use clap::Args;

use crate::admin::client::Wish;
use crate::cli::Source;
use crate::cli::desk::Desk;
use crate::cli::print;
use crate::config::units;
use crate::status::readiness::Readiness;
use crate::text::readable;

/// Ask whether the running proxy should get mail: exit code 0 if so, 1 if not
///
/// It should while it is not stopping, its backend is not known to be down, its state can be written, its log is read,
/// and it has room to hold messages. Exit code 1 also where no proxy answers. Where a failed check restarts a container,
/// use `portcullis status` instead: a restart does not bring a backend back.
#[derive(Args, Debug)]
pub(super) struct Ready {
    #[command(flatten)]
    source: Source,
    /// Ask again until it is ready, for TIME at most
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    wait: Option<Duration>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Ready {
    pub(super) fn run(&self) -> ExitCode {
        let desk = match self.source.desk() {
            Ok(desk) => desk,
            Err(code) => return code,
        };
        let until = self.wait.and_then(|wait| now().checked_add(wait));
        loop {
            let asked = ask(&desk);
            let is_ready = asked.as_ref().is_ok_and(|(_, readiness)| readiness.ready);
            if is_ready || until.is_none_or(|until| now() >= until) {
                self.tell(asked);
                return if is_ready { ExitCode::SUCCESS } else { ExitCode::FAILURE };
            }
            #[expect(clippy::disallowed_methods, reason = "a command without a runtime, between two questions")]
            std::thread::sleep(PAUSE);
        }
    }

    fn tell(&self, asked: Result<(String, Readiness), String>) {
        match asked {
            Ok((text, _)) if self.json => print(&text),
            Ok((_, readiness)) => print(readiness.text().trim_end()),
            Err(fault) => eprintln!("{fault}"),
        }
    }
}

/// The answer as JSON text, and as what that says.
fn ask(desk: &Desk) -> Result<(String, Readiness), String> {
    let (text, answer) = desk.ask(&Wish::Ready)?;
    let mut readiness: Readiness = serde_json::from_value(answer).map_err(|error| error.to_string())?;
    for check in &mut readiness.checks {
        // It goes to a terminal, whatever answered.
        check.name = readable::text(check.name.as_bytes());
        check.text = readable::text(check.text.as_bytes());
    }
    Ok((text, readiness))
}

#[expect(clippy::disallowed_methods, reason = "a command without a runtime")]
fn now() -> Instant {
    Instant::now()
}

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(500);

//! Whether this proxy should get mail, with a line for each thing that this depends on: for orchestrators, load balancers and
//! `portcullis ready`. It must not look at anything but the status.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::status::Status;
use crate::status::words;
use crate::store::clock::Time;

/// Whether this proxy should get mail, and why not.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// Whether every check is `ok`.
    pub(crate) ready: bool,
    pub(crate) checks: Vec<Check>,
}

/// One thing that it depends on.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub(crate) struct Check {
    /// `accepting`, `backend`, `lists`, `state`, `log` or `hold`.
    pub(crate) name: String,
    pub(crate) ok: bool,
    /// The reason where it is not `ok`; else what was found.
    pub(crate) text: String,
}

impl Readiness {
    pub(crate) fn of(status: &Status) -> Self {
        let checks = vec![accepting(status), backend(status), lists(status), state(status), log(status), hold(status)];
        Self { ready: checks.iter().all(|check| check.ok), checks }
    }

    /// The answer and its reasons in the first line, then a line for each check.
    pub(crate) fn text(&self) -> String {
        let reasons: Vec<&str> =
            self.checks.iter().filter(|check| !check.ok).map(|check| check.text.as_str()).collect();
        let answer = match self.ready {
            true => "ready".to_owned(),
            false => format!("not ready: {}", reasons.join("; ")),
        };
        let line =
            |Check { name, ok, text }: &Check| format!("{name:<10} {} {text}\n", if *ok { "ok " } else { "bad" });
        format!("{answer}\n{}", self.checks.iter().map(line).collect::<String>())
    }
}

fn accepting(status: &Status) -> Check {
    let text = match status.stopping {
        true => "the proxy is stopping".to_owned(),
        false => format!("{} of {} connections", status.connections, status.max_connections),
    };
    Check { name: "accepting".to_owned(), ok: !status.stopping, text }
}

/// A backend of which nothing was heard yet counts as one that answers: the first client asks it.
fn backend(status: &Status) -> Check {
    let backend = &status.backend;
    let now = Time::from_seconds(status.now);
    let text = match backend.down_since {
        Some(since) => {
            let error = words::backend_error(&backend.target, backend.error.as_deref().unwrap_or_default());
            format!("the backend is down since {} ({error})", words::since(since, now))
        }
        None => backend.target.clone(),
    };
    Check { name: "backend".to_owned(), ok: backend.up, text }
}

/// A change with errors is not put in force, and is no reason to send mail elsewhere: the last good one is.
fn lists(status: &Status) -> Check {
    let (reload, now) = (&status.reload, Time::from_seconds(status.now));
    let mut text = format!("configuration and lists of {}", words::since(reload.at, now));
    if let Some(failed) = reload.failed_at {
        let fault = reload.faults.first().map(String::as_str).unwrap_or_default();
        text.push_str(&format!("; a change was not put in force at {} ({fault})", words::since(failed, now)));
    }
    Check { name: "lists".to_owned(), ok: true, text }
}

fn state(status: &Status) -> Check {
    let text = match (&status.state_error, &status.state_set_aside) {
        (Some(error), _) => format!("the state cannot be written ({error})"),
        (None, Some(kept)) => format!("the state was damaged and started empty; the old file is {kept}"),
        (None, None) if status.state == "memory" => "in memory: a restart forgets it".to_owned(),
        (None, None) => "written".to_owned(),
    };
    Check { name: "state".to_owned(), ok: status.state_error.is_none(), text }
}

fn log(status: &Status) -> Check {
    let text = match status.log_stalled {
        true => "the log is not being read",
        false => "read",
    };
    Check { name: "log".to_owned(), ok: !status.log_stalled, text: text.to_owned() }
}

/// Below the highest pressure only the slowest uploads are closed, and the others go on.
fn hold(status: &Status) -> Check {
    let (used, total) = (words::bytes(status.held_octets), words::bytes(status.hold_total));
    let ok = status.hold_pressure < HIGHEST_PRESSURE;
    let text = match ok {
        true => format!("{used} of {total}"),
        false => format!("there is hardly room to hold messages ({used} of {total}, message.hold_total)"),
    };
    Check { name: "hold".to_owned(), ok, text }
}

/// Of `hold_pressure`.
const HIGHEST_PRESSURE: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_has_every_reason_and_each_check_a_line() {
        let check = |name: &str, ok, text: &str| Check { name: name.to_owned(), ok, text: text.to_owned() };
        let backend = |ok| check("backend", ok, "the backend is down since 02:14");
        let hold = check("hold", true, "0 B of 1 GB");
        let log = check("log", false, "the log is not being read");
        for (ready, checks, text) in [
            (true, vec![hold], "ready\nhold       ok  0 B of 1 GB\n"),
            (
                false,
                vec![backend(false), log],
                "not ready: the backend is down since 02:14; the log is not being read\n\
                 backend    bad the backend is down since 02:14\nlog        bad the log is not being read\n",
            ),
        ] {
            assert_eq!(Readiness { ready, checks }.text(), text);
        }
    }
}

//! A command: one process that gets an event as JSON on standard input and in a few variables, within a time limit, in a
//! process group of its own. It gets nothing else of the daemon's environment but what a program needs to run, and what it
//! prints is only shown. It must not outlive its limit.

use std::process::ExitStatus;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::signal::killpg;
use nix::unistd::Pid;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::process::Child;
use tokio::process::Command;
use tokio::time::timeout;

use crate::alerts::Outcome;
use crate::alerts::event::Event;
use crate::alerts::event::moment;
use crate::text::readable;

/// Runs the command with an event, and says what became of it.
pub(crate) async fn run(words: &[String], event: &Event) -> Outcome {
    run_within(words, event, LIMIT).await
}

async fn run_within(words: &[String], event: &Event, limit: Duration) -> Outcome {
    let Some((program, arguments)) = words.split_first() else { return Outcome::Never("no program".to_owned()) };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(environment(event));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Outcome::Later(format!("cannot be started: {error}"), None),
    };
    // Until it is waited for, the number is its own, and that of its group.
    let group = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
    let outcome = match finish(&mut child, event, limit).await {
        Ok(Some((status, words))) => judged(status, &words),
        Err(error) => Outcome::Later(error.to_string(), None),
        Ok(None) => Outcome::Later(format!("not finished within {} s, and killed", limit.as_secs()), None),
    };
    if child.id().is_some() {
        group.into_iter().for_each(|group| _ = killpg(group, Signal::SIGKILL));
        let _ = child.wait().await;
    }
    outcome
}

/// Its end and what it printed, or nothing if it has not ended within `limit`. Something that it leaves behind may keep
/// its output open: that is no reason to wait, and none to run it again.
async fn finish(child: &mut Child, event: &Event, limit: Duration) -> std::io::Result<Option<(ExitStatus, String)>> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // A program that does not read it has not failed.
            let _ = stdin.write_all(format!("{}\n", event.json()).as_bytes()).await;
        }
    };
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let status = {
        let talk = async { tokio::join!(feed, beginning(stdout, &mut out), beginning(stderr, &mut errors)) };
        let mut talk = std::pin::pin!(talk);
        let mut has_talked = false;
        let ended = async {
            tokio::select! {
                status = child.wait() => return status,
                _ = &mut talk => has_talked = true,
            }
            child.wait().await
        };
        let Ok(status) = timeout(limit, ended).await else { return Ok(None) };
        if !has_talked {
            _ = timeout(LAST_WORDS, talk).await;
        }
        status?
    };
    let words = if errors.is_empty() { out } else { errors };
    Ok(Some((status, readable::text(words.trim_ascii()))))
}

/// The first octets of what a program prints; the rest is read and thrown away.
async fn beginning(stream: Option<impl AsyncRead + Unpin>, octets: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let room = SHOWN - octets.len();
        octets.extend_from_slice(&buffer[..count.min(room)]);
    }
}

/// As qmail's programs say it: 0 is done, 100 not again.
fn judged(status: ExitStatus, words: &str) -> Outcome {
    let told = if words.is_empty() { status.to_string() } else { format!("{status}: {words}") };
    match status.code() {
        Some(0) => Outcome::Sent(told),
        Some(100) => Outcome::Never(told),
        _ => Outcome::Later(told, None),
    }
}

fn environment(event: &Event) -> Vec<(&'static str, String)> {
    let inherited = INHERITED.iter().filter_map(|name| Some((*name, std::env::var(name).ok()?)));
    let own = [
        ("PORTCULLIS_EVENT", event.what.as_str().to_owned()),
        ("PORTCULLIS_KIND", event.kind.to_owned()),
        ("PORTCULLIS_SUBJECT", event.subject.clone()),
        ("PORTCULLIS_TEXT", event.text.clone()),
        ("PORTCULLIS_SINCE", moment(event.since)),
        ("PORTCULLIS_HOST", event.host.clone()),
        ("PORTCULLIS_ID", event.id()),
    ];
    inherited.chain(own).collect()
}

const INHERITED: [&str; 6] = ["HOME", "LANG", "LOGNAME", "PATH", "TZ", "USER"];
const LIMIT: Duration = Duration::from_secs(30);
/// For the rest of what a program has printed that has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Octets of what a program prints.
const SHOWN: usize = 200;

#[cfg(test)]
#[path = "command/tests.rs"]
mod tests;

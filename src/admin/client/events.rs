//! Server-sent events (HTML, section 9.2) of the running proxy, for commands that show it live. It must not connect again
//! by itself, take an event without bound, nor wait for a proxy that is silent.

use std::ops::ControlFlow;
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::admin::client::Asked;
use crate::admin::client::PATIENCE;
use crate::admin::client::fault;
use crate::admin::client::send;
use crate::config::checked::Admin;

/// What comes in a stream of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told<'a> {
    /// The proxy has accepted the request.
    Begun,
    /// An event: its name and its data.
    Event(&'a str, &'a str),
    /// A comment, which shows that the connection lives.
    Comment,
}

/// Tells what comes, until `take` has had enough: then there is no error.
///
/// # Errors
/// The proxy is not there, refuses, says nothing for `silence`, or ends the connection.
pub(super) async fn listen(
    admin: &Admin,
    asked: &Asked,
    silence: Duration,
    mut take: impl FnMut(Told<'_>) -> ControlFlow<()>,
) -> Result<(), String> {
    let response = timeout(PATIENCE, send(admin, asked)).await.map_err(|_| silent(PATIENCE))??;
    if take(Told::Begun).is_break() {
        return Ok(());
    }
    let (mut body, mut events) = (response.into_body(), Events::default());
    loop {
        let frame = timeout(silence, body.frame()).await.map_err(|_| silent(silence))?;
        let frame = frame.ok_or_else(|| "the proxy ended the connection".to_owned())?;
        let frame = frame.map_err(|error| fault(&error))?;
        if events.take(frame.data_ref().map_or(&[], |octets| octets), &mut take)?.is_break() {
            return Ok(());
        }
    }
}

fn silent(length: Duration) -> String {
    format!("the proxy said nothing for {} s: if it hangs, restart it", length.as_secs())
}

/// The lines of a stream of events, up to where it has been read.
#[derive(Debug, Default)]
struct Events {
    /// A line that is not whole.
    line: Vec<u8>,
    name: String,
    data: String,
}

impl Events {
    /// Takes more of the stream, and tells the events that end in it.
    fn take(
        &mut self,
        octets: &[u8],
        take: &mut impl FnMut(Told<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, String> {
        for piece in octets.split_inclusive(|octet| *octet == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.len() + self.data.len() > LARGEST {
                return Err(format!("the proxy's events: one is larger than {} MiB", LARGEST >> 20));
            }
            if self.line.pop_if(|octet| *octet == b'\n').is_none() {
                continue;
            }
            self.line.pop_if(|octet| *octet == b'\r');
            let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
            if self.end_line(&line, take).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn end_line(&mut self, line: &str, take: &mut impl FnMut(Told<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        if line.is_empty() {
            let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
            return if data.is_empty() { ControlFlow::Continue(()) } else { take(Told::Event(&name, &data)) };
        }
        match line.split_once(':') {
            Some(("", _)) => return take(Told::Comment),
            Some(("event", name)) => self.name = name.trim().to_owned(),
            Some(("data", data)) => self.data.push_str(data.strip_prefix(' ').unwrap_or(data)),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Octets of an event.
const LARGEST: usize = 8 << 20;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn events_in_any_pieces() {
        let stream =
            b"retry: 2000\n\nevent: status\ndata: {\"a\":1}\n\n:\n\nevent: records\r\ndata: []\r\n\r\ndata: x\n\n";
        for length in [1, 2, 7, stream.len()] {
            let (mut events, mut told) = (Events::default(), Vec::new());
            for piece in stream.chunks(length) {
                let mut take = |it: Told<'_>| {
                    told.push(match it {
                        Told::Begun => "begun".to_owned(),
                        Told::Comment => ":".to_owned(),
                        Told::Event(name, data) => format!("{name} {data}"),
                    });
                    ControlFlow::Continue(())
                };
                assert!(events.take(piece, &mut take).unwrap().is_continue());
            }
            assert_eq!(told, ["status {\"a\":1}", ":", "records []", " x"]);
        }
        let mut events = Events::default();
        assert!(events.take(stream, &mut |_| ControlFlow::Break(())).unwrap().is_break());
        let mut endless = || events.take(&[b'x'; 1 << 20], &mut |_| ControlFlow::Continue(()));
        assert!((0..9).map(|_| endless()).any(|taken| taken.is_err()));
    }
}

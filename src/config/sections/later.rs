//! `[repeat]`, `[state]`, `[admin]` and `[alert]`: read and checked, but without a function in this version. A value that
//! asks for more protection than there is, is a fault; one that asks for a convenience, a warning; what this version
//! does anyway, silent.

use std::time::Duration;

use crate::config::reader::Section;
use crate::config::sections::server::listen_address;
use crate::config::sections::time_limit;
use crate::config::units;

/// `[repeat]`: no copy is recognised yet.
pub(crate) fn repeat(section: &mut Section<'_>) {
    let day = Duration::from_secs(86_400);
    let window = section.parsed("window", time_limit).filter(|window| window.value != day).map(|window| window.at);
    section.choice("unacknowledged", &[("absorb", ()), ("deliver", ())]);
    let limit = section.number("limit", 0..=1_000_000).filter(|limit| ![0, 3].contains(&limit.value));
    let min_size = section.quantity("min_size", units::size).filter(|size| size.value != 64 << 10);
    for (key, at) in [("window", window), ("limit", limit.map(|it| it.at)), ("min_size", min_size.map(|it| it.at))] {
        if let Some(at) = at {
            let what = format!("repeats are not recognised in this version; leave repeat.{key} out");
            section.findings().fault(at, what);
        }
    }
}

/// `[state]`: counters live in memory.
pub(crate) fn state(section: &mut Section<'_>) {
    let url = |text: &str| match text.split_once(':') {
        Some(("redb", file)) if !file.is_empty() => Ok(Store::File),
        Some(("redis" | "rediss", host)) if host.starts_with("//") => Ok(Store::Shared),
        Some(("memory", "")) => Ok(Store::Memory),
        _ => Err("write \"memory:\", \"redb:FILE\" or \"redis://HOST\"".to_owned()),
    };
    let Some(url) = section.parsed("url", |text| url(text).map(|store| (store, text == DEFAULT_STATE))) else { return };
    match url.value {
        (Store::Shared, _) => {
            section.findings().fault(url.at, "no state is shared in this version; write url = \"memory:\"");
        }
        (Store::File, false) => {
            section.findings().warn(url.at, "state.url has no effect in this version: counters live in memory");
        }
        (Store::File | Store::Memory, _) => {}
    }
}

/// `[admin]`: nothing listens.
pub(crate) fn admin(section: &mut Section<'_>) {
    let listen = section.parsed("listen", |text| match text.strip_prefix("unix:") {
        None if text.is_empty() => Ok(()),
        None => listen_address(text).map(|_| ()),
        Some("") => Err("write \"unix:/run/portcullis.sock\"".to_owned()),
        Some(_) => Ok(()),
    });
    let token_file = section.text("token_file").filter(|file| file.value != "portcullis-token");
    let is_default = section.text_is("listen", &["", "127.0.0.1:8025"]);
    let first = listen.filter(|_| !is_default).map(|listen| listen.at).or(token_file.map(|file| file.at));
    if let Some(at) = first {
        section.findings().warn(at, "[admin] has no effect in this version");
    }
}

/// `[alert]`: nobody is told.
pub(crate) fn alert(section: &mut Section<'_>) {
    let webhook = section.parsed("webhook", |text| match text {
        "" => Ok(None),
        url if url.starts_with("http://") || url.starts_with("https://") => Ok(Some(())),
        _ => Err("write a URL such as \"https://example.org/hook\"".to_owned()),
    });
    let webhook = webhook.filter(|webhook| webhook.value.is_some()).map(|webhook| webhook.at);
    let command = section.list("command", "\"/usr/local/bin/page\"", |text| Ok(text.to_owned()));
    let command = command.and_then(|words| words.first().map(|word| word.at));
    if let Some(at) = webhook.or(command) {
        section.findings().warn(at, "[alert] has no effect in this version");
    }
}

#[derive(Clone, Copy)]
enum Store {
    File,
    Memory,
    Shared,
}

const DEFAULT_STATE: &str = "redb:portcullis-state.redb";

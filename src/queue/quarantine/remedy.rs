//! The commands of remedies, for a shell in the queue's folder. They must not remove a file: what may be the last copy of
//! something is moved beside the queue.

use crate::text::shell;

/// The commands, with qmail-send stopped meanwhile.
pub(super) fn stopped(commands: &str) -> String {
    format!("stop qmail-send; {commands}; start qmail-send")
}

/// The command that moves a file out of the queue, where it is kept.
pub(super) fn out_of_queue(place: &str) -> String {
    let name = shell::word(&place.replace('/', "."));
    format!("mkdir -p ../strays; mv -n {} ../strays/{name}", shell::word(place))
}

/// The commands that move all files of a message out of the queue.
pub(super) fn moved(places: impl Iterator<Item = String>) -> String {
    stopped(&places.map(|place| out_of_queue(&place)).collect::<Vec<_>>().join("; "))
}

/// The commands that make a folder as qmail would.
pub(super) fn make(place: &str) -> String {
    let like = match place {
        "bounce" => "info",
        "intd" => "todo",
        _ => place.split('/').next().unwrap_or(place),
    };
    format!("mkdir {place}; chown --reference={like} {place}; chmod --reference={like} {place}")
}

/// The commands that make a file of `lock` with `program`, in place of what is there, if anything is.
pub(super) fn anew(place: &str, program: &str, mode: &str, is_there: bool) -> String {
    let away = if is_there { format!("{}; ", out_of_queue(place)) } else { String::new() };
    stopped(&format!("{away}{program} {place}; chown qmails:qmail {place}; chmod {mode} {place}"))
}

//! Which files of a folder of multilog, svlogd or s6-log hold the log, in the order in which they were written. Names in,
//! names out: it must not look into the folder itself.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use jiff::SignedDuration;
use jiff::Timestamp;

use crate::logs::stamp::of_file_name;

/// The file that is being written.
pub const CURRENT: &str = "current";

/// The rotated files, oldest first. `.s` is whole; `.u` was being written when its writer was killed, so its end may be
/// missing; `previous` is `current` on its way to become one. Locks, states and a processor's files are no log.
pub fn rotated(names: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut rotated: Vec<OsString> = names.into_iter().filter(|name| is_rotated(name)).collect();
    // A logger that was exchanged has left names of the other form; `previous` has no moment and is last.
    rotated.sort_by_cached_key(|name| {
        let moment = of_file_name(name.as_bytes());
        (moment.is_none(), moment, name.clone())
    });
    rotated
}

/// Whether all lines of a rotated file are older than `since`: it is named by the moment of its rotation.
pub fn is_older(name: &OsStr, since: Timestamp) -> bool {
    let slack = if name.as_bytes().first() == Some(&b'@') { SLACK } else { SLACK_OF_ZONES };
    of_file_name(name.as_bytes()).is_some_and(|moment| since.duration_since(moment) > slack)
}

fn is_rotated(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let is_label = name.first() == Some(&b'@');
    let is_whole = name.ends_with(b".s") || name.ends_with(b".u");
    let is_stamped = || is_whole && (!is_label || name.len() == 27) && of_file_name(name).is_some();
    name == b"previous" || is_stamped()
}

/// s6-log's stamps are 27 seconds ahead of multilog's.
const SLACK: SignedDuration = SignedDuration::from_secs(60);
/// Names in local time, whichever zone that was.
const SLACK_OF_ZONES: SignedDuration = SignedDuration::from_hours(26);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn files_in_their_order() {
        let names = [
            "lock",
            "current",
            "@400000006b039317185f577c.u",
            "previous",
            "@400000006b0393100ea68aac.s",
            "@400000006b0393100ea68aac.t",
            "@4000.s",
            "2026-11-23 01:12:00.501278543.s",
            "2026-11-24 01:12:00.501278543.u",
            "2026-11-24 01:12:00.501278543.t",
            "state",
            "newstate",
            "processed",
            "config",
        ];
        let found = rotated(names.map(OsString::from));
        let expected = [
            "2026-11-23 01:12:00.501278543.s",
            "@400000006b0393100ea68aac.s",
            "@400000006b039317185f577c.u",
            "2026-11-24 01:12:00.501278543.u",
            "previous",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn old_files_need_not_be_read() {
        let since = |text: &str| text.parse::<Timestamp>().unwrap();
        let name = OsStr::new("@400000006b0393100ea68aac.s");
        assert!(!is_older(name, since("2026-11-23T01:12:00Z")));
        assert!(!is_older(name, since("2026-11-23T01:13:00Z")));
        assert!(is_older(name, since("2026-11-23T01:14:00Z")));
        assert!(!is_older(OsStr::new("previous"), since("2026-11-23T01:14:00Z")));
    }
}

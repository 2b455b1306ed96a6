//! The limits on a client's time, errors, and commands that bring no mail. It must not decide what follows when one is
//! reached.

use std::time::Duration;
use std::time::Instant;

use crate::session::settings::Timeouts;

/// The client's use of its limits.
#[derive(Debug)]
pub(super) struct Patience {
    began: Instant,
    /// The time since which the present state waits.
    since: Instant,
    /// Whether a command has come.
    has_spoken: bool,
    errors: u32,
    idle_commands: u32,
    /// Whether MAIL has come since the last message.
    has_mailed: bool,
    /// Whether connections are nearly used up: time limits are shorter, and fewer errors are tolerated.
    stress: bool,
    /// Steps by which the room for held messages is used up.
    pressure: u8,
}

/// A message that comes in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upload {
    /// The time at which it began.
    pub(super) began: Instant,
    /// Octets that have come.
    pub(super) size: u64,
    /// Whether it takes room that others may need.
    pub(super) takes_room: bool,
}

impl Patience {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            since: now,
            has_spoken: false,
            errors: 0,
            idle_commands: 0,
            has_mailed: false,
            stress: false,
            pressure: 0,
        }
    }

    /// The time at which the connection began.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// Restarts the wait of the present state.
    pub(super) fn wait_from(&mut self, now: Instant) {
        self.since = now;
    }

    /// Notes that a command has come.
    pub(super) fn note_command(&mut self, now: Instant) {
        (self.since, self.has_spoken) = (now, true);
    }

    /// Notes that MAIL has come.
    pub(super) fn note_mail(&mut self) {
        (self.idle_commands, self.has_mailed) = (0, true);
    }

    /// Notes that a message has its final reply; the next command is awaited.
    pub(super) fn note_message_end(&mut self, now: Instant) {
        (self.since, self.has_mailed) = (now, false);
    }

    /// Whether a command outside of a transaction may stand behind a refused MAIL of which its client has not heard yet.
    pub(super) fn may_stand_behind_a_refusal(&self) -> bool {
        self.has_mailed
    }

    /// Sets whether connections are nearly used up.
    pub(super) fn set_stress(&mut self, stress: bool) {
        self.stress = stress;
    }

    /// Sets how nearly the room for held messages is used up, in steps.
    pub(super) fn set_pressure(&mut self, pressure: u8) {
        self.pressure = pressure;
    }

    /// Counts an error of the client; false: it was one too many.
    pub(super) fn bears_error(&mut self, most: u32) -> bool {
        self.errors += 1;
        self.errors <= self.under_stress(most, STRESS_ERRORS)
    }

    /// Counts a command that brings no mail forward; false: it was one too many.
    pub(super) fn bears_idle_command(&mut self) -> bool {
        self.idle_commands += 1;
        self.idle_commands <= MAX_IDLE_COMMANDS
    }

    /// The time up to which the next command is awaited.
    pub(super) fn command_deadline(&self, timeout: &Timeouts) -> Instant {
        let wait = if self.has_spoken { timeout.command } else { timeout.greeting };
        (self.since + self.under_stress(wait, STRESS_WAIT)).min(self.began + timeout.session)
    }

    /// The time up to which the rest of a message is awaited, at the least rate in octets per second (0: none).
    pub(super) fn upload_deadline(&self, upload: Upload, timeout: &Timeouts, min_rate: u64) -> Instant {
        let pressure = if upload.takes_room && min_rate > 0 { self.pressure } else { 0 };
        let transfer = upload.size.checked_div(min_rate << pressure).unwrap_or(0);
        let wait = if pressure > 0 { STRESS_DATA.min(timeout.data) } else { timeout.data };
        upload.began + self.under_stress(wait, STRESS_DATA) + Duration::from_secs(transfer)
    }

    /// The smaller limit while connections are nearly used up.
    fn under_stress<T: Ord>(&self, usual: T, stress: T) -> T {
        if self.stress { usual.min(stress) } else { usual }
    }
}

/// Limits while connections are nearly used up: between commands, for a message beside its `min_rate`, and errors
/// (Postfix, under stress: smtpd_timeout 10s, smtpd_hard_error_limit 1).
const STRESS_WAIT: Duration = Duration::from_secs(10);
const STRESS_DATA: Duration = Duration::from_secs(30);
const STRESS_ERRORS: u32 = 1;

/// NOOP, RSET, VRFY, HELP and EHLO between two transactions (Postfix: smtpd_junk_command_limit).
const MAX_IDLE_COMMANDS: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Timeouts = Timeouts {
        greeting: Duration::from_secs(30),
        command: Duration::from_secs(300),
        data: Duration::from_secs(180),
        session: Duration::from_secs(3600),
    };

    #[expect(clippy::disallowed_methods, reason = "any time will do")]
    fn begun() -> (Patience, Instant) {
        let now = Instant::now();
        (Patience::new(now), now)
    }

    #[test]
    fn the_first_command_has_less_time_and_all_together_an_hour() {
        let (mut patience, began) = begun();
        let after = |seconds| began + Duration::from_secs(seconds);
        assert_eq!(patience.command_deadline(&TIMEOUT), after(30));
        patience.note_command(after(20));
        assert_eq!(patience.command_deadline(&TIMEOUT), after(320));
        patience.wait_from(after(3500));
        assert_eq!(patience.command_deadline(&TIMEOUT), after(3600));
        patience.set_stress(true);
        assert_eq!(patience.command_deadline(&TIMEOUT), after(3510));
    }

    #[test]
    fn a_message_has_time_for_its_octets() {
        let (mut patience, began) = begun();
        let upload = |size, takes_room| Upload { began, size, takes_room };
        let table = [
            // Pressure, stress, upload, least rate, seconds.
            (0, false, upload(0, true), 500, 180),
            (0, false, upload(50_000, true), 500, 280),
            (0, false, upload(50_000, true), 0, 180),
            (0, true, upload(50_000, true), 500, 130),
            (2, false, upload(50_000, true), 500, 55),
            (2, false, upload(50_000, false), 500, 280),
            (2, false, upload(50_000, true), 0, 180),
        ];
        for (pressure, stress, upload, min_rate, seconds) in table {
            patience.set_pressure(pressure);
            patience.set_stress(stress);
            let deadline = patience.upload_deadline(upload, &TIMEOUT, min_rate);
            assert_eq!(deadline, began + Duration::from_secs(seconds), "{pressure} {stress} {upload:?} {min_rate}");
        }
    }

    #[test]
    fn errors_and_idle_commands_end() {
        let (mut patience, _) = begun();
        let borne = (0..100).take_while(|_| patience.bears_error(20)).count();
        assert_eq!(borne, 20);
        let idle = (0..1000).take_while(|_| patience.bears_idle_command()).count();
        assert_eq!(idle, 100);
        patience.note_mail();
        assert!(patience.bears_idle_command() && patience.may_stand_behind_a_refusal());
        let (mut patience, began) = begun();
        patience.set_stress(true);
        assert!(patience.bears_error(20) && !patience.bears_error(20));
        patience.note_message_end(began);
        assert!(!patience.may_stand_behind_a_refusal());
    }
}

//! Faults that make a throttle impossible, and what to write instead: the words of errors in a configuration. It must
//! not know where the throttle stands there.

use crate::policy::throttle::Action;
use crate::policy::throttle::Count;
use crate::policy::throttle::DAY;
use crate::policy::throttle::Group;
use crate::policy::throttle::LONGEST_REFILL;
use crate::policy::throttle::Throttle;
use crate::policy::throttle::part::Part;

impl Throttle {
    /// The fault that makes the throttle impossible, and what to write instead.
    pub fn faults(&self) -> Option<String> {
        let impossible = self.impossible_part().or_else(|| self.impossible_group());
        let impossible = impossible.or_else(|| self.impossible_action());
        impossible.or_else(|| self.impossible_limit()).or_else(|| self.impossible_escalation())
    }

    fn impossible_part(&self) -> Option<String> {
        let count = self.count;
        for part in &self.per {
            if count == Count::Connections && !matches!(part, Part::Client | Part::ClientNet) {
                return Some(format!(
                    "connections are counted before the {part} is known: write per = [\"client\"] or [\"client-net\"]"
                ));
            }
        }
        let of_mails = (count == Count::Mails && self.has_recipient())
            .then(|| "mails are counted before a recipient is known: write count = \"recipients\"".to_owned());
        of_mails.or_else(|| self.impossible_guess())
    }

    /// The fault of a throttle that counts guesses: AUTH comes before MAIL, and a recipient that is not there is nobody
    /// to be counted.
    fn impossible_guess(&self) -> Option<String> {
        let of_mail = |part: &&Part| !matches!(part, Part::Client | Part::ClientNet | Part::Helo | Part::User);
        match self.count {
            Count::AuthFailures => self.per.iter().find(of_mail).map(|part| {
                format!("auth_failures are counted before the {part} is known: write per = [\"client-net\", \"user\"]")
            }),
            count if self.per.contains(&Part::User) => {
                Some(format!("{} have no user: write count = \"auth_failures\"", count.name()))
            }
            Count::UnknownRecipients if self.has_recipient() => {
                Some("unknown_recipients are counted per client: write per = [\"client-net\"]".to_owned())
            }
            _ => None,
        }
    }

    fn impossible_group(&self) -> Option<String> {
        if self.count != Count::Connections {
            return None;
        }
        let unknown = self.only.iter().chain(&self.except).find(|group| **group != Group::RelayClient)?;
        Some(format!("connections are counted before \"{unknown}\" is known: only \"relayclient\" is known by then"))
    }

    fn impossible_action(&self) -> Option<String> {
        let of_client = self.per.iter().any(|part| matches!(part, Part::Client | Part::ClientNet));
        if self.per.contains(&Part::User) && !of_client && self.action != Action::Defer {
            let what =
                "per user alone, anybody could lock out another: write action = \"defer\", or add \"client-net\"";
            return Some(what.to_owned());
        }
        let is_impossible = self.count.is_of_refusals() && self.action == Action::Defer;
        is_impossible.then(|| {
            let count = self.count;
            format!(
                "{count} are refused for good already, and a 5xx never becomes a 4xx: write action = \"disconnect\""
            )
        })
    }

    fn impossible_escalation(&self) -> Option<String> {
        let why = match (self.count, self.action) {
            _ if self.escalate == 0 => return None,
            (Count::Connections, _) => "connections are counted before a message is known",
            (Count::AuthFailures, _) => "logins are counted before a message is known",
            (count, _) if count.is_of_refusals() => "what is refused is refused for good already",
            (_, Action::Block) => "a block is 554 from its first refusal on",
            (_, Action::Defer | Action::Disconnect) => return None,
        };
        Some(format!("{why}: leave escalate out"))
    }

    fn impossible_limit(&self) -> Option<String> {
        if self.cells == 0 || self.period.is_zero() {
            return Some(
                "a limit of 0 would let nothing pass: write a number per second, minute, hour or day".to_owned(),
            );
        }
        if self.burst == 0 {
            return Some("a burst of 0 would let nothing pass: write at least \"1\"".to_owned());
        }
        (self.refill() > LONGEST_REFILL).then(|| {
            let days = self.refill().as_secs() / DAY.as_secs();
            format!("the burst would take {days} days to recover: write a smaller burst or a larger limit")
        })
    }
}

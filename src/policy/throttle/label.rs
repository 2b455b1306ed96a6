//! A throttle's label read back: the parts of its key as people write them, made the subject that is counted under it.
//! It must not make a subject of a label that is none.

use std::net::IpAddr;
use std::net::Ipv4Addr;

use ipnet::IpNet;

use crate::policy::throttle::part::Part;
use crate::policy::throttle::subject::Subject;
use crate::smtp::address::Address;
use crate::smtp::address::ReversePath;
use crate::smtp::address::parse_address;

/// The values that the parts of a label name; no others matter.
#[derive(Debug, Default)]
pub(super) struct Labelled {
    client: Option<IpAddr>,
    helo: String,
    sender: Option<ReversePath>,
    recipient: Option<Address>,
    user: Option<String>,
}

impl Labelled {
    /// Reads one word for each part, in their order; `None` where a word is not of its part's form. A comma may stand
    /// in a word too, in a quoted local part or in a client's name: then it is read as it makes sense.
    pub(super) fn read(per: &[Part], label: &str) -> Option<Self> {
        let (part, others) = per.split_first()?;
        if others.is_empty() {
            return Self::default().with(*part, label);
        }
        let commas = label.match_indices(',').take(MOST_COMMAS);
        commas.filter_map(|(at, _)| Self::read(others, &label[at + 1..])?.with(*part, &label[..at])).next()
    }

    fn with(mut self, part: Part, word: &str) -> Option<Self> {
        self.add(part, word.trim())?;
        Some(self)
    }

    fn add(&mut self, part: Part, word: &str) -> Option<()> {
        match part {
            Part::Client | Part::ClientNet => self.client = Some(client(word)?),
            Part::Helo if word.is_empty() => return None,
            Part::Helo => self.helo = word.to_owned(),
            Part::Recipient => self.recipient = Some(address(word)?),
            Part::RecipientDomain => self.recipient = Some(domain(word)?),
            Part::Sender | Part::SenderDomain if word == "<>" => self.sender = Some(ReversePath::Null),
            Part::Sender => self.sender = Some(ReversePath::Address(address(word)?)),
            Part::SenderDomain => self.sender = Some(ReversePath::Address(domain(word)?)),
            Part::User if word.is_empty() => return None,
            Part::User => self.user = Some(word.to_owned()),
        }
        Some(())
    }

    pub(super) fn subject(&self) -> Subject<'_> {
        Subject {
            client: self.client.unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
            helo: self.helo.as_bytes(),
            sender: self.sender.as_ref(),
            recipient: self.recipient.as_ref(),
            relay_client: false,
            authenticated: false,
            user: self.user.as_deref().map(str::as_bytes),
        }
    }
}

fn client(word: &str) -> Option<IpAddr> {
    word.parse().or_else(|_| word.parse::<IpNet>().map(|network| network.addr())).ok()
}

fn address(word: &str) -> Option<Address> {
    let bare = word.strip_prefix('<').and_then(|word| word.strip_suffix('>')).unwrap_or(word);
    parse_address(bare.as_bytes()).ok()
}

fn domain(word: &str) -> Option<Address> {
    match word.strip_prefix('@')? {
        "" => parse_address(b"x").ok(),
        domain => parse_address(format!("x@{domain}").as_bytes()).ok(),
    }
}

/// Commas of one word that are tried.
const MOST_COMMAS: usize = 16;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::policy::throttle::Throttle;
    use crate::policy::throttle::key::Seed;

    #[test]
    fn a_label_is_the_key_that_it_was_made_of() {
        use Part::*;
        let seed = Seed::new([7; 16]);
        let (sender, recipient) = (parse_address(b"Joe@B.example").unwrap(), parse_address(b"r@Example.org").unwrap());
        let (sender, root) = (ReversePath::Address(sender), ReversePath::Address(parse_address(b"root").unwrap()));
        let parts: [&[Part]; 8] = [
            &[ClientNet, User],
            &[Client],
            &[ClientNet, Sender],
            &[Helo],
            &[Recipient],
            &[RecipientDomain, SenderDomain],
            &[Client, Sender, Recipient],
            &[Sender],
        ];
        for (client, sender) in [
            ("192.0.2.7", &sender),
            ("2001:db8:1:2::7", &sender),
            ("::ffff:192.0.2.7", &ReversePath::Null),
            ("192.0.2.7", &root),
        ] {
            for per in parts {
                let throttle =
                    Throttle { per: per.to_vec(), only: vec![], except: vec![], ..Throttle::shipped().remove(0) };
                let subject = Subject {
                    client: client.parse().unwrap(),
                    helo: b"Mail.B.example",
                    sender: Some(sender),
                    recipient: Some(&recipient),
                    relay_client: false,
                    authenticated: false,
                    user: Some(b"Joe"),
                };
                let label = throttle.label(&subject).unwrap();
                let found = throttle.key_of_label(&seed, &label).map(|key| key.exact);
                assert_eq!(found, throttle.key(&seed, &subject).map(|key| key.exact), "{label}");
            }
        }
    }

    #[test]
    fn a_comma_in_a_word_is_none_between_two() {
        let rows: &[(&[Part], &str, &str, &str)] = &[
            (&[Part::Client, Part::Sender], "192.0.2.7,\"a,b\"@c.example", "", "<\"a,b\"@c.example>"),
            (&[Part::Sender, Part::Client], "\"a,b\"@c.example, 192.0.2.7", "", "<\"a,b\"@c.example>"),
            (&[Part::Helo, Part::Client], "odd,name,192.0.2.7", "odd,name", ""),
            (&[Part::Client, Part::Helo, Part::Sender], "192.0.2.7,odd,name,a@c.example", "odd,name", "<a@c.example>"),
        ];
        for (per, label, helo, sender) in rows {
            let labelled = Labelled::read(per, label).unwrap();
            assert_eq!(labelled.helo, *helo, "{label}");
            assert_eq!(labelled.sender.map(|it| it.to_string()).unwrap_or_default(), *sender, "{label}");
        }
        assert!(Labelled::read(&[Part::Client, Part::Sender], &",".repeat(1000)).is_none());
    }

    #[test]
    fn what_is_no_label_of_these_parts() {
        let table: &[(&[Part], &str)] = &[
            (&[Part::Client], "a@b.example"),
            (&[Part::Client], ""),
            (&[Part::Client, Part::Sender], "192.0.2.7"),
            (&[Part::Sender], "@b.example"),
            (&[Part::SenderDomain], "a@b.example"),
            (&[Part::Sender], "two words"),
            (&[Part::Helo], ""),
        ];
        for (per, label) in table {
            assert!(Labelled::read(per, label).is_none(), "{label}");
        }
    }
}

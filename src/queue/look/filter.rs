//! The filter that selects messages. Several values of one option are alternatives; different options must all hold.
//! Addresses compare as in badmailfrom: whole or `@host`, in any case, without a trailing dot. It must not open files.

use std::time::Duration;

use crate::policy::addresses::Addresses;
use crate::policy::list::extended::matches_glob;
use crate::queue::look::Message;
use crate::queue::look::State;
use crate::queue::look::read::Want;

/// The options as the operator wrote them.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// Senders: addresses or `@host`; `<>` is the null sender.
    pub senders: Vec<String>,
    /// Recipients: addresses or `@host`.
    pub recipients: Vec<String>,
    /// Globs for the subject.
    pub subjects: Vec<String>,
    /// Header fields, as `Name: glob`.
    pub headers: Vec<String>,
    /// Size in octets that a message must exceed.
    pub larger: Option<u64>,
    /// Time in the queue that a message must exceed.
    pub older: Option<Duration>,
    /// States, any of which will do; empty is all.
    pub states: Vec<State>,
    /// Message numbers; empty is all.
    pub ids: Vec<u64>,
}

/// The options parsed, ready to be compared with messages.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    senders: Option<Addresses>,
    recipients: Option<Addresses>,
    /// Name and globs of each field, in lower case; every name must have a match.
    fields: Vec<(String, Vec<String>)>,
    larger: Option<u64>,
    older: Option<i64>,
    states: Vec<State>,
    ids: Vec<u64>,
}

impl Filter {
    /// Parses the options.
    ///
    /// # Errors
    /// An option that can match nothing, with what to write instead.
    pub fn new(words: Words) -> Result<Self, String> {
        // A script with an empty variable did not mean to match the empty string.
        if let Some(option) = [("--subject", &words.subjects), ("--header", &words.headers)]
            .iter()
            .find_map(|(option, words)| words.iter().any(String::is_empty).then_some(option))
        {
            return Err(format!("{option} '': the word is empty; any text is written *"));
        }
        let mut fields: Vec<(String, Vec<String>)> = Vec::new();
        if !words.subjects.is_empty() {
            fields.push(("subject".to_owned(), words.subjects.iter().map(|glob| glob.to_lowercase()).collect()));
        }
        for word in &words.headers {
            let split = word.split_once(':').map(|(name, glob)| (name.trim(), glob.trim()));
            let named =
                split.filter(|(name, _)| !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_graphic()));
            let (name, glob) =
                named.ok_or_else(|| format!("--header {word:?}: write 'Name: glob', such as 'List-Id: *'"))?;
            let (name, glob) = (name.to_lowercase(), glob.to_lowercase());
            match fields.iter_mut().find(|(known, _)| *known == name) {
                Some((_, globs)) => globs.push(glob),
                None => fields.push((name, vec![glob])),
            }
        }
        let mut ids = words.ids;
        ids.sort_unstable();
        ids.dedup();
        Ok(Self {
            senders: Addresses::read("--sender", &words.senders)?,
            recipients: Addresses::read("--recipient", &words.recipients)?,
            fields,
            larger: words.larger,
            older: words.older.map(|age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX)),
            states: words.states,
            ids,
        })
    }

    /// Whether every message is selected.
    pub fn is_empty(&self) -> bool {
        let no_address = self.senders.is_none() && self.recipients.is_none();
        let no_measure = self.larger.is_none() && self.older.is_none();
        no_address && no_measure && self.fields.is_empty() && self.states.is_empty() && self.ids.is_empty()
    }

    /// The numbers selected, sorted; empty is all.
    pub fn ids(&self) -> &[u64] {
        &self.ids
    }

    /// The parts of a message that must be read for `matches`, added to those in `want`.
    pub fn want(&self, want: &Want) -> Want {
        let mut wanted = want.clone();
        wanted.rough &= self.older.is_none();
        if self.recipients.is_some() {
            wanted.recipients = Some(usize::MAX);
        }
        if !self.fields.is_empty() {
            let names = wanted.header.get_or_insert_with(|| vec!["subject".to_owned()]);
            // An empty list means all fields.
            if !names.is_empty() {
                names.extend(self.fields.iter().map(|(name, _)| name.clone()));
            }
        }
        wanted
    }

    /// Whether this message is selected. `now` is in seconds since 1970. An unknown value matches nothing.
    pub fn matches(&self, message: &Message, now: i64) -> bool {
        let has_id = self.ids.is_empty() || self.ids.binary_search(&message.id).is_ok();
        let has_state = self.states.is_empty() || self.states.contains(&message.state());
        let is_larger = self.larger.is_none_or(|limit| message.size.is_some_and(|size| size > limit));
        let age = message.birth.map(|birth| now.saturating_sub(birth));
        let is_older = self.older.is_none_or(|limit| age.is_some_and(|age| age > limit));
        let is_from = |senders: &Addresses| message.sender.as_ref().is_some_and(|sender| senders.has(sender));
        let is_to = |recipients: &Addresses| {
            message.recipients().flat_map(|list| &list.kept).any(|recipient| recipients.has(&recipient.address))
        };
        has_id
            && has_state
            && is_larger
            && is_older
            && self.senders.as_ref().is_none_or(is_from)
            && self.recipients.as_ref().is_none_or(is_to)
            && self.fields.iter().all(|(name, globs)| has_field(message, name, globs))
    }
}

fn has_field(message: &Message, name: &str, globs: &[String]) -> bool {
    let Some(header) = &message.header else { return false };
    header.all(name).any(|text| {
        let text = text.to_lowercase();
        globs.iter().any(|glob| matches_glob(glob.as_bytes(), text.as_bytes()))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::queue::look::File;
    use crate::queue::look::Files;
    use crate::queue::look::Recipient;
    use crate::queue::look::Recipients;
    use crate::queue::look::header;

    fn message() -> Message {
        let mut files = Files::default();
        [File::Mess, File::Info, File::Remote].iter().for_each(|file| files.insert(*file));
        let kept = vec![Recipient { done: false, address: b"Joe@Example.org".as_slice().into() }];
        Message {
            id: 7,
            files,
            size: Some(1000),
            sender: Some(b"NewsLetter@SillyPlace.COM".as_slice().into()),
            birth: Some(5000),
            remote: Some(Recipients { to_do: 1, kept, ..Recipients::default() }),
            header: Some(header::parse(b"Subject: =?utf-8?Q?Gro=C3=9Fer?= SALE\nList-Id: <a.b>\n\n", &[])),
            ..Message::default()
        }
    }

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn matches(words: Words) -> bool {
        Filter::new(words).unwrap().matches(&message(), 12_200)
    }

    #[test]
    fn every_kind_must_hold() {
        let base = || Words { senders: strings(&["@sillyplace.com"]), ..Words::default() };
        let seconds = |age| Some(Duration::from_secs(age));
        let cases = [
            ("a recipient", Words { recipients: strings(&["joe@example.org"]), ..base() }, true),
            ("another recipient", Words { recipients: strings(&["fred@example.org"]), ..base() }, false),
            ("a subject", Words { subjects: strings(&["x", "großer*sale"]), ..base() }, true),
            ("all of the subject", Words { subjects: strings(&["sale"]), ..base() }, false),
            ("a field", Words { headers: strings(&["list-ID: <A.*>"]), ..base() }, true),
            ("two fields", Words { headers: strings(&["List-Id: *", "X-Spam: *"]), ..base() }, false),
            ("larger", Words { larger: Some(999), ..base() }, true),
            ("not larger", Words { larger: Some(1000), ..base() }, false),
            ("older", Words { older: seconds(7199), ..base() }, true),
            ("not older", Words { older: seconds(7200), ..base() }, false),
            ("a state", Words { states: vec![State::S4, State::S5], ..base() }, true),
            ("another state", Words { states: vec![State::S4], ..base() }, false),
            ("a number", Words { ids: vec![9, 7], ..base() }, true),
            ("another number", Words { ids: vec![8], ..base() }, false),
        ];
        for (what, words, expected) in cases {
            assert_eq!(matches(words), expected, "{what}");
        }
    }

    #[test]
    fn what_is_not_known_matches_nothing() {
        let filter = Filter::new(Words { senders: strings(&["@sillyplace.com"]), ..Words::default() }).unwrap();
        assert!(!filter.matches(&Message { sender: None, ..message() }, 0));
        let filter = Filter::new(Words { subjects: strings(&["*"]), ..Words::default() }).unwrap();
        assert!(!filter.matches(&Message { header: None, ..message() }, 0));
    }

    #[test]
    fn words_that_match_nothing_are_refused() {
        let cases = [
            (Words { senders: strings(&[""]), ..Words::default() }, "<>"),
            (Words { recipients: strings(&[""]), ..Words::default() }, "--recipient"),
            (Words { subjects: strings(&[""]), ..Words::default() }, "--subject"),
            (Words { headers: strings(&["List-Id"]), ..Words::default() }, "Name: glob"),
            (Words { headers: strings(&[": x"]), ..Words::default() }, "Name: glob"),
        ];
        for (words, expected) in cases {
            let what = Filter::new(words.clone()).unwrap_err();
            assert!(what.contains(expected), "{words:?}: {what}");
        }
        assert!(Filter::default().is_empty());
        assert!(!Filter::new(Words { ids: vec![1], ..Words::default() }).unwrap().is_empty());
    }
}

//! The state of the terminal view, and what the proxy's answers do to it. Pure: news go in, orders come out; keys are in
//! `keys`. It must not draw, read the clock, or talk to the proxy.

use serde_json::Value;

use crate::cli::status::seen::Block;
use crate::cli::status::seen::Blocks;
use crate::cli::status::seen::Made;
use crate::cli::status::seen::Point;
use crate::cli::status::seen::Preview;
use crate::cli::status::seen::Record;
use crate::cli::status::seen::Records;
use crate::cli::status::seen::Seen;
use crate::cli::status::seen::Sessions;
use crate::cli::status::seen::Story;

/// Everything that the view shows.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) seen: Option<Seen>,
    /// Why the proxy is not reached; empty while it is.
    pub(super) lost: String,
    /// The last hour.
    pub(super) points: Vec<Point>,
    /// The last records, or those that were searched for; the newest first.
    pub(super) records: Vec<Record>,
    /// What the records are searched for.
    pub(super) search: String,
    pub(super) sessions: Sessions,
    pub(super) blocks: Vec<Block>,
    /// One line about what was done last, or what went wrong.
    pub(super) said: String,
    pub(super) tab: Tab,
    pub(super) sort: Sort,
    pub(super) mode: Mode,
    /// The place of the selected one among the storms and the rows of the table.
    pub(super) selected: usize,
    pub(super) undo: Option<Undo>,
}

/// What has the keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    Watching,
    Help,
    /// Whether to block this key; with what it would hit as soon as that is known.
    Asking(String, Option<Preview>),
    /// The words to search for are being written.
    Writing(String),
    /// An explanation, from this line on.
    Explaining(Story, usize),
}

/// The table below the storms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tab {
    #[default]
    Senders,
    Clients,
    Records,
    Sessions,
    Blocks,
}

/// What senders and clients are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    NotAccepted,
    Accepted,
    Bytes,
}

/// What is to be asked of the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Block {
        key: String,
        seconds: u64,
    },
    Blocks,
    /// The body of `POST /api/v1/explain`.
    Explain(Value),
    History,
    Preview(String),
    Records(String),
    /// The end of a block as it was before ours.
    Restore {
        key: String,
        seconds: u64,
    },
    Sessions,
    Unblock(String),
}

/// What came from the proxy.
#[derive(Debug)]
pub(super) enum News {
    /// It is not reached, for this reason.
    Lost(String),
    Status(Box<Seen>),
    /// Records that are new.
    Arrived(Records),
    Blocked(Made),
    Blocks(Blocks),
    Explained(Story),
    History(Vec<Point>),
    Previewed(String, Preview),
    /// What was found by these words.
    Found(String, Records),
    Restored(String),
    Sessions(Sessions),
    Unblocked(String),
    /// An order was not carried out, for this reason.
    Failed(Order, String),
}

/// How the last block is taken back: its key, and the end of the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Undo {
    pub(super) key: String,
    pub(super) before: Option<u32>,
}

impl Model {
    /// Something came from the proxy; the questions that follow.
    pub(super) fn hear(&mut self, news: News) -> Vec<Order> {
        let selected = self.selected_id();
        let orders = self.take(news);
        // What was selected stays selected where others come or go before it.
        let place = selected.and_then(|id| self.place_of(&id));
        self.select(place.unwrap_or(self.selected));
        orders
    }

    fn take(&mut self, news: News) -> Vec<Order> {
        match news {
            News::Lost(why) => self.lost = why,
            News::Status(seen) => return self.see(*seen),
            News::Arrived(records) => return self.arrive(records),
            News::Blocked(made) => {
                self.said = format!("{} is blocked; u takes it back", made.key);
                self.undo = Some(Undo { key: made.key, before: made.before });
                return vec![Order::Blocks];
            }
            News::Blocks(blocks) => self.blocks = blocks.blocks,
            News::Explained(story) => self.mode = Mode::Explaining(story, 0),
            News::History(points) => self.points = points,
            News::Previewed(key, found) => {
                if let Mode::Asking(wanted, preview) = &mut self.mode
                    && *wanted == key
                {
                    *preview = Some(found);
                }
            }
            // Words may have changed since.
            News::Found(words, found) if words == self.search => self.records = found.records,
            News::Found(..) => {}
            News::Restored(key) => {
                self.said = format!("the block of {key} ends when it did before");
                return vec![Order::Blocks];
            }
            News::Sessions(sessions) => self.sessions = sessions,
            News::Unblocked(key) => {
                self.said = format!("{key} is no longer blocked");
                return vec![Order::Blocks];
            }
            News::Failed(order, why) => self.fail(order, why),
        }
        Vec::new()
    }

    fn arrive(&mut self, records: Records) -> Vec<Order> {
        let mut orders = vec![Order::History];
        match self.search.as_str() {
            "" => {
                self.records.splice(0..0, records.records);
                self.records.truncate(MOST_RECORDS);
            }
            words => orders.push(Order::Records(words.to_owned())),
        }
        orders
    }

    fn see(&mut self, seen: Seen) -> Vec<Order> {
        let before = self.seen.as_ref();
        let is_new = before.is_none() || !self.lost.is_empty();
        let is_later = before.is_none_or(|before| before.now / HISTORY_EVERY != seen.now / HISTORY_EVERY);
        if let Some(before) = before
            && !self.lost.is_empty()
        {
            let what =
                if before.started == seen.started { "the proxy answers again" } else { "the proxy was restarted" };
            what.clone_into(&mut self.said);
        }
        self.lost.clear();
        let mut orders = Vec::new();
        if is_new {
            orders.push(Order::Records(self.search.clone()));
        }
        if is_new || is_later {
            orders.push(Order::History);
        }
        if is_new || self.tab == Tab::Blocks || seen.blocks != self.blocks.len() as u64 {
            orders.push(Order::Blocks);
        }
        if self.tab == Tab::Sessions {
            orders.push(Order::Sessions);
        }
        self.seen = Some(seen);
        orders
    }

    fn fail(&mut self, order: Order, why: String) {
        match order {
            // These are asked again; what is wrong with the proxy is said above.
            Order::Blocks | Order::History | Order::Sessions => return,
            Order::Preview(_) => self.mode = Mode::Watching,
            Order::Unblock(key) if self.undo.is_none() => self.undo = Some(Undo { key, before: None }),
            Order::Restore { key, seconds } if self.undo.is_none() => {
                let end = self.now().saturating_add(u32::try_from(seconds).unwrap_or(u32::MAX));
                self.undo = Some(Undo { key, before: Some(end) });
            }
            _ => {}
        }
        self.said = why;
    }

    /// The time of the last status.
    pub(super) fn now(&self) -> u32 {
        self.seen.as_ref().map_or(0, |seen| seen.now)
    }

    pub(super) fn select(&mut self, place: usize) {
        self.selected = place.min(self.rows().len().saturating_sub(1));
    }
}

impl Tab {
    pub(super) const ALL: [Self; 5] = [Self::Senders, Self::Clients, Self::Records, Self::Sessions, Self::Blocks];

    /// The one so many places behind it.
    pub(super) fn after(self, places: usize) -> Self {
        let place = Self::ALL.iter().position(|tab| *tab == self).unwrap_or(0);
        Self::ALL[(place + places) % Self::ALL.len()]
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Senders => "Senders",
            Self::Clients => "Clients",
            Self::Records => "Records",
            Self::Sessions => "Sessions",
            Self::Blocks => "Blocks",
        }
    }
}

/// Seconds between two looks at the history where no record comes.
const HISTORY_EVERY: u32 = 10;
const MOST_RECORDS: usize = 200;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
pub(super) mod tests {
    use super::*;

    /// A proxy in a storm, one that tells of strangers.
    pub(in crate::cli::status) fn seen() -> Seen {
        serde_json::from_str(include_str!("tests/status.json")).unwrap()
    }

    /// The same with everything else that is asked of it.
    pub(in crate::cli::status) fn watching() -> Model {
        let mut model = Model::default();
        let part = |name: &str| -> Value {
            let rest: Value = serde_json::from_str(include_str!("tests/rest.json")).unwrap();
            rest[name].clone()
        };
        model.hear(News::Status(Box::new(seen())));
        model.hear(News::History(serde_json::from_value(part("points")).unwrap()));
        model.hear(News::Found(String::new(), Records { records: serde_json::from_value(part("records")).unwrap() }));
        model.hear(News::Sessions(serde_json::from_value(part("sessions")).unwrap()));
        model.hear(News::Blocks(Blocks { blocks: serde_json::from_value(part("blocks")).unwrap() }));
        model
    }

    #[test]
    fn what_is_asked_when() {
        let mut model = Model::default();
        let records = || Order::Records(String::new());
        let ask = |model: &mut Model, later: u32, blocks: u64| {
            model.hear(News::Status(Box::new(Seen { now: 1_000_000 + later, blocks, ..Seen::default() })))
        };
        assert_eq!(ask(&mut model, 0, 0), [records(), Order::History, Order::Blocks], "at first, everything");
        assert_eq!(ask(&mut model, 1, 0), []);
        assert_eq!(ask(&mut model, 2, 1), [Order::Blocks], "there are others now");
        model.blocks = vec![Block::default()];
        assert_eq!(ask(&mut model, 10, 1), [Order::History], "now and then");
        model.tab = Tab::Sessions;
        assert_eq!(ask(&mut model, 11, 1), [Order::Sessions]);
        model.hear(News::Lost("gone".to_owned()));
        model.tab = Tab::Blocks;
        assert_eq!(ask(&mut model, 12, 1), [records(), Order::History, Order::Blocks], "again, as at first");
        "joe".clone_into(&mut model.search);
        let search = Order::Records("joe".to_owned());
        assert_eq!(model.hear(News::Arrived(Records::default())), [Order::History, search]);
    }

    #[test]
    fn a_restart_is_told() {
        let mut model = watching();
        model.hear(News::Lost("no answer".to_owned()));
        assert_eq!(model.lost, "no answer");
        model.hear(News::Status(Box::new(seen())));
        assert_eq!((model.lost.as_str(), model.said.as_str()), ("", "the proxy answers again"));
        model.hear(News::Lost("no answer".to_owned()));
        model.hear(News::Status(Box::new(Seen { started: 1_795_395_590, ..seen() })));
        assert_eq!(model.said, "the proxy was restarted");
    }

    #[test]
    fn records_come_at_the_top_and_do_not_grow_without_end() {
        let mut model = watching();
        let before = model.records.len();
        let many = (0..150).rev().map(|number| Record { number: 1000 + number, ..Record::default() });
        let records = Records { records: many.collect() };
        model.hear(News::Arrived(records.clone()));
        assert_eq!((model.records.len(), model.records[0].number), (before + 150, 1149));
        model.hear(News::Arrived(records));
        assert_eq!(model.records.len(), MOST_RECORDS);
        model.hear(News::Found("old words".to_owned(), Records::default()));
        assert_eq!(model.records.len(), MOST_RECORDS, "that was asked before");
    }

    #[test]
    fn what_fails_is_said_and_can_be_tried_again() {
        let mut model = watching();
        let now = model.now();
        for (order, undo) in [
            (Order::Unblock("a@b".to_owned()), None),
            (Order::Restore { key: "a@b".to_owned(), seconds: 60 }, Some(now + 60)),
        ] {
            model.undo = None;
            model.hear(News::Failed(order, "restart the proxy".to_owned()));
            assert_eq!(model.said, "restart the proxy");
            assert_eq!(model.undo, Some(Undo { key: "a@b".to_owned(), before: undo }));
        }
        model.mode = Mode::Asking("a@b".to_owned(), None);
        model.said.clear();
        model.hear(News::Failed(Order::Sessions, "busy".to_owned()));
        assert_eq!((model.said.as_str(), &model.mode), ("", &Mode::Asking("a@b".to_owned(), None)));
        model.hear(News::Failed(Order::Preview("a@b".to_owned()), "no key".to_owned()));
        assert_eq!((model.said.as_str(), &model.mode), ("no key", &Mode::Watching));
    }

    #[test]
    fn what_is_selected_stays_when_others_come() {
        let mut model = watching();
        model.select(2);
        let selected = model.selected_id();
        let mut more = seen();
        more.storms.insert(0, serde_json::from_str(r#"{ "key": "198.51.100.0/24 <new@x>" }"#).unwrap());
        model.hear(News::Status(Box::new(more)));
        assert_eq!((model.selected, model.selected_id()), (3, selected));
        model.hear(News::Status(Box::default()));
        assert_eq!((model.selected, model.selected_id()), (0, None));
    }
}

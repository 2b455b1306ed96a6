//! What the page asks before a change and says after it, where no script does: a question with its form. It must not
//! change anything, nor say that something was done but by what is so now.

use serde::Deserialize;

use crate::admin::App;
use crate::admin::answer::Fault;
use crate::admin::web::Look;
use crate::admin::web::human;
use crate::policy::block::BlockKey;
use crate::report::preview::Preview;
use crate::text::number;
use crate::text::readable;

/// What a press of a button asked for, before it was known who pressed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(in crate::admin) struct Wanted {
    pub(in crate::admin) block: Option<String>,
    pub(in crate::admin) lift: Option<String>,
}

impl Wanted {
    /// The link that asks for it.
    pub(in crate::admin) fn link(&self) -> String {
        match (&self.block, &self.lift) {
            (Some(key), _) => format!("/?block={}", human::encoded(key)),
            (_, Some(key)) => format!("/?lift={}", human::encoded(key)),
            (None, None) => "/".to_owned(),
        }
    }
}

/// A question with a form, or a notice.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ask {
    /// `ask` for a question, `done` or `failed` for a notice.
    pub(super) kind: &'static str,
    pub(super) title: String,
    pub(super) text: String,
    /// What a block would hit: `Senders`, `Clients`, and which.
    pub(super) hits: Vec<(&'static str, String)>,
    /// Why it needs a second thought.
    pub(super) doubt: String,
    /// Where its form goes; empty: it has none.
    pub(super) action: &'static str,
    pub(super) key: String,
    pub(super) button: &'static str,
    /// Whether it asks for the token first.
    pub(super) login: bool,
    /// The link's word for the question that is asked again after the login.
    pub(super) name: &'static str,
}

impl Ask {
    /// What there is to ask or to say, for a page that may change nothing as long as it is a `stranger`.
    pub(super) async fn of(app: &App, look: &Look, stranger: bool) -> Option<Self> {
        match (&look.block, &look.lift, &look.blocked, &look.lifted) {
            (Some(key), ..) => Some(Self::before(app, key, stranger).await),
            (_, Some(key), ..) => Some(Self::before_lift(app, key, stranger)),
            (_, _, Some(key), _) => Self::blocked(app, key),
            (_, _, _, Some(key)) => Self::lifted(app, key),
            _ => None,
        }
    }

    /// The reason why something was not done.
    pub(super) fn failed(fault: &Fault) -> Self {
        Self { kind: "failed", title: "This was not done".to_owned(), text: fault.text(), ..Self::default() }
    }

    /// The token again, after one that was not taken.
    pub(super) fn login(fault: &Fault, wanted: Wanted) -> Self {
        let (name, key) = match wanted {
            Wanted { block: Some(key), .. } => ("block", key),
            Wanted { lift: Some(key), .. } => ("lift", key),
            Wanted { .. } => ("", String::new()),
        };
        let (title, doubt) = ("The token, please".to_owned(), fault.text());
        Self { kind: "ask", title, doubt, login: true, name, key, ..Self::default() }
    }

    /// What a block would hit.
    async fn before(app: &App, key: &str, stranger: bool) -> Self {
        let key = key.trim();
        let title = format!("Block {} for 24 h?", readable::shown(key));
        let parsed = match key.parse::<BlockKey>() {
            Ok(parsed) => parsed,
            Err(what) => {
                return Self {
                    kind: "failed",
                    title: "This cannot be blocked".to_owned(),
                    text: readable::shown(&what).into(),
                    ..Self::default()
                };
            }
        };
        let preview = app.handles.services.reports.preview(&parsed, app.now());
        let hits = [
            ("Senders", listed(&preview.senders, preview.sender_count)),
            ("Clients", listed(&preview.clients, preview.client_count)),
        ];
        let doubt = app.of_daemon(move |daemon| daemon.doubt(&parsed)).await.ok().flatten().unwrap_or_default();
        Self {
            kind: "ask",
            title,
            text: would_hit(&preview),
            hits: hits.into_iter().filter(|(_, which)| !which.is_empty()).collect(),
            doubt,
            action: "/block",
            key: key.to_owned(),
            button: "Block for 24 h",
            login: stranger,
            name: "block",
        }
    }

    fn before_lift(app: &App, key: &str, stranger: bool) -> Self {
        let key = BlockKey::spelling(key);
        let block = app.handles.services.state.tables().blocks.list().into_iter().find(|block| block.key == key);
        let text = match block {
            Some(block) => format!("It would end {} by itself.", human::exact(block.until)),
            None => "It is not blocked now.".to_owned(),
        };
        Self {
            kind: "ask",
            title: format!("Remove the block of {}?", readable::shown(&key)),
            text,
            action: "/unblock",
            key,
            button: "Remove the block",
            login: stranger,
            name: "lift",
            ..Self::default()
        }
    }

    fn blocked(app: &App, key: &str) -> Option<Self> {
        let key = BlockKey::spelling(key);
        let block = app.handles.services.state.tables().blocks.list().into_iter().find(|block| block.key == key)?;
        Some(Self {
            kind: "done",
            title: format!("{} is blocked", readable::shown(&block.key)),
            text: format!("Its mail is refused with 554 until {}.", human::exact(block.until)),
            action: "/unblock",
            key: block.key,
            button: "Undo",
            ..Self::default()
        })
    }

    fn lifted(app: &App, key: &str) -> Option<Self> {
        let parsed: BlockKey = key.parse().ok()?;
        let key = BlockKey::spelling(key);
        let is_blocked = app.handles.services.state.tables().blocks.list().iter().any(|block| block.key == key);
        (!is_blocked && parsed.doubt().is_none()).then(|| Self {
            kind: "done",
            title: format!("{} is not blocked any more", readable::shown(&key)),
            text: "Its mail is ruled on as any other.".to_owned(),
            action: "/block",
            key,
            button: "Block again for 24 h",
            ..Self::default()
        })
    }
}

/// Some names of a number.
fn listed(names: &[String], all: usize) -> String {
    let shown: Vec<_> = names.iter().take(MOST_NAMES).map(|name| human::seen(human::sender(name))).collect();
    match all.saturating_sub(shown.len()) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// What a block would hit, in a sentence, and what it does.
fn would_hit(preview: &Preview) -> String {
    let was = if preview.accepted == 1 { "was" } else { "were" };
    let hits = match preview.messages {
        0 => "It would have hit none of the messages of the last hour.".to_owned(),
        messages => format!(
            "It would have hit {} of the last hour, of which {} {was} accepted.",
            number::count(messages, "message"),
            human::number(preview.accepted)
        ),
    };
    format!("{hits} Its mail is refused with 554 until then. You can undo it.")
}

/// Names of what a block would hit.
const MOST_NAMES: usize = 5;

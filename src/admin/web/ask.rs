//! What the page asks before a change and says after it, where no script does: a question with its form. It must not
//! change anything, nor say that something was done but by what is so now.

use crate::admin::App;
use crate::admin::answer::Fault;
use crate::admin::web::Look;
use crate::admin::web::human;
use crate::policy::block::BlockKey;
use crate::report::preview::Preview;
use crate::text::number;
use crate::text::readable;

/// A question with a form, or a notice.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) title: String,
    pub(super) text: String,
    /// Why it needs a second thought.
    pub(super) doubt: String,
    /// Where its form goes; empty: it has none.
    pub(super) action: &'static str,
    pub(super) key: String,
    pub(super) button: &'static str,
    /// Whether it asks for the token first.
    pub(super) login: bool,
}

impl Ask {
    /// What there is to ask or to say, for a page that may change nothing as long as it is a `stranger`.
    pub(super) async fn of(app: &App, look: &Look, stranger: bool) -> Option<Self> {
        match (&look.block, &look.blocked, &look.lifted) {
            (Some(key), ..) => Some(Self::before(app, key, stranger).await),
            (_, Some(key), _) => Self::blocked(app, key),
            (_, _, Some(key)) => Self::lifted(app, key),
            _ => None,
        }
    }

    /// The reason why something was not done.
    pub(super) fn failed(fault: &Fault) -> Self {
        Self { title: "This was not done".to_owned(), text: fault.text(), ..Self::default() }
    }

    /// What a block would hit.
    async fn before(app: &App, key: &str, stranger: bool) -> Self {
        let key = key.trim();
        let title = format!("Block {} for 24 h?", readable::shown(key));
        let parsed = match key.parse::<BlockKey>() {
            Ok(parsed) => parsed,
            Err(what) => {
                return Self {
                    title: "This cannot be blocked".to_owned(),
                    text: readable::shown(&what).into(),
                    ..Self::default()
                };
            }
        };
        let text = hits(&app.handles.services.reports.preview(&parsed, app.now()));
        let doubt = app.of_daemon(move |daemon| daemon.doubt(&parsed)).await.ok().flatten().unwrap_or_default();
        Self { title, text, doubt, action: "/block", key: key.to_owned(), button: "Block for 24 h", login: stranger }
    }

    fn blocked(app: &App, key: &str) -> Option<Self> {
        let key = BlockKey::spelling(key);
        let block = app.handles.services.state.tables().blocks.list().into_iter().find(|block| block.key == key)?;
        Some(Self {
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
            title: format!("{} is not blocked", readable::shown(&key)),
            text: "Its mail is ruled on as any other.".to_owned(),
            action: "/block",
            key,
            button: "Block it again for 24 h",
            ..Self::default()
        })
    }
}

/// What a block would hit, in a sentence, and what it does.
fn hits(preview: &Preview) -> String {
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

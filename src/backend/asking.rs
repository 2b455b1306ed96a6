//! The turns of sessions that need the backend's offer to one set of variables: one of them asks, and the others wait for
//! the answer. It must not ask itself, and a session that asks in vain must not keep the others waiting.

use std::sync::Arc;

use tokio::sync::watch;

/// The turn of a session that needs an offer.
#[derive(Debug)]
pub enum Turn {
    /// It asks, and holds this for as long as it does.
    Ask(Asking),
    /// Another one asks.
    Wait(Answer),
}

/// The end of the asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskingEnd {
    /// The backend has answered, the session that asks or another.
    Heard,
    /// The backend does not answer now.
    Failed,
    /// The session that asked has ended.
    Left,
}

/// A session that asks. Dropping it without a word says that the session has ended.
#[derive(Debug)]
pub struct Asking(Arc<watch::Sender<Option<AskingEnd>>>);

/// The end of another session's asking, to be waited for.
#[derive(Debug)]
pub struct Answer(watch::Receiver<Option<AskingEnd>>);

/// An asking, as it is kept for those that come while it lasts.
#[derive(Debug)]
pub(super) struct Asked(Arc<watch::Sender<Option<AskingEnd>>>);

impl Asked {
    /// A new asking.
    pub(super) fn begin() -> (Self, Asking) {
        let sender = Arc::new(watch::channel(None).0);
        (Self(sender.clone()), Asking(sender))
    }

    /// The answer that is to come; `None`: the asking is over.
    pub(super) fn answer(&self) -> Option<Answer> {
        (!self.is_over()).then(|| Answer(self.0.subscribe()))
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Tells all that wait that the backend has answered.
    pub(super) fn heard(self) {
        end(&self.0, AskingEnd::Heard);
    }
}

impl Asking {
    /// Tells all that wait that the backend does not answer.
    pub fn failed(self) {
        end(&self.0, AskingEnd::Failed);
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        end(&self.0, AskingEnd::Left);
    }
}

impl Answer {
    /// Resolves when the asking is over.
    pub async fn ended(mut self) -> AskingEnd {
        // The session that asks holds the sender until it has ended.
        self.0.wait_for(Option::is_some).await.ok().and_then(|end| *end).unwrap_or(AskingEnd::Left)
    }
}

/// The first end stays.
fn end(sender: &watch::Sender<Option<AskingEnd>>, how: AskingEnd) {
    sender.send_if_modified(|end| end.is_none() && end.replace(how).is_none());
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_is_told_the_first_end() {
        let ends: [(fn(Asked, Asking), AskingEnd); 4] = [
            (|_, asking| drop(asking), AskingEnd::Left),
            (|_, asking| asking.failed(), AskingEnd::Failed),
            (|asked, _asking| asked.heard(), AskingEnd::Heard),
            (
                |asked, asking| {
                    asking.failed();
                    asked.heard();
                },
                AskingEnd::Failed,
            ),
        ];
        for (end, how) in ends {
            let (asked, asking) = Asked::begin();
            let answers = [asked.answer().unwrap(), asked.answer().unwrap()];
            end(asked, asking);
            for answer in answers {
                assert_eq!(answer.ended().await, how);
            }
        }
    }

    #[test]
    fn an_asking_that_is_over_has_no_answer() {
        let (asked, asking) = Asked::begin();
        assert!(!asked.is_over());
        drop(asking);
        assert!(asked.is_over() && asked.answer().is_none());
    }
}

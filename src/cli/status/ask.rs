//! Asking the running proxy for the terminal view: one thread follows its events, another carries out orders. It must not
//! draw, nor wait for the one that draws.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::sleep;

use crate::admin::client::Wish;
use crate::admin::client::following;
use crate::cli::desk::Desk;
use crate::cli::status::model::News;
use crate::cli::status::model::Order;
use crate::cli::status::seen::History;

/// Tells what the proxy's events say, and connects again where they end, until nobody listens.
pub(super) fn follow_events(desk: &Desk, mut tell: impl FnMut(News) -> bool) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        loop {
            let ended =
                following::proxy(&desk.read.config.admin, |name, data| news(name, data).is_none_or(&mut tell)).await;
            let Err(why) = ended else { return };
            if !tell(News::Lost(desk.located(why))) {
                return;
            }
            sleep(PAUSE).await;
        }
    });
}

/// An event; `None` for one of another kind.
fn news(name: &str, data: &str) -> Option<News> {
    let read = match name {
        "status" => serde_json::from_str(data).map(News::Status),
        "records" => serde_json::from_str(data).map(News::Arrived),
        _ => return None,
    };
    Some(read.unwrap_or_else(|error| News::Lost(format!("the proxy's events: {error}"))))
}

/// Carries out orders and tells the answers, until there are no more or nobody listens.
pub(super) fn obey(desk: &Desk, orders: &Receiver<Order>, mut tell: impl FnMut(News) -> bool) {
    while let Ok(order) = orders.recv() {
        let news = answer(desk, &order).unwrap_or_else(|why| News::Failed(order, why));
        if !tell(news) {
            return;
        }
    }
}

fn answer(desk: &Desk, order: &Order) -> Result<News, String> {
    Ok(match order {
        Order::Block { key, seconds } => News::Blocked(ask(desk, &block(key, *seconds))?),
        Order::Blocks => News::Blocks(ask(desk, &Wish::Blocks)?),
        Order::Explain(message) => News::Explained(ask(desk, &Wish::Explain(message.clone()))?),
        Order::History => News::History(ask::<History>(desk, &Wish::History)?.points),
        Order::Preview(key) => News::Previewed(key.clone(), ask(desk, &Wish::Preview(key.clone()))?),
        Order::Records(words) => News::Found(words.clone(), ask(desk, &Wish::Records(words.clone()))?),
        Order::Restore { key, seconds } => {
            ask::<Value>(desk, &block(key, *seconds))?;
            News::Restored(key.clone())
        }
        Order::Sessions => News::Sessions(ask(desk, &Wish::Sessions(MOST_SESSIONS, "largest"))?),
        Order::Unblock(key) => {
            ask::<Value>(desk, &Wish::Unblock(key.clone()))?;
            News::Unblocked(key.clone())
        }
    })
}

fn block(key: &str, seconds: u64) -> Wish {
    Wish::Block(key.to_owned(), seconds, "from status --watch".to_owned())
}

fn ask<T: DeserializeOwned>(desk: &Desk, wish: &Wish) -> Result<T, String> {
    let (_, answer) = desk.ask(wish)?;
    serde_json::from_value(answer).map_err(|error| format!("the proxy's answer: {error}"))
}

/// Time until a proxy that went away is looked for again.
const PAUSE: Duration = Duration::from_secs(1);
/// Sessions of one answer.
const MOST_SESSIONS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_as_news() {
        let told = |name: &str, data: &str| format!("{:?}", news(name, data));
        assert!(told("status", r#"{ "now": 7 }"#).starts_with("Some(Status(Seen"));
        assert!(told("records", r#"{ "records": [{ "number": 3 }] }"#).contains("number: 3"));
        assert!(told("records", "[").starts_with("Some(Lost(\"the proxy's events: "));
        assert_eq!(told("another", "{}"), "None");
    }
}

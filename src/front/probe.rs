//! Asks the backend whether it answers: when `health` suspects it, while it is down, and once a minute while nobody sends
//! mail, unless that would start a program. It must not keep a client waiting.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::backend::Target;
use crate::backend::obstacle;
use crate::front::condition::Condition;
use crate::front::health::Answer;
use crate::front::health::News;
use crate::front::inquiry;
use crate::front::services::Services;

/// Asks the backend when it is suspected, while it is down, and now and then while nobody sends mail, until a stop.
pub async fn watch(services: Arc<Services>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let is_down = services.health.down().is_some();
        pause = if is_down { (pause * 2).min(LONGEST_PAUSE) } else { FIRST_PAUSE };
        tokio::select! {
            () = sleep(if is_down { pause } else { IDLE }) => {}
            () = services.health.doubted() => {}
            () = services.conditions.reached(Condition::is_stopping) => return,
        }
        if is_down || services.health.is_suspected() || is_quiet(&services) {
            ask(&services).await;
            sleep(SPACING).await;
        }
    }
}

/// Whether the backend has not been heard for a minute, and is a server that may be asked just to know.
fn is_quiet(services: &Services) -> bool {
    let now = services.state.tables().clock.now();
    let is_server = matches!(services.backends.target(), Target::Lmtp(_) | Target::Tcp(_));
    is_server && services.health.answered().is_none_or(|at| now.since(at) >= IDLE)
}

async fn ask(services: &Arc<Services>) {
    // In this order: another backend is in force before the one before is forgotten.
    let generation = services.health.generation();
    let target = services.backends.target();
    let answer = match target {
        Target::Maildir(_) | Target::Queue(_) => match obstacle(&target) {
            Some(what) => Answer::Refused(what),
            None => Answer::Given,
        },
        Target::Lmtp(_) | Target::Spawn(_) | Target::Tcp(_) => {
            let asked = tokio::select! {
                asked = inquiry::probe(services.clone()) => asked,
                () = services.conditions.reached(Condition::is_stopping) => return,
            };
            match asked {
                Ok(()) => Answer::Given,
                Err(said) if said.starts_with(BUSY) => Answer::Busy,
                Err(said) => Answer::Refused(said),
            }
        }
    };
    let now = services.state.tables().clock.now();
    match services.health.learn(&answer, generation, now) {
        Some(News::Down(down)) => tracing::error!(backend = %target, error = down.error, "backend down"),
        Some(News::Up(length)) => tracing::info!(backend = %target, seconds = length.as_secs(), "backend up again"),
        None => {}
    }
}

/// The beginning of our own reply when all places are taken.
const BUSY: &str = "451 4.3.2";
/// Between two questions while it is down: 5 s, then twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(2500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Time without an answer after which a server is asked.
const IDLE: Duration = Duration::from_secs(60);
/// Between any two questions.
const SPACING: Duration = Duration::from_secs(1);

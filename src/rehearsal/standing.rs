//! What the state of a running proxy would say of a message that has not come: blocks, throttles, the memory of
//! oversizes. The proxy finds it, `explain` asks for it and fits it into the rulings of the files. It must not charge
//! anything.

use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::policy::block::Suspect;
use crate::policy::familiar::familiar_key;
use crate::policy::repeat;
use crate::policy::replies;
use crate::policy::throttle::Action;
use crate::policy::throttle::Probe;
use crate::policy::throttle::Stage;
use crate::policy::throttle::Throttle;
use crate::policy::throttle::subject::Subject;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Ruling;
use crate::rehearsal::explain::Message;
use crate::session::snapshot::Snapshot;
use crate::smtp::address::Address;
use crate::store::tables::Tables;

/// At each command, what refuses it now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// At the connection.
    pub connect: Option<Found>,
    /// At MAIL.
    pub mail: Option<Found>,
    /// At each RCPT.
    pub recipients: Vec<Option<Found>>,
}

/// What refuses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Found {
    /// An operator's block.
    Block {
        /// As `blocks` shows it.
        key: String,
    },
    /// Undeclared messages that were too large.
    Oversize {
        /// How long they are remembered.
        seconds: u64,
    },
    /// A throttle that is over its limit, or its block.
    Throttle {
        /// Its name.
        name: String,
        /// For how long, in milliseconds.
        millis: u64,
        /// It is its block.
        blocked: bool,
        /// What `unblock` has to be told to end it.
        key: String,
    },
}

impl Standing {
    /// As the state is now.
    ///
    /// # Errors
    /// An address that is none.
    pub fn of(state: &Tables, snapshot: &Snapshot, message: &Message) -> Result<Self, String> {
        let (mail, recipients) = message.envelope()?;
        let environment = snapshot.policy.client(message.client, message.host.as_deref());
        let subject = Subject {
            client: message.client,
            // The session takes the first word.
            helo: message.helo.split(' ').find(|word| !word.is_empty()).unwrap_or_default().as_bytes(),
            sender: None,
            recipient: None,
            relay_client: environment.get(b"RELAYCLIENT").is_some(),
            authenticated: false,
            user: None,
        };
        let client = message.client;
        let block = |sender| {
            let block = state.blocks.find(Suspect { client, sender })?;
            Some(Found::Block { key: block.key })
        };
        let throttle = |stage, subject: &Subject<'_>| over_limit(state, snapshot, stage, subject, mail.size);
        let connect = block(None).or_else(|| throttle(Stage::Connect, &subject));
        let of_mail = Subject { sender: Some(&mail.sender), ..subject };
        let at_mail = block(Some(&mail.sender)).or_else(|| throttle(Stage::Mail, &of_mail));
        let at_rcpt = recipients.iter().map(|rcpt| {
            let key = repeat::oversize_key(&state.seed, client, &mail.sender, &rcpt.recipient);
            let wait = mail.size.is_none().then(|| state.oversize(key, false)).flatten().flatten();
            let of_rcpt = Subject { recipient: Some(&rcpt.recipient), ..of_mail };
            wait.map(|wait| Found::Oversize { seconds: wait.as_secs() })
                .or_else(|| throttle(Stage::Recipient, &of_rcpt))
        });
        Ok(Self { connect, mail: at_mail, recipients: at_rcpt.collect() })
    }
}

impl Standing {
    /// What `unblock` has to be told of the throttles that refuse it, each once.
    pub fn throttled(&self) -> Vec<&str> {
        let all = [&self.connect, &self.mail].into_iter().chain(&self.recipients).flatten();
        let mut keys: Vec<&str> = Vec::new();
        for found in all {
            if let Found::Throttle { key, .. } = found
                && !keys.contains(&&**key)
            {
                keys.push(key);
            }
        }
        keys
    }
}

impl Found {
    /// What is said of it; none when it is a throttle that the files do not have any more.
    pub(crate) fn ruling(
        &self,
        throttles: &[Throttle],
        suspect: Suspect<'_>,
        recipient: Option<&Address>,
    ) -> Option<Ruling> {
        match self {
            Self::Block { key } => Some(suspect.ruling(key)),
            Self::Oversize { seconds } => {
                let reply = replies::oversize_remembered(recipient?, Duration::from_secs(*seconds));
                Some(Ruling::new(reply, Reason::OversizeRemembered))
            }
            Self::Throttle { name, millis, blocked, .. } => {
                let throttle = throttles.iter().find(|throttle| *throttle.name == **name)?;
                let wait = Duration::from_millis(*millis);
                Some(match blocked {
                    true => Ruling::blocked_for(throttle, wait),
                    false => Ruling::throttled(throttle, wait),
                })
            }
        }
    }
}

/// The first throttle that would refuse; shadows never do.
fn over_limit(
    state: &Tables,
    snapshot: &Snapshot,
    stage: Stage,
    subject: &Subject<'_>,
    size: Option<u64>,
) -> Option<Found> {
    snapshot.policy.throttles.iter().filter(|throttle| !throttle.shadow).find_map(|throttle| {
        let probe = throttle.probed_at(stage)?;
        let key = throttle.key(&state.seed, subject)?;
        let found = |wait: Duration, blocked| Found::Throttle {
            name: throttle.name.to_string(),
            millis: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            blocked,
            key: format!("{}:{}", throttle.name, throttle.label(subject).unwrap_or_default()),
        };
        let blocks = throttle.action == Action::Block;
        if let Some(left) = state.blocks.find_throttled(key.exact).filter(|_| blocks) {
            return Some(found(left, true));
        }
        if probe == Probe::Block {
            return None;
        }
        let wait = state.throttles.test(throttle, key, throttle.cost(size)).err()?;
        let familiar = subject.recipient.filter(|_| throttle.is_shared());
        if familiar.is_some_and(|it| state.is_familiar(familiar_key(&state.seed, subject.client, it))) {
            return None;
        }
        Some(if blocks { found(throttle.block.first, true) } else { found(wait, false) })
    })
}

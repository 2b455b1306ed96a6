//! All that sessions share in memory, as one value: counters, ledger, blocks and memories. A call that answers a session must
//! not touch the disk.

use std::sync::Arc;
use std::time::Duration;

use crate::policy::familiar::FAMILIAR_MEMORY;
use crate::policy::repeat::OVERSIZE_MEMORY;
use crate::policy::repeat::OVERSIZES_BEFORE_DEFERRAL;
use crate::policy::repeat::REFUSAL_MEMORY;
use crate::policy::repeat::TRIES_PER_OVERSIZE;
use crate::policy::throttle::escalation::ESCALATION_MEMORY;
use crate::policy::throttle::key::Seed;
use crate::store::blocks::Blocks;
use crate::store::clock::Clock;
use crate::store::clock::Time;
use crate::store::disk::file::Changed;
use crate::store::disk::file::Everything;
use crate::store::extensions::Extensions;
use crate::store::history::History;
use crate::store::ledger::Ledger;
use crate::store::rows::Refusals;
use crate::store::rows::Times;
use crate::store::shards::Persistent;
use crate::store::table::Row;
use crate::store::table::Table;
use crate::store::throttle::DEFAULT_BOUND;
use crate::store::throttle::ThrottleTable;

/// The memory of the proxy.
#[derive(Debug)]
pub struct Tables {
    /// The time of all of it.
    pub clock: Arc<dyn Clock>,
    /// The secret of the keys.
    pub seed: Seed,
    /// The counters of the throttles.
    pub throttles: ThrottleTable,
    /// The messages that were delivered.
    pub ledger: Arc<Ledger>,
    /// The blocks, of operators and of throttles.
    pub blocks: Blocks,
    /// Refused oversizes, by `oversize_key`.
    pub oversizes: Table<Refusals>,
    /// Defers, by `escalation_key`.
    pub escalations: Table<Times>,
    /// Refusals, by `refusal_key`.
    pub refusals: Table<Times>,
    /// Networks that have delivered to a recipient, by `familiar_key`.
    pub familiars: Table<()>,
    /// The backend's EHLO keywords.
    pub extensions: Extensions,
    /// The counts of a day and a year.
    pub history: Arc<History>,
}

impl Tables {
    pub(super) fn new(seed: Seed, clock: Arc<dyn Clock>) -> Self {
        Self {
            throttles: ThrottleTable::new(DEFAULT_BOUND, clock.clone()),
            ledger: Arc::new(Ledger::new(DEFAULT_BOUND, clock.clone())),
            blocks: Blocks::new(MOST_BLOCKS, clock.clone()),
            oversizes: Table::new(MOST_MEMORIES, OVERSIZE_MEMORY),
            escalations: Table::new(MOST_MEMORIES, ESCALATION_MEMORY),
            refusals: Table::new(MOST_MEMORIES, REFUSAL_MEMORY),
            familiars: Table::new(MOST_MEMORIES, FAMILIAR_MEMORY),
            extensions: Extensions::new(MOST_EXTENSIONS, clock.clone()),
            history: Arc::new(History::new()),
            seed,
            clock,
        }
    }

    /// The memory of undeclared messages under this key that were too large: `None` when there is none, else the time for which
    /// the next one is deferred. This is one try more, and one of [`TRIES_PER_OVERSIZE`] is not, to prove itself.
    pub fn oversize(&self, key: u128) -> Option<Option<Duration>> {
        let now = self.clock.now();
        let row = self.oversizes.get(key, now)?;
        if row.value.count < OVERSIZES_BEFORE_DEFERRAL {
            return Some(None);
        }
        self.oversizes.update(key, now, |row| row.map(Row::tried));
        Some(row.tried().deferral(TRIES_PER_OVERSIZE, now))
    }

    /// Remembers that one more undeclared message under this key was too large.
    pub fn note_oversize(&self, key: u128, now: Time) {
        self.oversizes.renew(key, OVERSIZE_MEMORY, now, Refusals::refused);
    }

    /// Remembers that a network has delivered to the recipient that knows it by this key.
    pub fn note_familiar(&self, key: u128, now: Time) {
        let today = Time::from_seconds(now.seconds() - now.seconds() % SECONDS_OF_A_DAY);
        let until = today.plus(FAMILIAR_MEMORY).seconds();
        self.familiars.update(key, now, |row| Some(Row { until, ..row.unwrap_or(Row::new(now, FAMILIAR_MEMORY)) }));
    }

    /// Whether a network has delivered to the recipient that knows it by this key.
    pub fn is_familiar(&self, key: u128) -> bool {
        self.familiars.get(key, self.clock.now()).is_some()
    }

    /// Forgets idle keys and expired rows. For a timer; the bounds hold without it.
    pub fn sweep(&self) {
        let now = self.clock.now();
        self.persistent().for_each(|(_, table)| table.sweep(now));
        self.ledger.similar.sweep(now);
        self.blocks.sweep();
        self.extensions.sweep();
    }

    /// The names of the tables on the disk.
    pub(super) fn names() -> Vec<&'static str> {
        PERSISTENT.iter().map(|(name, _)| *name).collect()
    }

    pub(super) fn load(&self, mut everything: Everything) {
        let now = self.clock.now();
        for (name, table) in self.persistent() {
            let rows = everything.tables.remove(name).unwrap_or_default();
            rows.into_iter().for_each(|(key, octets)| table.load(key, octets, now));
        }
        everything.blocks.into_iter().for_each(|block| self.blocks.load(block));
        everything.extensions.into_iter().for_each(|(key, heard)| self.extensions.load(key, heard));
        self.history.load(everything.history);
    }

    /// What has changed since the last call; `whole`: also what is written only once in a while.
    pub(super) fn take_changes(&self, whole: bool) -> Changed {
        Changed {
            tables: self.persistent().map(|(name, table)| (name, table.take_changes())).collect(),
            blocks: self.blocks.take_changes(),
            extensions: self.extensions.take_changes(),
            history: self.history.take_changes(self.clock.now(), whole),
        }
    }

    /// Has everything written, whatever stands on the disk.
    pub(super) fn write_anew(&self) {
        self.persistent().for_each(|(_, table)| table.write_anew());
        self.blocks.write_anew();
        self.extensions.write_anew();
        self.history.write_anew();
    }

    /// Has everything written: these changes did not get to the disk.
    pub(super) fn put_back(&self, changed: Changed) {
        self.write_anew();
        self.blocks.put_back(changed.blocks.into_iter().map(|(key, _)| key));
    }

    fn persistent(&self) -> impl Iterator<Item = (&'static str, &dyn Persistent)> {
        PERSISTENT.iter().map(|(name, table)| (*name, table(self)))
    }
}

/// The tables that are kept on the disk, by the names that they have there.
const PERSISTENT: [(&str, fn(&Tables) -> &dyn Persistent); 8] = [
    ("throttles", |tables| &tables.throttles.keys),
    ("unacknowledged", |tables| &tables.ledger.unacknowledged),
    ("delivered", |tables| &tables.ledger.delivered),
    ("envelopes", |tables| &tables.ledger.envelopes),
    ("oversizes", |tables| &tables.oversizes),
    ("escalations", |tables| &tables.escalations),
    ("refusals", |tables| &tables.refusals),
    ("familiars", |tables| &tables.familiars),
];

const SECONDS_OF_A_DAY: u32 = 86_400;
/// Blocks of operators and throttles together.
const MOST_BLOCKS: usize = 100_000;
/// Sets of variables, of each backend that was there within a month.
const MOST_EXTENSIONS: usize = 1000;
/// Oversizes, and as many defers, and refusals, and networks.
const MOST_MEMORIES: usize = 250_000;

//! What sessions share, and what survives them: the counters of the throttles, the ledger of what was delivered, blocks.
//! All of it stands in memory and is asked there; one thread writes what has changed to the disk.

pub mod blocks;
pub mod clock;
pub mod disk;
pub mod ledger;
mod rate;
pub mod rows;
mod shards;
mod slot;
pub mod state;
pub mod table;
pub mod tables;
pub mod throttle;

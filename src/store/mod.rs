//! The memory that sessions share and that survives them: the counters of the throttles, the ledger of delivered messages,
//! blocks. All of it is kept and asked in memory, and one thread writes the changes to the disk. It must not make a session wait
//! for the disk.

pub mod blocks;
pub mod clock;
pub mod disk;
pub mod extensions;
pub mod history;
pub mod ledger;
mod rate;
pub mod rows;
mod shards;
mod slot;
pub mod state;
pub mod table;
pub mod tables;
pub mod throttle;

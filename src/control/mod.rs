//! qmail's control files and tcprules, and the lists of the configuration, which have the same form: `files` reads one file,
//! `load` all that the policy needs, `badmailfrom` and `rewrite` change one, `unread` names those of patches, `instead`
//! their variables. It must not decide about a message.

pub mod badmailfrom;
pub mod cdb;
mod client_key;
pub mod files;
pub mod instead;
pub mod load;
pub mod rewrite;
pub mod tcprules;
pub mod unread;

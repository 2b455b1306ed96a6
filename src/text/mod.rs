//! Text for people and shells, text from files, and what the kernel's files below /proc say. It must not know what the
//! text is about.

pub mod bounded;
pub mod finding;
pub mod number;
pub mod processes;
pub mod readable;
pub mod shell;
pub mod sockets;
pub mod version;
pub mod zone;

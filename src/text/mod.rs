//! Text for people and shells, and text from files. It must not know what the text is about.

pub mod bounded;
pub mod number;
pub mod readable;
pub mod shell;
pub mod version;

//! qmail's own files.

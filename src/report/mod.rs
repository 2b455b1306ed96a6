//! What is left of a transaction: its log line.

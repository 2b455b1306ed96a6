//! A key that the reader asks for, and what it takes. It must not read.

use std::ops::RangeInclusive;

/// A key as it was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

/// What a key takes.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Flag,
    Number(RangeInclusive<u64>),
    Text,
    /// A text, or a plain number in place of it.
    Quantity,
    /// One of these.
    Word(Vec<&'static str>),
    /// Of texts.
    List,
    /// Of some of these.
    Words(Vec<&'static str>),
    Table,
    /// Any number of them.
    Tables,
    /// A table with keys of the operator's own.
    Pairs,
}

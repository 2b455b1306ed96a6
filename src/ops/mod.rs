//! Builds and runs everything: the only place that knows all parts.

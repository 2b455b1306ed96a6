//! Which program this is: version, commit, and what it was built with. It must not look at the host it runs on.

/// `-V`: the version alone.
pub const SHORT: &str = env!("CARGO_PKG_VERSION");
/// The commit that it was built from, 12 digits; `unknown` outside a repository.
pub const COMMIT: &str = env!("PORTCULLIS_COMMIT");
/// `--version`: one line for each thing that a report of a problem needs.
pub const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit     ",
    env!("PORTCULLIS_COMMIT"),
    "\ntarget     ",
    env!("PORTCULLIS_TARGET"),
    "\nTLS        rustls ",
    env!("PORTCULLIS_RUSTLS"),
    " with ring ",
    env!("PORTCULLIS_RING"),
    ", TLS 1.2 and 1.3",
    "\nbackends   spawn, tcp, maildir",
    "\nfeatures   STARTTLS, AUTH (the backend's), SMTPUTF8, 8BITMIME, PROXY protocol v1 and v2, XCLIENT to backends",
);

//! Logs of a mail server, read: our own lines and those of tcpserver, smtpfront-qmail and qmail-send, stamped by
//! multilog, svlogd, s6-log, syslogd, journald or not at all; lines of other programs are known by name. Octets in, values
//! out; what is no line of these is text.
//! It must not open files, print, or ask for the time.

mod bounded;
mod civil;
mod fold;
pub mod folder;
mod foreign;
pub mod join;
pub mod line;
pub mod ours;
pub mod qmail_send;
pub mod select;
mod session;
pub mod smtpfront;
pub mod stamp;
pub mod summary;
mod syslog;
pub mod tcpserver;
mod words;
pub mod wrapped;

//! The SMTP server or UCSPI program behind us: tcp, spawn, maildir.

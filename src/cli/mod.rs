//! One file a command: arguments in, output and exit code out.

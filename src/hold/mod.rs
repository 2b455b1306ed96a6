//! A message kept until it has been ruled on.

//! The file as written, and the checked values made from it.

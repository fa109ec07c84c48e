//! Debian roots.

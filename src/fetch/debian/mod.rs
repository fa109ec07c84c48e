//! Debian archives.

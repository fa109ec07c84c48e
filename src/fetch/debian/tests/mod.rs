//! Against a small archive of our own, signed with keys made for the test.

mod archive;
mod closure;
mod newest;
mod pin;

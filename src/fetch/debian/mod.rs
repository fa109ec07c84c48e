//! Debian archives.

mod pin;

pub use pin::{IndexPin, NotAPackagePin, PackagePin, PocketPin, SuitePin};

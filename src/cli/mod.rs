//! The command line: the only code that reads argv and the environment, or prints.

pub mod progress;
pub mod render;

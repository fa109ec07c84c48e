//! Turns a plan into artifacts: the only scheduler.

mod schedule;

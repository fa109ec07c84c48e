//! `nodeimg schema`: what editors complete and check recipes with.

use super::arguments::{Role, Schema};
use super::failure::Failure;
use super::text;
use crate::recipe;

pub(super) fn run(command: &Schema) -> Result<i32, Failure> {
    let value = match command.role {
        None => recipe::schemas().into(),
        Some(Role::Suites) => recipe::schema(recipe::Role::Suite),
        Some(Role::Packages) => recipe::schema(recipe::Role::Package),
        Some(Role::Runtimes) => recipe::schema(recipe::Role::Runtime),
        Some(Role::Images) => recipe::schema(recipe::Role::Image),
    };
    text::json(&value)?;
    Ok(0)
}

//! `nodeimg key`: key files to sign with.

use serde_json::json;

use super::arguments::{Key, KeyAlgorithm, KeyCommand};
use super::failure::Failure;
use super::session::Session;
use super::text;
use crate::attest::{self, Algorithm};

pub(super) fn run(session: &Session, command: &Key) -> Result<i32, Failure> {
    let KeyCommand::New(new) = &command.command;
    let algorithm = match new.algorithm {
        KeyAlgorithm::Ed25519 => Algorithm::Ed25519,
        KeyAlgorithm::P256 => Algorithm::P256,
    };
    let key = attest::create(&new.file, algorithm)?;
    let public = attest::public_path(&new.file);
    if session.common.json {
        text::json(&json!({
            "key": key.id().to_string(),
            "algorithm": key.algorithm().to_string(),
            "private": new.file,
            "public": public,
        }))?;
    } else if !session.common.quiet {
        for (word, what) in [
            ("key", key.id().to_string()),
            ("algorithm", key.algorithm().to_string()),
            ("private", format!("{}, for who signs", new.file.display())),
            ("public", format!("{}, for who checks", public.display())),
        ] {
            session.progress.line(&format!("{word:>10} {what}"));
        }
    }
    Ok(0)
}

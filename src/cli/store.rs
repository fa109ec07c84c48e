//! `nodeimg store`: looks at and cleans the store.

use std::time::Duration;

use serde_json::{Value, json};

use super::arguments::{Gc, Store, StoreCommand};
use super::failure::Failure;
use super::session::Session;
use super::text;
use crate::store::{Collect, Count, Kind};

pub(super) fn run(session: &Session, command: &Store) -> Result<i32, Failure> {
    match &command.command {
        StoreCommand::Path => {
            let path = Session::store_path()?;
            if session.common.json {
                text::json(&json!({ "path": path }))?;
            } else {
                text::out(&format!("{}\n", path.display()))?;
            }
            Ok(0)
        }
        StoreCommand::Ls => list(session),
        StoreCommand::Verify => verify(session),
        StoreCommand::Gc(command) => collect(session, command),
    }
}

fn counts<'a>(counts: impl Iterator<Item = (&'a Kind, &'a Count)>) -> serde_json::Map<String, Value> {
    let one = |(kind, count): (&Kind, &Count)| {
        (kind.folder().to_owned(), json!({ "objects": count.objects, "bytes": count.bytes }))
    };
    counts.map(one).collect()
}

fn list(session: &Session) -> Result<i32, Failure> {
    let listing = session.store()?.list()?;
    if session.common.json {
        let roots: Vec<_> = listing
            .roots
            .iter()
            .map(|root| {
                let digests: Vec<_> = root.digests.iter().map(ToString::to_string).collect();
                json!({ "name": root.name, "digests": digests })
            })
            .collect();
        text::json(&json!({ "kinds": counts(listing.kinds.iter()), "roots": roots }))?;
        return Ok(0);
    }
    let mut lines = String::new();
    for (kind, count) in &listing.kinds {
        lines += &format!("{:>10} {:>8}  {}\n", kind.folder(), count.objects, text::size(count.bytes));
    }
    for root in &listing.roots {
        lines += &format!("{:>10} {:>8}  {}\n", "kept", root.digests.len(), root.name);
    }
    text::out(&lines)?;
    Ok(0)
}

fn verify(session: &Session) -> Result<i32, Failure> {
    let verified = session.store()?.verify(&session.cancel)?;
    if session.common.json {
        let damaged: Vec<_> =
            verified.damaged.iter().map(|(kind, name)| json!([kind.folder(), name])).collect();
        let checked = json!({ "objects": verified.checked.objects, "bytes": verified.checked.bytes });
        text::json(&json!({ "checked": checked, "damaged": damaged }))?;
    } else {
        let mut lines = String::new();
        for (kind, name) in &verified.damaged {
            lines += &format!("{:>10} {}/{name}, removed\n", "damaged", kind.folder());
        }
        let (objects, bytes) = (verified.checked.objects as usize, text::size(verified.checked.bytes));
        lines += &format!("{:>10} {}, {bytes}\n", "verified", text::count(objects, "object"));
        text::out(&lines)?;
    }
    Ok(i32::from(!verified.damaged.is_empty()))
}

fn collect(session: &Session, command: &Gc) -> Result<i32, Failure> {
    let what = Collect {
        unused_for: Duration::from_secs(u64::from(command.unused_for) * 24 * 3600),
        max_bytes: command.max_size.map(|size| size.0),
        dry_run: command.dry_run,
    };
    let collected = session.store()?.gc(&what, &session.cancel)?;
    if session.common.json {
        let kept = json!({ "objects": collected.kept.objects, "bytes": collected.kept.bytes });
        text::json(
            &json!({ "removed": counts(collected.removed.iter()), "kept": kept, "dry-run": what.dry_run }),
        )?;
        return Ok(0);
    }
    let verb = if what.dry_run { "would go" } else { "removed" };
    let mut lines = String::new();
    for (kind, count) in &collected.removed {
        lines +=
            &format!("{verb:>10} {:>8}  {}  {}\n", count.objects, kind.folder(), text::size(count.bytes));
    }
    lines += &format!("{:>10} {:>8}  {}\n", "kept", collected.kept.objects, text::size(collected.kept.bytes));
    text::out(&lines)?;
    Ok(0)
}

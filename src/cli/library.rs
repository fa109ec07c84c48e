//! `nodeimg init` and `nodeimg add`: projects out of the recipes that nodeimg comes with.

use std::path::Path;

use serde_json::json;

use super::arguments::{Add, AddCommand, Init};
use super::failure::Failure;
use super::session::Session;
use super::text;
use crate::base::Name;
use crate::lock::{self, Elsewhere};
use crate::pipeline;
use crate::pipeline::library::{self, Files, Library, Start, Written};
use crate::recipe::{Id, Role};

pub(super) fn init(session: &Session, command: &Init, files: fn() -> Files) -> Result<i32, Failure> {
    let library = Library::new(files())?;
    let here = &session.common.project;
    let folder = match &command.folder {
        Some(folder) if here == Path::new(".") => folder.clone(),
        Some(folder) => here.join(folder),
        None => here.clone(),
    };
    let start = Start { base: command.base.clone(), runtimes: command.runtimes.clone() };
    let (image, done) = library::init(&library, &folder, &start)?;
    let next = next(&folder, &image)?;
    if session.common.json {
        let (written, kept) = (&done.written, &done.kept);
        text::json(&json!({ "image": image, "written": written, "kept": kept, "next": next }))?;
    } else if !session.common.quiet {
        let line = |head: &str, text: &str| session.progress.line(&format!("{head:>10} {text}"));
        line("image", image.as_str());
        line("wrote", &format!("{} in `{}`", text::count(done.written.len(), "file"), folder.display()));
        tell_kept(session, &done);
        let place =
            if folder == Path::new(".") { String::new() } else { format!("cd {} && ", folder.display()) };
        line("next", &format!("{place}{next}"));
    }
    Ok(0)
}

pub(super) fn add(session: &Session, command: &Add, files: fn() -> Files) -> Result<i32, Failure> {
    let AddCommand::Runtime(command) = &command.command;
    let project = session.project()?;
    let added = library::add(&Library::new(files())?, &project, &command.name, command.image.as_deref())?;
    let next = next(project.path(), &added.image)?;
    if session.common.json {
        let (written, kept) = (&added.files.written, &added.files.kept);
        let (image, class) = (&added.image, &added.runtime_class);
        text::json(&json!({
            "image": image, "runtime-class": class, "written": written, "kept": kept, "next": next
        }))?;
    } else if !session.common.quiet {
        let line = |head: &str, text: &str| session.progress.line(&format!("{head:>10} {text}"));
        if added.was_there {
            line("runtime", &format!("`{}` is in image `{}` already", command.name, added.image));
        } else {
            let class = &added.runtime_class;
            line("added", &format!("runtime `{}` to image `{}`", command.name, added.image));
            line("pods", &format!("ask for it by `runtimeClassName: {class}`"));
            for file in &added.files.written {
                line("wrote", file);
            }
            tell_kept(session, &added.files);
        }
        line("next", next);
    }
    Ok(0)
}

fn tell_kept(session: &Session, done: &Written) {
    for file in &done.kept {
        session
            .progress
            .line(&format!("{:>10} {file}, which is another one than nodeimg comes with", "kept"));
    }
}

/// Tells what is to be done with an image whose recipes were just written.
fn next(project: &Path, image: &Name) -> Result<&'static str, Failure> {
    let project = pipeline::load(project)?;
    Ok(match lock::load(&project, &[Id::new(Role::Image, image)], &Elsewhere::new()) {
        Ok(_) => "nodeimg build --lock",
        Err(lock::Error::Stale(_)) => "nodeimg lock",
        Err(error) => return Err(error.into()),
    })
}

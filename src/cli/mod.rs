//! The command line: the only code that reads argv and the environment, or prints.
//!
//! A file a command; each is a thin layer over one function of [`crate::pipeline`]. Progress, warnings, errors and the
//! summary go to stderr, results (`--json`, tables, logs, schemas) to stdout. Exit codes: 0 done, 1 a recipe, lock or
//! download is wrong (of `diff`: something differs; of `lint` and `outdated`: something was found), 2 usage, 3 a build failed, 4 this machine can't, 130 stopped.

mod arguments;
mod attest;
mod build;
mod bundle;
mod catalog;
mod diff;
mod failure;
mod fetch;
mod graph;
mod host;
mod key;
mod library;
mod lint;
mod lock;
mod outdated;
mod plan;
pub mod progress;
pub mod render;
mod schema;
mod session;
mod signature;
mod steps;
mod store;
mod text;
mod trial;
mod verify;
mod verify_bundle;
mod why;

use clap::Parser as _;

use crate::base::Blame;
use crate::pipeline::library::Files;
use arguments::{Arguments, Command};
use session::Session;

/// Runs the program; gives its exit code. `library` lists the files of the recipes that it comes with.
pub fn run(library: fn() -> Files) -> i32 {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors: clap knows where each goes.
            let code = error.exit_code();
            drop(error.print());
            return code;
        }
    };
    let session = Session::new(arguments.common);
    let result = match &arguments.command {
        Command::Build(command) => build::run(&session, command),
        Command::Try(command) => trial::run(&session, command),
        Command::Lint(command) => lint::run(&session, command),
        Command::Catalog(command) => catalog::run(&session, command),
        Command::Lock(command) => lock::run(&session, command),
        Command::Outdated(command) => outdated::run(&session, command),
        Command::Fetch(command) => fetch::run(&session, command),
        Command::Bundle(command) => bundle::run(&session, command),
        Command::Plan(command) => plan::run(&session, command),
        Command::Rebuild(command) => verify::rebuild(&session, command),
        Command::Verify(command) => verify::verify(&session, command),
        Command::Diff(command) => diff::run(&session, command),
        Command::Graph(command) => graph::run(&session, command),
        Command::Why(command) => why::run(&session, command),
        Command::Log(command) => steps::log(&session, command),
        Command::Shell(command) => steps::shell(&session, command),
        Command::Attest(command) => attest::run(&session, command),
        Command::Key(command) => key::run(&session, command),
        Command::Store(command) => store::run(&session, command),
        Command::Schema(command) => schema::run(command),
        Command::Init(command) => library::init(&session, command, library),
        Command::Add(command) => library::add(&session, command, library),
    };
    session.progress.finish();
    match result {
        Ok(code) => code,
        Err(failure) => {
            let style = render::Style::of_terminal();
            eprint!("{}", render::render(&*failure.error, style));
            code(failure.blame)
        }
    }
}

fn code(blame: Blame) -> i32 {
    match blame {
        Blame::Input => 1,
        Blame::Usage => 2,
        Blame::Build => 3,
        Blame::Machine => 4,
        Blame::Cancelled => 130,
    }
}

//! Where Python's index is, for hosts without pip.
//!
//! nodeimg names no registry: it asks the host's own clients. A fresh machine has no pip; then Debian's package of it
//! is brought, which the host's apt sources (or snapshot.debian.org) have, and its built-in default is read.

use super::Error;
use crate::base::GuestPath;
use crate::fetch::debian::PackagePin;
use crate::fetch::{Context, Request, Source, settings};
use crate::plan::{Fetch, Plan, StepId, Work};
use crate::realise::{self, Known};
use crate::recipe::{Id, Project, Role};
use crate::store::{Node, Store};
use crate::unpack;

/// pip 23.0.1 as bookworm has it, and a moment at which snapshot.debian.org keeps it.
const PIP: &str = "debian:pool/main/p/python-pip/python3-pip-whl_23.0.1+dfsg-1_all.deb 1717296 \
                   sha256:cc373690a1cb469fb301b9fe0125048e3102f2e365d1b2d27cab091ec89fccdc";
const MOMENT: &str = "20250520T000000Z";
const WHEEL: &str = "/usr/share/python-wheels/pip-23.0.1-py3-none-any.whl";

/// Tells whether the targets have a source in Python's index.
pub(super) fn is_asked(project: &Project, targets: &[Id]) -> bool {
    project.closure(targets).iter().filter(|id| id.role == Role::Package).any(|id| {
        project.packages[&id.name].sources().any(|(_, source)| matches!(source.fetch, Source::Pypi(_)))
    })
}

/// Tells whether a file of Python's index is missing that some steps need.
pub(super) fn is_lacking(plan: &Plan, wanted: &[StepId], store: &Store) -> Result<bool, Error> {
    let is_pypi = |work: &Work| matches!(work, Work::Fetch(Fetch::Source { request: Request::Pypi(_), .. }));
    if !plan.steps.iter().any(|step| is_pypi(&step.work)) {
        return Ok(false);
    }
    let known = realise::explain(plan, wanted, store)?;
    let absent = plan.steps.iter().zip(known).filter(|(_, known)| matches!(known, Known::Absent(_)));
    Ok(absent.into_iter().any(|(step, _)| is_pypi(&step.work)))
}

/// Finds Python's index if the host does not say where it is and it is needed, which is asked only then.
pub(super) fn find_pypi(
    is_needed: impl FnOnce() -> Result<bool, Error>,
    context: &Context<'_>,
) -> Result<(), Error> {
    if !context.network.lacks_pypi() || !is_needed()? {
        return Ok(());
    }
    let pin: PackagePin = PIP.parse().expect("a constant pin");
    let (store, cancel) = (context.store, context.cancel);
    let package = pin.fetch(MOMENT, context)?;
    let files = unpack::deb(store, &package, pin.file(), unpack::Limits::default(), cancel)?.data;
    let wheel = GuestPath::new(WHEEL).expect("a constant path");
    let Some(Node::File { digest, .. }) = files.get(&wheel) else { return Ok(()) };
    let pip = unpack::archive(store, digest, WHEEL, &unpack::Options::default(), cancel)?;
    let index = GuestPath::new(&format!("/{}", settings::PIP_DEFAULT)).expect("a constant path");
    let Some(Node::File { digest, .. }) = pip.get(&index) else { return Ok(()) };
    let text = store.read_blob(digest)?;
    if let Some(base) = settings::pip_default(&String::from_utf8_lossy(&text)) {
        context.network.learn_pypi(base);
    }
    Ok(())
}

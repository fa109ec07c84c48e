//! What the configuration layer changes in the layers below, for people: a unified diff.

use std::fmt::Write as _;

use diffy::{DiffOptions, PatchFormatter};

use super::{Below, Error, Node, VERSION_FILE, configure, containerd, spec};

/// The version of how changes are shown.
pub const CHANGE: u32 = 1;

/// The file that shows them, of what lies beside the image.
pub const CHANGE_FILE: &str = "configuration.diff";

/// Shows what [`configure`] changes: each of its files against what stands there below; a base runtime spec that is
/// new against the one that it is made from, in the same layout, so that only what is set differs.
pub fn change(node: &Node, below: Below<'_>) -> Result<String, Error> {
    let config =
        containerd::Config::parse(node.containerd_config.as_str(), &below.file(&node.containerd_config)?)?;
    let base_spec = config.default_base_spec()?;
    let mut text = String::new();
    let lines = PatchFormatter::new().suppress_blank_empty(false);
    for (path, after) in configure(node, below)? {
        let before = match ((below.read)(&path), &base_spec) {
            (Some(there), _) => Some((path.clone(), there)),
            (None, Some(base)) if path.as_str() != VERSION_FILE => {
                Some((base.clone(), spec::laid_out(base.as_str(), &below.file(base)?)?))
            }
            (None, _) => None,
        };
        let (from, before) = before
            .map_or(("/dev/null".to_owned(), Vec::new()), |(from, before)| (format!("a{from}"), before));
        let mut options = DiffOptions::new();
        options.set_original_filename(from).set_modified_filename(format!("b{path}"));
        let (before, after) = (String::from_utf8_lossy(&before), String::from_utf8_lossy(&after));
        let patch = options.create_patch(&before, &after);
        if !patch.hunks().is_empty() {
            write!(text, "{}", lines.fmt_patch(&patch)).expect("a string takes all");
        }
    }
    Ok(text)
}

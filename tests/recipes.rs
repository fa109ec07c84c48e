//! The project's own recipes.

use std::path::Path;

use nodeimg::recipe;

#[test]
fn every_recipe_loads() {
    let project = recipe::load(Path::new(env!("CARGO_MANIFEST_DIR")));
    let project = project.unwrap_or_else(|error| panic!("{:?}", miette::Report::new(error)));
    assert!(project.images.values().any(|image| image.default), "no default image");
}

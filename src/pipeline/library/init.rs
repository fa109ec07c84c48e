//! A new project out of the library's recipes.

use std::path::Path;

use super::edit::Recipe;
use super::{Error, Files, Library, Written, try_out, write};
use crate::base::Name;
use crate::pipeline::TOOLS;
use crate::plan::EMULATOR;
use crate::recipe::{Id, Role};

/// What a new project is to make.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// The node image of the library that it starts from; by default the library's own default.
    pub base: Option<String>,
    /// The runtimes in place of the image's own; none asked for leaves those.
    pub runtimes: Vec<String>,
}

/// Makes a project in `folder`; gives the image's name and what was written.
pub fn init(library: &Library, folder: &Path, start: &Start) -> Result<(Name, Written), Error> {
    if folder.join("recipes").exists() {
        return Err(Error::Project(folder.to_owned()));
    }
    let name = base(library, start.base.as_deref())?;
    let runtimes = library.runtimes(&start.runtimes)?;
    let image = Id::new(Role::Image, &name);
    let file = format!("recipes/{image}.toml");
    let mut recipe = Recipe::parse(&file, &library.files[&file])?;
    recipe.set_default();
    if !runtimes.is_empty() {
        recipe.set_runtimes(&start.runtimes)?;
    }
    let mut whole = library.files.clone();
    // The library may have another default.
    for (id, other) in library.project.images.iter().map(|(name, other)| (Id::new(Role::Image, name), other))
    {
        if other.default && id != image {
            whole.remove(&format!("recipes/{id}.toml"));
        }
    }
    whole.insert(file.clone(), recipe.text().into_bytes());
    let changed = Library { project: try_out(&whole)?, files: whole };
    let tools = TOOLS.into_iter().chain([EMULATOR]);
    let tools = tools.map(|tool| Id::new(Role::Package, &Name::new(tool).expect("a constant name")));
    let tools: Vec<_> = tools.collect();
    let mut files = changed.closure(&[&[image][..], &tools].concat());
    try_out(&files)?;
    files.extend(around(&name));
    Ok((name, write(folder, &files)?))
}

fn base(library: &Library, asked: Option<&str>) -> Result<Name, Error> {
    let images = &library.project.images;
    let nodes = images.iter().filter(|(_, image)| image.node.is_some()).map(|(name, _)| name);
    match asked {
        None => Ok(library.project.default_image().expect("the library has a default image").name.clone()),
        Some(asked) => nodes
            .clone()
            .find(|name| name.as_str() == asked)
            .cloned()
            .ok_or_else(|| Error::no_base(asked, nodes)),
    }
}

/// What stands around recipes.
fn around(image: &Name) -> Files {
    let texts = [
        ("README.md", include_str!("project/README.md")),
        (".gitignore", include_str!("project/gitignore")),
        (".github/workflows/node-image.yml", include_str!("project/workflow.yml")),
    ];
    let filled =
        |text: &str| text.replace("{image}", image.as_str()).replace("{nodeimg}", env!("CARGO_PKG_VERSION"));
    texts.map(|(path, text)| (path.to_owned(), filled(text).into_bytes())).into()
}

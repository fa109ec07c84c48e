//! One more runtime for an image of a project.

use super::edit::Recipe;
use super::{Error, Files, Library, Written, files_of, try_out, write};
use crate::base::Name;
use crate::pipeline;
use crate::pipeline::outputs::replace;
use crate::recipe::{Id, Project, Role, Runtime};

/// What adding a runtime did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The image.
    pub image: Name,
    /// The RuntimeClass that pods ask for the runtime by.
    pub runtime_class: Name,
    /// Whether the image had it before.
    pub was_there: bool,
    /// What was written.
    pub files: Written,
}

/// Adds a runtime, the project's own or the library's, to an image; by default to the project's default image.
///
/// Nothing is written unless the project is whole with it.
pub fn add(
    library: &Library,
    project: &Project,
    runtime: &str,
    image: Option<&str>,
) -> Result<Added, pipeline::Error> {
    let asked: Vec<String> = image.map(|name| format!("images/{name}")).into_iter().collect();
    let image = project.targets(&asked)?.remove(0);
    let node = project.images[&image.name].node.as_ref();
    let node = node.ok_or_else(|| Error::NoNode(image.name.clone()))?;
    let id = Name::new(runtime).ok().map(|name| Id::new(Role::Runtime, &name));
    let own = id.as_ref().and_then(|id| project.runtimes.get(&id.name));
    let known = || project.runtimes.keys().chain(library.project.runtimes.keys().filter(is_new(project)));
    let new = own.or_else(|| library.project.runtimes.get(&id.as_ref()?.name));
    let new = new.ok_or_else(|| Error::no_runtime(runtime, known()))?;
    let added = |was_there, files| Added {
        image: image.name.clone(),
        runtime_class: new.runtime_class().clone(),
        was_there,
        files,
    };
    if node.runtimes.contains(&new.name) {
        return Ok(added(true, Written::default()));
    }
    for old in &node.runtimes {
        agree(new, &project.runtimes[old])?;
    }
    let wanted = match own {
        Some(_) => Files::new(),
        None => library.closure(&[Id::new(Role::Runtime, &new.name)]),
    };
    let file = format!("recipes/{image}.toml");
    let mut whole = files_of(project.path(), &["recipes", "patches"])?;
    let mut recipe = Recipe::parse(&file, &whole[&file])?;
    recipe.add_runtime(new.name.as_str())?;
    let text = recipe.text();
    whole.insert(file.clone(), text.clone().into_bytes());
    for (path, bytes) in &wanted {
        whole.entry(path.clone()).or_insert_with(|| bytes.clone());
    }
    try_out(&whole)?;
    let mut files = write(project.path(), &wanted)?;
    let path = project.path().join(&file);
    replace(&path, &text)?;
    files.written.push(file);
    files.written.sort();
    Ok(added(false, files))
}

fn is_new(project: &Project) -> impl Fn(&&Name) -> bool + Clone {
    |name| !project.runtimes.contains_key(*name)
}

/// Two runtimes of one node bring different programs, or the same.
fn agree(new: &Runtime, old: &Runtime) -> Result<(), Error> {
    match (&new.binary, &old.binary) {
        (Some(binary), Some(other)) if binary == other && new.packages != old.packages => {
            Err(Error::Binary { new: new.name.clone(), old: old.name.clone(), binary: binary.to_string() })
        }
        _ => Ok(()),
    }
}

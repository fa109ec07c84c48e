//! Calls of libraries that a program opens at run time, held against the library that an image brings.

use crate::everywhere::{PROGRAM, clone, nodeimg, test_store};
use crate::world::{Told, World};

const CALLER: &str = r#"name = "caller"
version = "3"
license = "MIT"
[source]
path = "caller"
[build]
root = "stable"
inputs = ["engine"]
calls = ["/handler.c"]
script = 'mkdir -p "$OUT/usr/bin"; cp handler.c "$OUT/usr/bin/caller"'
"#;

const ENGINE: &str = r#"name = "engine"
version = "7"
license = "MIT"
development = ["/include"]
[source]
path = "engine"
[build]
root = "stable"
script = 'mkdir -p "$OUT/usr/lib"; cp -R include "$OUT/include"; cp libengine.so "$OUT/usr/lib/"'
"#;

const HANDLER: &str = r#"#include <engine.h>
static int load (void **handle) { *handle = dlopen ("libengine.so", RTLD_NOW); return 0; }
static int run (void *handle)
{
  void *(*find) (const size_t *index, int where);
  find = dlsym (handle, "__tls_get_addr");
  return find (NULL, 1) != NULL;
}
"#;

const HEADER: &str = "#include <stddef.h>\nvoid *__tls_get_addr(const size_t *index, int where);\n";

/// A world whose node has a program that opens a library: the host's dynamic loader, which needs no other, under another
/// name.
fn world() -> World {
    let world = World::new();
    let maps = fs_err::read_to_string("/proc/self/maps").unwrap();
    let library =
        maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("/ld-"));
    let files = "project/recipes/packages";
    world.write(&format!("{files}/caller.toml"), CALLER);
    world.write(&format!("{files}/caller/handler.c"), HANDLER);
    world.write(&format!("{files}/engine.toml"), ENGINE);
    world.write(&format!("{files}/engine/include/engine.h"), HEADER);
    world.write(&format!("{files}/engine/libengine.so"), fs_err::read(library.unwrap()).unwrap());
    world.edit(
        "project/recipes/runtimes/greeter.toml",
        "packages = [\"hello\"]",
        "packages = [\"hello\", \"caller\", \"engine\"]\nloads = [\"libengine.so\"]",
    );
    let told = world.run(&["lock"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    world
}

/// A build that fails, and why, in one line.
fn failure(world: &World) -> Told {
    let told = world.run(&["build", "--lock", "node"]);
    let at = told.stderr.find("error: ").unwrap_or_else(|| panic!("{}", told.stderr));
    Told { stderr: on_one_line(&told.stderr[at..]), ..told }
}

fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn calls_that_fit_are_looked_at_once() {
    let world = world();
    let made = world.made(&["node"]);
    assert!(made.contains(&"greeter:calls:caller".to_owned()), "{made:?}");
    assert!(world.made(&["node"]).is_empty());
}

#[test]
fn calls_that_do_not_fit_fail_the_build() {
    let world = world();
    let engine = "project/recipes/packages/engine/include/engine.h";
    world.edit(engine, "int where", "int where, int more");
    assert_eq!(
        failure(&world),
        Told::failure(
            1,
            "error: caller calls `__tls_get_addr` with 2 parameters, engine 7 declares 3 \
             hint: pin a release of the library that declares it so, or patch caller to take types from headers"
        )
    );
    world.write(engine, HEADER);
    let handler = "project/recipes/packages/caller/handler.c";
    world.edit(handler, "\"__tls_get_addr\"", "\"get_of_nobody\"");
    assert_eq!(
        failure(&world),
        Told::failure(
            1,
            "error: caller loads `get_of_nobody`, which the library of engine 7 lacks \
             hint: pin a release of the library that has it, or patch caller to do without"
        )
    );
    world.edit("project/recipes/packages/caller.toml", "/handler.c", "/handlers.c");
    assert_eq!(
        failure(&world),
        Told::failure(
            1,
            "error: the source of `caller` has no `/handlers.c` \
             hint: name its files in `calls` of `[build]` as they lie in the source: `/src/handler.c`"
        )
    );
    world.write(handler, HANDLER);
    world.edit("project/recipes/packages/caller.toml", "/handlers.c", "/handler.c");
    world.write("project/recipes/packages/engine/libengine.so", "no library");
    let told = failure(&world);
    let text = "error: `libengine.so` of engine 7 can't be read as a library: ";
    assert!(told.code == 1 && told.stderr.starts_with(text), "{told:?}");
}

/// crun is built with the headers of wasmtime 25; a runtime that brings 36 beside it would give a guest no folder.
#[test]
fn a_crun_for_another_wasmtime_fails_the_build() {
    let folder = tempfile::tempdir().unwrap();
    clone(folder.path());
    let runtime = folder.path().join("recipes/runtimes/crun-wasmtime.toml");
    let text = fs_err::read_to_string(&runtime).unwrap();
    let text = text.replace("[\"crun\", \"wasmtime-c-api\"]", "[\"crun\", \"wasmtime-c-api-lts\"]");
    fs_err::write(&runtime, text).unwrap();
    let image = folder.path().join("recipes/images/kind-wasmtime-debian.toml");
    let text = fs_err::read_to_string(&image).unwrap();
    fs_err::write(&image, text.replace("-wasmtime{wasmtime-c-api}", "")).unwrap();
    let output = nodeimg(PROGRAM.as_ref(), folder.path(), &test_store()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let wanted = "error: crun was built with wasmtime-c-api 25.0.0 and calls `wasi_config_preopen_dir` with 3 parameters, \
                  wasmtime-c-api-lts 36.0.20 declares 5 hint:";
    assert!(on_one_line(&stderr).contains(wanted), "{stderr}");
}

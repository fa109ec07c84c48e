//! `nodeimg why`: what changed that something is made anew.

use serde_json::json;

use crate::world::{Told, World};

fn said(stdout: &str) -> Told {
    Told { code: 0, stdout: stdout.to_owned(), stderr: String::new() }
}

#[test]
fn a_change_is_shown_where_it_was_made() {
    let world = World::locked();
    let new = "       why plain would be made
     since hello:root:unpack, hello:source:hello, greeting:root:unpack were not made before
      then hello:root, hello:patched:hello, hello, plain:layer:programs and 5 more
";
    let nothing = "       why plain is there; nothing was made anew for it\n";
    assert_eq!(world.run(&["why"]), said(new));
    world.made(&[]);
    assert_eq!(world.run(&["why"]), said(nothing));

    world.edit(
        "project/recipes/packages/hello.toml",
        "cp hello",
        "cat hello > \"$OUT/usr/bin/hello\" && chmod 755",
    );
    let pending = "       why plain would be made anew
     since hello: the script changed
              mkdir -p \"$OUT/usr/bin\"
            - cp hello \"$OUT/usr/bin/hello\"
            + cat hello > \"$OUT/usr/bin/hello\" && chmod 755 \"$OUT/usr/bin/hello\"
      then plain:layer:programs, greeting, plain:layer:texts, plain and 1 more
";
    let told = world.run(&["why"]);
    assert_eq!(told, said(pending), "{}", told.stdout);
    let one = world.run(&["why", "hello:test"]);
    assert!(
        one.stdout
            .starts_with("       why hello:test would be made anew\n     since hello: the script changed\n")
    );
    world.made(&[]);
    let after = world.run(&["why", "plain"]);
    assert_eq!(after.stdout, pending.replace("would be made anew", "is there; it was last made anew"));

    world.edit("project/recipes/packages/greeting.toml", "version = \"2\"", "version = \"3\"");
    let document = world.json(&["why"]);
    let change = |before: &str, now: &str| json!({ "field": "env.VERSION", "before": before, "now": now });
    assert_eq!(
        document["causes"],
        json!([{ "step": "greeting", "reason": "changed", "changes": [change("2", "3")] }])
    );
    assert_eq!(document["pending"], true);
    // Back to what was made before all of it: that is only taken again.
    world.edit("project/recipes/packages/greeting.toml", "version = \"3\"", "version = \"2\"");
    let recipe = world.read("project/recipes/packages/hello.toml");
    world.write(
        "project/recipes/packages/hello.toml",
        recipe.replace("cat hello > \"$OUT/usr/bin/hello\" && chmod 755", "cp hello"),
    );
    assert_eq!(world.made(&[]), [""; 0]);
    assert_eq!(world.run(&["why"]), said(nothing));
    let unknown = world.run(&["why", "helo"]);
    assert_eq!(
        unknown,
        Told::failure(2, "error: no step `helo` runs in the project\nhint: did you mean `hello`?\n")
    );
}

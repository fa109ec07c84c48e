//! `nodeimg graph`: the steps and what they are made of.

use crate::world::World;

#[test]
fn a_plan_is_shown_as_text_as_dot_and_as_a_picture() {
    let world = World::locked();
    let told = world.run(&["graph", "greeting"]);
    snapbox::assert_data_eq!(
        told.stdout,
        snapbox::str![[r#"
greeting  run, to make
├─ greeting:root  run, to make
│  └─ greeting:root:unpack  unpack, to make
│     └─ base-files_1_all.deb  fetch, to make
└─ hello  run, to make
   ├─ hello:root  run, to make
   │  └─ hello:root:unpack  unpack, to make
   │     └─ 2 Debian packages  fetch, to make
   └─ hello:patched:hello  patch, to make
      └─ hello:source:hello  unpack, to make
         └─ hello-1.tar.gz  fetch
hello:test  run, to make
├─ hello:root ↑
└─ hello ↑

"#]]
    );
    world.made(&[]);
    let told = world.run(&["graph", "hello:test"]);
    snapbox::assert_data_eq!(
        told.stdout,
        snapbox::str![[r#"
hello:test  run
├─ hello:root  run
│  └─ hello:root:unpack  unpack
│     └─ 2 Debian packages  fetch
└─ hello  run
   ├─ hello:root ↑
   └─ hello:patched:hello  patch
      └─ hello:source:hello  unpack
         └─ hello-1.tar.gz  fetch

"#]]
    );
    let document = world.json(&["graph", "greeting"]);
    let nodes = document["nodes"].as_array().unwrap();
    assert!(nodes.iter().all(|node| node["state"] != "absent"), "{document:#}");
    let dot = world.run(&["graph", "greeting", "--dot"]).stdout;
    assert_eq!(dot.matches("[label=").count(), nodes.len(), "{dot}");
    let svg = world.run(&["graph", "greeting", "--svg"]).stdout;
    assert_eq!(svg.matches("<g class=\"node").count(), nodes.len(), "{svg}");
    let told = world.run(&["graph", "nothing"]);
    assert_eq!(told.code, 2, "{}", told.stderr);
}

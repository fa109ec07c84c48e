use proptest::prelude::*;

use super::*;

const PATH: [&str; 4] = ["plugins", "io.containerd.cri.v1.runtime", "containerd", "runtimes"];

fn entry() -> Entry {
    Entry {
        values: vec![("runtime_type".into(), "io.containerd.runc.v2".into())],
        tables: vec![("options".into(), vec![("BinaryName".into(), "/usr/local/bin/crun".into())])],
    }
}

/// What is added to a text, where the rest of it stays.
#[track_caller]
fn added(text: &str) -> String {
    let result = insert(text, &PATH, "crun", &entry()).unwrap();
    let same = text.bytes().zip(result.bytes()).take_while(|(one, other)| one == other).count();
    let from = (0..=same).rev().find(|&at| result.ends_with(&text[at..])).expect("the rest is as it was");
    let added = result[from..from + result.len() - text.len()].to_owned();
    assert_eq!([&text[..from], &added, &text[from..]].concat(), result);
    added
}

const TABLES: &str = r#"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.crun]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.crun.options]
BinaryName = "/usr/local/bin/crun"
"#;

#[test]
fn tables_get_a_table() {
    let base = "[plugins.\"io.containerd.cri.v1.runtime\".containerd]\nsnapshotter = \"overlayfs\" # sed\n";
    assert_eq!(added(base), TABLES);
    assert_eq!(added("version = 3\n"), TABLES);
    assert_eq!(added(""), TABLES);
    // A last line without an end, and Windows' line ends.
    assert_eq!(added("version = 3"), format!("\n{TABLES}"));
    assert_eq!(added(&base.replace('\n', "\r\n")), TABLES.replace('\n', "\r\n"));
    assert_eq!(added("version = 3\r\n# end"), format!("\r\n{}", TABLES.replace('\n', "\r\n")));
}

#[test]
fn a_table_stands_behind_its_kind() {
    let runtimes = "[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.runc] # c\n\
                    a = \"\"\"\n[x]\n\"\"\" # d\n";
    let rest = "# what comes next\n[plugins.other]\nb = 1\n";
    let spread = "  [plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.runc.options] # e\n";
    let result = |text: &str| insert(text, &PATH, "crun", &entry()).unwrap();
    assert_eq!(result(&format!("{runtimes}{rest}")), format!("{runtimes}{TABLES}{rest}"));
    assert_eq!(
        result(&format!("{runtimes}{rest}{spread}{rest2}", rest2 = "\n# end\n")),
        format!("{runtimes}{rest}{spread}{TABLES}\n# end\n")
    );
}

#[test]
fn dotted_keys_get_dotted_keys() {
    let base = "[plugins.\"io.containerd.cri.v1.runtime\".containerd]\n\
                runtimes.runc.runtime_type = \"r\" # r\nsnapshotter = \"overlayfs\"\n[other]\n";
    let lines = "runtimes.crun.runtime_type = \"io.containerd.runc.v2\"\n\
                 runtimes.crun.options.BinaryName = \"/usr/local/bin/crun\"\n";
    assert_eq!(added(base), lines);
    let at = insert(base, &PATH, "crun", &entry()).unwrap();
    assert!(at.contains(&format!("# r\n{lines}snapshotter")), "{at}");
    let base = "plugins.\"io.containerd.cri.v1.runtime\".containerd.snapshotter = \"overlayfs\"";
    let prefix = "plugins.\"io.containerd.cri.v1.runtime\".containerd.";
    assert_eq!(added(base), format!("\n{}", lines.replace("runtimes.", &format!("{prefix}runtimes."))));
}

#[test]
fn braces_get_more_in_them() {
    let table =
        "{ runtime_type = \"io.containerd.runc.v2\", options = { BinaryName = \"/usr/local/bin/crun\" } }";
    let plugin = "plugins.\"io.containerd.cri.v1.runtime\"";
    for (base, wanted) in [
        (format!("{plugin} = {{}}"), format!(" containerd = {{ runtimes = {{ crun = {table} }} }} ")),
        (
            format!("{plugin} = {{ containerd = {{ a = 1 }}, b = 2 }}\n"),
            format!(", runtimes = {{ crun = {table} }}"),
        ),
        (
            format!("{plugin} = {{ containerd.runtimes.runc = {{ a = 1 }} }}"),
            format!(", containerd.runtimes.crun = {table}"),
        ),
        (format!("[{plugin}.containerd]\nruntimes={{runc={{a=1}}}} # c"), format!(", crun = {table}")),
        (format!("[{plugin}]\ncontainerd = {{ runtimes = {{}}}}"), format!(" crun = {table} ")),
    ] {
        assert_eq!(added(&base), wanted, "{base}");
    }
}

#[test]
fn says_what_is_in_the_way() {
    let fault = |text: &str| insert(text, &PATH, "crun", &entry()).unwrap_err();
    assert_eq!(fault("plugins = 3"), Fault::NoTable(1));
    assert_eq!(fault("[[plugins]]"), Fault::NoTable(1));
    let plugin = "plugins.\"io.containerd.cri.v1.runtime\"";
    assert_eq!(fault(&format!("{plugin} = {{ containerd = 1 }}")), Fault::NoTable(3));
    assert_eq!(fault(&format!("{plugin}.containerd.runtimes = []")), Fault::NoTable(4));
    for taken in [
        "[A.containerd.runtimes.crun]",
        "A.containerd.runtimes.crun.a = 1",
        "A = {containerd.runtimes.crun = 1}",
    ] {
        assert_eq!(fault(&taken.replace('A', plugin)), Fault::Taken, "{taken}");
    }
}

/// How the tables of a text are written.
#[derive(Debug, Clone, Copy)]
enum Manner {
    Headers,
    /// Dotted keys from this many keys of the path on.
    Dotted(usize),
    Braces(usize),
}

fn manners() -> impl Strategy<Value = Manner> {
    prop_oneof![
        Just(Manner::Headers),
        (0..6usize).prop_map(Manner::Dotted),
        (0..6usize).prop_map(Manner::Braces)
    ]
}

fn key(keys: &[&str]) -> String {
    keys.iter()
        .map(|key| if key.contains('.') { format!("'{key}'") } else { (*key).to_owned() })
        .collect::<Vec<_>>()
        .join(".")
}

/// Writes runtimes below the path, some of their options elsewhere in the file.
fn write(manner: Manner, names: &[String], comments: &[String], spread: bool) -> String {
    let mut comments = comments.iter().cycle();
    let mut comment = || comments.next().map_or(String::new(), |text| format!("# {text}"));
    let mut text = format!("version = 3 {}\n{}\n", comment(), comment());
    let mut late = String::new();
    let line =
        |text: &mut String, line: String, comment: String| text.push_str(&format!("{line} {comment}\n"));
    match manner {
        Manner::Headers => {
            for name in names {
                let path = [&PATH[..], &[name]].concat();
                line(&mut text, format!("[{}]", key(&path)), comment());
                line(&mut text, "  runtime_type = \"\"\"\n[a]\n# b\"\"\"".to_owned(), comment());
                let to = if spread { &mut late } else { &mut text };
                line(to, format!("[{}]", key(&[&path[..], &["options"]].concat())), comment());
                line(to, "n = [\n1,\n2]".to_owned(), comment());
                line(&mut text, "[other]".replace("other", &format!("other.{name}")), comment());
            }
        }
        Manner::Dotted(from) => {
            let from = from.min(PATH.len());
            if from > 0 {
                line(&mut text, format!("[{}]", key(&PATH[..from])), comment());
            }
            for name in names {
                let path = [&PATH[from..], &[name, "kind"]].concat();
                line(&mut text, format!("{} = 1", key(&path)), comment());
                line(&mut text, format!("other-{name} = 1"), comment());
            }
        }
        Manner::Braces(from) => {
            let from = from.clamp(1, PATH.len());
            let all: Vec<_> = names.iter().map(|name| format!("{name} = {{ kind = {{}} }}")).collect();
            let mut value = format!("{{{}}}", all.join(","));
            for key in PATH[from..].iter().rev() {
                value = format!("{{ '{key}' = {value}, other = 1}}");
            }
            line(&mut text, format!("{} = {value}", key(&PATH[..from])), comment());
        }
    }
    line(&mut text, "[last]".to_owned(), comment());
    text + &late
}

proptest! {
    #[test]
    fn only_the_entry_is_new(
        manner in manners(),
        names in proptest::collection::btree_set("[a-z]{1,4}-?[a-z]?", 0..4),
        comments in proptest::collection::vec("[ -~é]{0,12}", 0..5),
        spread: bool,
        windows: bool,
        cut in 0..3usize,
    ) {
        let names: Vec<_> = names.into_iter().filter(|name| name != "crun").collect();
        let mut text = write(manner, &names, &comments, spread);
        text.truncate(text.trim_end_matches('\n').len() + cut.min(1));
        if windows {
            text = text.replace('\n', "\r\n");
        }
        // Twice: what is added is as good a place as any.
        let once = insert(&text, &PATH, "crun", &entry()).unwrap();
        let twice = insert(&once, &PATH, "other.one", &entry()).unwrap();
        prop_assert_eq!(insert(&twice, &PATH, "crun", &entry()), Err(Fault::Taken));
        // Every line of before is there, in order and whole.
        for (before, after) in [(&text, &once), (&once, &twice)] {
            let same = before.bytes().zip(after.bytes()).take_while(|(one, other)| one == other).count();
            let rest = before.bytes().rev().zip(after.bytes().rev()).take_while(|(one, other)| one == other).count();
            prop_assert!(same + rest >= before.len());
        }
        prop_assert_eq!(windows, twice.matches("\r\n").count() == twice.matches('\n').count());
    }
}

//! How long it takes to read a project before anything is done with it: twenty packages, twenty locks with roots of
//! 300 packages on each platform. `cargo bench --bench load`

use std::path::Path;
use std::time::{Duration, Instant};

use nodeimg::base::{Arch, Cancel, Sha256};
use nodeimg::fetch::debian::{PackagePin, SuitePin};
use nodeimg::fetch::{Pin, Request};
use nodeimg::lock::{self, Elsewhere, Resolver, Unanswered, Update};
use nodeimg::recipe::{self, Suite};

const PACKAGES: usize = 20;
const ROOT: usize = 300;
const RUNS: usize = 50;

/// Answers out of thin air.
struct Answers;

impl Resolver for Answers {
    fn source(&self, _: &Request) -> Result<Pin, Unanswered> {
        Ok(Pin::file(Sha256::of(b""), Some(0)))
    }

    fn base(&self, _: &nodeimg::fetch::oci::Reference) -> Result<lock::BasePin, Unanswered> {
        Ok(lock::BasePin { digest: Sha256::of(b""), platforms: Default::default() })
    }

    fn suite(&self, _: &Suite, _: &Path) -> Result<SuitePin, Unanswered> {
        Ok(SuitePin { pockets: Vec::new() })
    }

    fn root(
        &self,
        _: &Suite,
        _: &Path,
        _: &SuitePin,
        arch: Arch,
        wants: &[String],
    ) -> Result<Vec<PackagePin>, Unanswered> {
        let pin = |number: usize| PackagePin {
            archive: "debian".to_owned(),
            path: format!(
                "pool/main/libp/libpackage{number}/libpackage{number}_12.1.{number}-1+b2_{arch}.deb"
            ),
            size: 123_456,
            sha256: Sha256::of(format!("{number} {wants:?}").as_bytes()),
        };
        Ok((100..100 + ROOT).map(pin).collect())
    }
}

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    fs_err::create_dir_all(path.parent().expect("not the root")).expect("a temporary folder can be written");
    fs_err::write(path, text).expect("a temporary folder can be written");
}

fn measure(name: &str, goal: Duration, work: impl Fn()) {
    work();
    let mut times: Vec<_> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort();
    let (least, median) = (times[0], times[RUNS / 2]);
    println!("{name}: median {median:.2?}, least {least:.2?} (goal: under {goal:.0?})");
}

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path();
    write(
        path,
        "recipes/suites/bookworm.toml",
        "name = \"bookworm\"\nsnapshot = \"20261120T000000Z\"\ncomponents = [\"main\"]\nkeys = []\n\
         [[pockets]]\narchive = \"debian\"\nsuite = \"bookworm\"\n",
    );
    for number in 0..PACKAGES {
        let script = "./configure --prefix=/usr\nmake -j\"$JOBS\"\nmake install DESTDIR=\"$OUT\"\n".repeat(5);
        let text = format!(
            "name = \"p{number}\"\nversion = \"1.{number}\"\nlicense = \"MIT\"\n[source]\n\
             url = \"https://example.org/{{version}}/p-{{version}}.tar.gz\"\n[build]\nroot = \"bookworm\"\n\
             packages = [\"gcc\", \"make\", \"lib{number}-dev\"]\nscript = '''\n{script}'''\n"
        );
        write(path, &format!("recipes/packages/p{number}.toml"), &text);
    }
    let project = recipe::load(path).expect("the recipes are right");
    let all = project.lockable(&[]).expect("no name is no wrong name");
    lock::resolve(&project, &all, true, &Update::Nothing, &Answers, &Cancel::default())
        .and_then(|resolution| resolution.write(&project))
        .expect("answers come out of thin air");
    measure("recipe::load, 20 packages", Duration::from_millis(2), || {
        recipe::load(path).expect("the recipes are right");
    });
    measure("lock::load, 20 locks of 2 × 300 packages", Duration::from_millis(8), || {
        lock::load(&project, &all, &Elsewhere::new()).expect("the locks are right");
    });
}

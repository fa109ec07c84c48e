use miette::Diagnostic as _;
use proptest::prelude::*;

use super::archive::{Archive, xz};
use crate::base::{Arch, Sha256};
use crate::fetch::Error;
use crate::fetch::debian::index::Index;
use crate::fetch::debian::{Indices, PackagePin};

/// Resolves on amd64, and gives the packages' names and versions in one text.
fn resolve(packages: &[&str], wants: &[&str]) -> Result<String, String> {
    let archive = Archive::with(packages);
    archive.closure(Arch::Amd64, wants).map(|found| found.join(", ")).map_err(|error| error.to_string())
}

fn refused(packages: &[&str], wants: &[&str]) -> String {
    resolve(packages, wants).unwrap_err()
}

#[test]
fn essential_and_wanted_packages_come_with_what_they_need() {
    let packages = [
        "base 1\nEssential: yes\nPre-Depends: libc",
        "libc 2.36",
        "a 1\nDepends: b (>= 1),\n c\nRecommends: d\nSuggests: e",
        "b 1",
        "c 1\nDepends: a",
        "d 1",
    ];
    assert_eq!(resolve(&packages, &[]).unwrap(), "base 1, libc 2.36");
    assert_eq!(resolve(&packages, &["a", "a"]).unwrap(), "a 1, b 1, base 1, c 1, libc 2.36");
}

#[test]
fn the_first_alternative_is_taken_unless_another_is_there() {
    let packages = ["a 1\nDepends: x | y", "x 1", "y 1", "z 1\nDepends: y"];
    assert_eq!(resolve(&packages, &["a"]).unwrap(), "a 1, x 1");
    assert_eq!(resolve(&packages, &["a", "y"]).unwrap(), "a 1, y 1");
    assert_eq!(resolve(&packages, &["a", "z"]).unwrap(), "a 1, y 1, z 1");
    let broken = ["a 1\nDepends: gone | x (>> 1) | y", "x 1", "y 1"];
    assert_eq!(resolve(&broken, &["a"]).unwrap(), "a 1, y 1");
    let refusing = ["a 1\nDepends: x | y", "b 1\nConflicts: x", "x 1", "y 1"];
    assert_eq!(resolve(&refusing, &["a", "b"]).unwrap(), "a 1, b 1, y 1");
}

#[test]
fn what_says_that_a_root_is_merged_goes_before_what_merges_it() {
    let packages = [
        "a 1\nPre-Depends: usrmerge | usr-is-merged",
        "usrmerge 1\nDepends: perl",
        "perl 1",
        "usr-is-merged 1",
    ];
    assert_eq!(resolve(&packages, &["a"]).unwrap(), "a 1, usr-is-merged 1");
    assert_eq!(resolve(&packages, &["a", "usrmerge"]).unwrap(), "a 1, perl 1, usrmerge 1");
}

#[test]
fn a_real_package_goes_before_those_that_provide_its_name() {
    let packages = ["a 1\nDepends: mail", "aaa 1\nProvides: mail", "mail 1"];
    assert_eq!(resolve(&packages, &["a"]).unwrap(), "a 1, mail 1");
    let too_old =
        ["a 1\nDepends: mail (>= 2)", "aaa 1\nProvides: mail (= 3)", "bbb 1\nProvides: mail", "mail 1"];
    assert_eq!(resolve(&too_old, &["a"]).unwrap(), "a 1, aaa 1");
}

#[test]
fn of_providers_the_one_with_the_higher_priority_is_taken() {
    let packages =
        ["a 1\nDepends: awk", "gawk 1\nProvides: awk", "mawk 1\nProvides: awk\nPriority: required"];
    assert_eq!(resolve(&packages, &["a"]).unwrap(), "a 1, mawk 1");
    let same = ["a 1\nDepends: awk", "mawk 1\nProvides: awk", "gawk 1\nProvides: awk"];
    assert_eq!(resolve(&same, &["a"]).unwrap(), "a 1, gawk 1");
}

#[test]
fn a_package_may_refuse_what_it_provides() {
    let packages = [
        "a 1\nProvides: mta\nConflicts: mta\nReplaces: mta",
        "b 1\nProvides: mta\nConflicts: mta",
        "c 1\nBreaks: a (<< 1)",
    ];
    assert_eq!(resolve(&packages, &["a", "c"]).unwrap(), "a 1, c 1");
    assert_eq!(
        refused(&packages, &["a", "b"]),
        "the wanted packages don't go together on amd64\n  `a 1` does not go with `mta`, which `b 1` is"
    );
}

#[test]
fn qualifiers_hold() {
    let packages = [
        "a 1\nDepends: python3:any, make:native, b:amd64 | c, d:arm64 | e",
        "python3 1\nMulti-Arch: allowed",
        "make 1",
        "b 1",
        "c 1",
        "d 1",
        "e 1",
    ];
    let archive = Archive::with(&packages);
    let on = |arch| archive.closure(arch, &["a"]).unwrap().join(", ");
    assert_eq!(on(Arch::Amd64), "a 1, b 1, e 1, make 1, python3 1");
    assert_eq!(on(Arch::Arm64), "a 1, c 1, d 1, make 1, python3 1");
    let error = refused(&["a 1\nDepends: b:any", "b 1"], &["a"]);
    assert!(error.ends_with("\n  `a 1` needs `b:any`, but the suite has `b 1`"), "{error}");
}

#[test]
fn of_several_pockets_the_highest_version_is_taken() {
    let archive = Archive::with(&["a 1:1.0-1", "b 2\nDepends: a (>> 1:1.0)"]);
    archive.publish("debian", "security", super::archive::DATE, "", &["a 1:1.0-1+deb12u1", "b 1"]);
    let pin = archive.pin(&["stable", "security"]).unwrap();
    let resolve = |wants: &[&str]| {
        let wants: Vec<_> = wants.iter().map(|want| (*want).to_owned()).collect();
        let network = crate::fetch::Network::offline();
        let found = archive.context(&network, |context| {
            Indices::default().closure(&pin, super::archive::MOMENT, Arch::Arm64, &wants, context)
        });
        found.map(|pins| pins.iter().map(PackagePin::to_string).collect::<Vec<_>>().join("\n"))
    };
    let hash = |text: &str| Sha256::of(text.as_bytes());
    let (a, b) = (hash("a 1:1.0-1+deb12u1 arm64"), hash("b 2 arm64"));
    let found = resolve(&["b"]).unwrap();
    assert_eq!(
        found,
        format!(
            "debian:pool/a_1.0-1+deb12u1_arm64.deb 23 sha256:{a}\ndebian:pool/b_2_arm64.deb 9 sha256:{b}"
        )
    );
    assert!(resolve(&["b=1", "a=1:1.0-1"]).unwrap().contains("pool/a_1.0-1_arm64.deb"));
    assert_eq!(
        resolve(&["a=7"]).unwrap_err().to_string(),
        "package `a` has no version `7` on arm64\n  the suite has: 1:1.0-1, 1:1.0-1+deb12u1"
    );
}

#[test]
fn what_is_not_there_is_named() {
    let packages = ["containerd 1", "exim 1\nProvides: mta, only", "postfix 1\nProvides: mta"];
    assert_eq!(
        refused(&packages, &["contanerd"]),
        "the suite has no package `contanerd` on amd64, did you mean `containerd`?"
    );
    assert_eq!(refused(&packages, &["zzz"]), "the suite has no package `zzz` on amd64");
    assert_eq!(resolve(&packages, &["only"]).unwrap(), "exim 1");
    assert_eq!(
        refused(&packages, &["mta"]),
        "`mta` is no package of its own on amd64, several provide it\n  exim, postfix"
    );
}

#[test]
fn a_missing_need_is_explained_from_the_wanted_package_on() {
    let packages = ["a 1\nDepends: x, b (>= 1)", "b 2\nDepends: c (>= 2) | d | x (= 3)", "c 1", "x 1"];
    let archive = Archive::with(&packages);
    let error = archive.closure(Arch::Amd64, &["a"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the wanted packages don't go together on amd64\n  `a 1` needs `b (>= 1)`\n  \
         `b 2` needs `c (>= 2) | d | x (= 3)`, but the suite has `c 1` and `x 1`"
    );
    assert_eq!(
        error.help().unwrap().to_string(),
        "leave one out, ask for another version as `name=version`, or draw from another suite or moment"
    );
    assert_eq!(
        refused(&["a 1\nDepends: b, a2", "a2 1\nDepends: a, gone", "b 1"], &["a"]),
        "the wanted packages don't go together on amd64\n  `a 1` needs `a2`\n  \
         `a2 1` needs `gone`, which the suite does not have"
    );
}

#[test]
fn a_version_that_was_asked_for_stays() {
    let packages = ["a 1\nDepends: b (>= 2)", "b 1", "b 2"];
    assert_eq!(resolve(&packages, &["a"]).unwrap(), "a 1, b 2");
    assert_eq!(
        refused(&packages, &["a", "b=1"]),
        "the wanted packages don't go together on amd64\n  `a 1` needs `b (>= 2)`, but `b 1` was asked for"
    );
}

#[test]
fn a_refusal_is_explained_from_both_sides() {
    let packages = ["a 1\nDepends: b", "b 1\nDepends: c", "c 1\nBreaks: e (<< 2)", "d 1\nDepends: e", "e 1"];
    assert_eq!(
        refused(&packages, &["a", "d"]),
        "the wanted packages don't go together on amd64\n  `a 1` needs `b`\n  `b 1` needs `c`\n  `d 1` needs `e`\n  \
         `c 1` does not go with `e (<< 2)`, which `e 1` is"
    );
}

#[test]
fn packages_are_brought_and_checked() {
    let archive = Archive::with(&["a 1"]);
    let text = format!("debian:pool/a_1_amd64.deb 9 sha256:{}", Sha256::of(b"a 1 amd64"));
    let pin: PackagePin = text.parse().unwrap();
    assert_eq!(archive.store.read_blob(&archive.fetch(&pin).unwrap()).unwrap(), b"a 1 amd64");
    archive.write("debian/pool/a_1_amd64.deb", b"gone bad!");
    archive.fetch(&pin).unwrap();

    let gone: PackagePin = text.replace("a_1", "b_1").replace("9 sha", "8 sha").parse().unwrap();
    let error = archive.shown(&archive.fetch(&gone).unwrap_err());
    assert!(
        error.starts_with("no place has `b_1_amd64.deb`\n  file://debian/pool/b_1_amd64.deb: "),
        "{error}"
    );
    let bad: PackagePin = format!("debian:pool/a_1_amd64.deb 9 sha256:{}", Sha256::of(b"x")).parse().unwrap();
    assert!(
        archive.shown(&archive.fetch(&bad).unwrap_err()).starts_with("content of `file://debian/pool/a_1_")
    );
}

#[test]
fn indices_are_bounded_and_well_formed() {
    let read = |text: &str| Index::read(&xz(text), Arch::Amd64).map(|index| index.packages().count());
    let good = format!(
        "Package: a\nVersion: 1\nArchitecture: all\nFilename: f\nSize: 1\nSHA256: {}\n",
        Sha256::of(b"")
    );
    assert_eq!(read(""), Ok(0));
    assert_eq!(read(&good), Ok(1));
    assert_eq!(read(&format!("\n\n{good}\n\n\n{good}\n")), Ok(2));
    assert_eq!(read(&good.replace("all", "armhf")), Ok(0));
    assert_eq!(read(&good.replace("Size", "Sise")), Err("package `a` lacks `Size` or `SHA256`".to_owned()));
    assert_eq!(
        read(&good.replace("Filename", "File")),
        Err("package `a` lacks `Package`, `Version` or `Filename`".to_owned())
    );
    assert_eq!(read("no field\n"), Err("a line is no field".to_owned()));
    assert_eq!(read(&format!("Depends: {}\n", "a".repeat(1 << 20))), Err("it is too large".to_owned()));
    assert!(Index::read(b"neither xz nor gzip", Arch::Amd64).is_err());
    assert!(Index::read(&xz(&good)[..40], Arch::Amd64).is_err());
}

#[test]
fn a_path_that_leaves_the_archive_is_refused() {
    let archive = Archive::with(&["a/../../b 1"]);
    let error = archive.closure(Arch::Amd64, &["a/../../b"]).unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever the packages are: a root has all that is needed and nothing that is refused, and is the same again.
    #[test]
    fn a_root_fits_together(shape in proptest::collection::vec((0..8usize, 0..8usize, 0..8usize, 0..24usize), 8)) {
        let packages: Vec<_> = shape.iter().enumerate().map(|(at, (one, two, three, refused))| {
            let refuses = if *refused < 8 { format!("\nConflicts: p{refused}") } else { String::new() };
            format!("p{at} 1\nDepends: p{one} | p{two}, p{three}{refuses}")
        }).collect();
        let texts: Vec<_> = packages.iter().map(String::as_str).collect();
        let archive = Archive::with(&texts);
        let first = archive.closure(Arch::Amd64, &["p0"]);
        let again = archive.closure(Arch::Amd64, &["p0"]);
        match (first, again) {
            (Ok(found), Ok(again)) => {
                prop_assert_eq!(&found, &again);
                let has = |at: &usize| found.contains(&format!("p{at} 1"));
                prop_assert!(has(&0));
                for (at, (one, two, three, refused)) in shape.iter().enumerate().filter(|(at, _)| has(at)) {
                    prop_assert!(has(three) && (has(one) || has(two)));
                    prop_assert!(*refused == at || !has(refused));
                }
            }
            (Err(error), Err(again)) => prop_assert_eq!(error.to_string(), again.to_string()),
            _ => prop_assert!(false, "solved only sometimes"),
        }
    }
}

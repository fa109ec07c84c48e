//! Licences: what a recipe says, and what Debian's copyright files say
//! (<https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/>).

use std::collections::BTreeSet;

/// Under which terms something comes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Licence {
    /// An SPDX expression; none if not all of it is known by SPDX's names.
    pub expression: Option<String>,
    /// The licences by the names that its copyright file has, where those are all that is known.
    pub named: Vec<String>,
}

impl Licence {
    /// What a recipe says.
    pub fn expression(text: &str) -> Self {
        Self { expression: Some(text.to_owned()), named: Vec::new() }
    }
}

/// Debian's short names and those of SPDX. Others than these are left as they are: a name that looks alike is not
/// always the same licence.
const NAMES: [(&str, &str); 36] = [
    ("afl-2.1", "AFL-2.1"),
    ("agpl-3", "AGPL-3.0-only"),
    ("agpl-3+", "AGPL-3.0-or-later"),
    ("apache-2", "Apache-2.0"),
    ("apache-2.0", "Apache-2.0"),
    ("artistic", "Artistic-1.0-Perl"),
    ("artistic-2.0", "Artistic-2.0"),
    ("bsd-2-clause", "BSD-2-Clause"),
    ("bsd-3-clause", "BSD-3-Clause"),
    ("bsd-4-clause", "BSD-4-Clause"),
    ("cc0-1.0", "CC0-1.0"),
    ("curl", "curl"),
    ("expat", "MIT"),
    ("gfdl-1.3", "GFDL-1.3-only"),
    ("gfdl-1.3+", "GFDL-1.3-or-later"),
    ("gpl-1", "GPL-1.0-only"),
    ("gpl-1+", "GPL-1.0-or-later"),
    ("gpl-2", "GPL-2.0-only"),
    ("gpl-2.0", "GPL-2.0-only"),
    ("gpl-2.0+", "GPL-2.0-or-later"),
    ("gpl-2+", "GPL-2.0-or-later"),
    ("gpl-3", "GPL-3.0-only"),
    ("gpl-3.0", "GPL-3.0-only"),
    ("gpl-3.0+", "GPL-3.0-or-later"),
    ("gpl-3+", "GPL-3.0-or-later"),
    ("isc", "ISC"),
    ("lgpl-2", "LGPL-2.0-only"),
    ("lgpl-2+", "LGPL-2.0-or-later"),
    ("lgpl-2.0+", "LGPL-2.0-or-later"),
    ("lgpl-2.1", "LGPL-2.1-only"),
    ("lgpl-2.1+", "LGPL-2.1-or-later"),
    ("lgpl-3", "LGPL-3.0-only"),
    ("lgpl-3+", "LGPL-3.0-or-later"),
    ("lgpl-3.0+", "LGPL-3.0-or-later"),
    ("mpl-2.0", "MPL-2.0"),
    ("zlib", "Zlib"),
];

/// Reads a copyright file in Debian's machine-readable form; of any other nothing is known.
pub fn of_copyright(text: &str) -> Licence {
    if !text
        .trim_start()
        .lines()
        .next()
        .is_some_and(|line| line.to_lowercase().contains("copyright-format/1.0"))
    {
        return Licence::default();
    }
    let mut named = BTreeSet::new();
    for paragraph in text.split("\n\n") {
        // Paragraphs without `Files` only hold texts.
        if paragraph.lines().any(|line| line.starts_with("Files:")) {
            let line = paragraph.lines().find_map(|line| line.strip_prefix("License:"));
            named.extend(line.map(|line| line.trim().to_owned()).filter(|name| !name.is_empty()));
        }
    }
    let expressions: Option<BTreeSet<String>> = named.iter().map(|name| expression(name)).collect();
    match expressions {
        Some(all) if !all.is_empty() => {
            let bracketed = |one: &String| match one.contains(" OR ") && all.len() > 1 {
                true => format!("({one})"),
                false => one.clone(),
            };
            let parts: Vec<_> = all.iter().map(bracketed).collect();
            Licence { expression: Some(parts.join(" AND ")), named: Vec::new() }
        }
        _ => Licence { expression: None, named: named.into_iter().collect() },
    }
}

/// Puts one paragraph's licence into SPDX's words: `GPL-2+ or Expat`, `GPL-2+ and LGPL-2.1+`.
fn expression(text: &str) -> Option<String> {
    let text = text.to_lowercase();
    // A comma binds looser than both words; what needs brackets is left alone.
    if text.contains(',') || text.contains(" or ") && text.contains(" and ") {
        return None;
    }
    let word = if text.contains(" or ") { " or " } else { " and " };
    let one = |name: &str| {
        let name = name.trim();
        NAMES.iter().find(|(debian, _)| *debian == name).map(|(_, spdx)| *spdx)
    };
    let parts: Option<Vec<_>> = text.split(word).map(one).collect();
    Some(parts?.join(&word.to_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(licences: &[&str]) -> Licence {
        let head = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: x\n\n";
        let paragraph =
            |licence: &&str| format!("Files: *\nCopyright: someone\nLicense: {licence}\n text\n\n");
        of_copyright(&(head.to_owned() + &licences.iter().map(paragraph).collect::<String>()))
    }

    #[test]
    fn debians_names_become_those_of_spdx() {
        assert_eq!(read(&["Expat"]), Licence::expression("MIT"));
        assert_eq!(read(&["GPL-2+", "Expat", "GPL-2+"]), Licence::expression("GPL-2.0-or-later AND MIT"));
        assert_eq!(read(&["GPL-2+ or Expat"]), Licence::expression("GPL-2.0-or-later OR MIT"));
        assert_eq!(
            read(&["ISC", "GPL-2+ or Expat"]),
            Licence::expression("(GPL-2.0-or-later OR MIT) AND ISC")
        );
    }

    #[test]
    fn what_spdx_has_no_name_for_keeps_its_own() {
        let named = |names: &[&str]| Licence {
            expression: None,
            named: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        assert_eq!(read(&["public-domain", "Expat"]), named(&["Expat", "public-domain"]));
        assert_eq!(read(&["GPL-2+ and (Expat or ISC)"]), named(&["GPL-2+ and (Expat or ISC)"]));
        assert_eq!(of_copyright("This package is free software."), Licence::default());
        assert_eq!(of_copyright(""), Licence::default());
    }
}

//! Relations between packages (Debian policy, chapter 7).

use std::cmp::Ordering;

use debversion::Version;

/// Which versions a relation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Earlier,
    EarlierOrEqual,
    Equal,
    LaterOrEqual,
    Later,
}

impl Operator {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Operator::Earlier => ordering.is_lt(),
            Operator::EarlierOrEqual => ordering.is_le(),
            Operator::Equal => ordering.is_eq(),
            Operator::LaterOrEqual => ordering.is_ge(),
            Operator::Later => ordering.is_gt(),
        }
    }
}

/// `name:qualifier (op version)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Relation<'a> {
    pub(super) name: &'a str,
    pub(super) qualifier: Option<&'a str>,
    pub(super) version: Option<(Operator, &'a str)>,
}

impl<'a> Relation<'a> {
    /// Parses one relation.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (target, version) = match text.split_once('(') {
            Some((target, version)) => {
                (target, Some(version.trim_ascii_end().strip_suffix(')')?.trim_ascii()))
            }
            None => (text, None),
        };
        let target = target.trim_ascii();
        let (name, qualifier) = match target.split_once(':') {
            Some((name, qualifier)) => (name, Some(qualifier)),
            None => (target, None),
        };
        let named = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte);
        if name.is_empty() || !name.bytes().all(named) {
            return None;
        }
        let version = match version {
            Some(version) => {
                let end = version.find(|char| !"<>=".contains(char))?;
                let operator = match &version[..end] {
                    "<<" => Operator::Earlier,
                    // `<` and `>` are old and mean the same as these.
                    "<=" | "<" => Operator::EarlierOrEqual,
                    "=" => Operator::Equal,
                    ">=" | ">" => Operator::LaterOrEqual,
                    ">>" => Operator::Later,
                    _ => return None,
                };
                Some((operator, version[end..].trim_ascii()))
            }
            None => None,
        };
        Some(Self { name, qualifier, version })
    }

    /// Tells whether a version is one that the relation is about. What is no version fits nothing.
    pub(super) fn fits(&self, version: &str) -> bool {
        let Some((operator, wanted)) = self.version else { return true };
        compare(version, wanted).is_some_and(|ordering| operator.holds(ordering))
    }
}

/// Splits a field at its commas.
pub(super) fn groups(field: &str) -> impl Iterator<Item = &str> {
    field.split(',').map(str::trim_ascii).filter(|group| !group.is_empty())
}

/// Splits a group at its bars. None where one of its relations can't be read.
pub(super) fn alternatives(group: &str) -> Option<Vec<Relation<'_>>> {
    group.split('|').map(Relation::parse).collect()
}

/// Orders two versions, if they are versions.
pub(super) fn compare(one: &str, other: &str) -> Option<Ordering> {
    if one == other {
        return Some(Ordering::Equal);
    }
    Some(one.parse::<Version>().ok()?.cmp(&other.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_every_form() {
        let relation = |name, qualifier, version| Some(Relation { name, qualifier, version });
        assert_eq!(Relation::parse("a"), relation("a", None, None));
        assert_eq!(Relation::parse(" libstdc++6 "), relation("libstdc++6", None, None));
        assert_eq!(Relation::parse("python3:any"), relation("python3", Some("any"), None));
        let version = Some((Operator::LaterOrEqual, "1:2.3-4~x"));
        assert_eq!(Relation::parse("a (>= 1:2.3-4~x)"), relation("a", None, version));
        assert_eq!(Relation::parse("a:any(>=1:2.3-4~x)"), relation("a", Some("any"), version));
        assert_eq!(Relation::parse("a (< 1)").unwrap().version, Some((Operator::EarlierOrEqual, "1")));
        for wrong in ["", "a b", "a (1)", "a (>= 1", "a (=> 1)", "a ()", "a [amd64]", "ä"] {
            assert_eq!(Relation::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn fields_split_at_commas_and_bars() {
        assert_eq!(groups(" a, b | c,, d").collect::<Vec<_>>(), ["a", "b | c", "d"]);
        let names: Vec<_> = alternatives("b | c (= 1)").unwrap().iter().map(|one| one.name).collect();
        assert_eq!(names, ["b", "c"]);
        assert_eq!(alternatives("b | "), None);
    }

    #[test]
    fn versions_order_as_dpkg_orders_them() {
        let sorted =
            ["0~~", "0~", "0", "1.2~rc1-1", "1.2-1", "1.2-1+b1", "1.2-1.1", "1.10-1", "1.10+dfsg-1", "1:0.1"];
        for (at, one) in sorted.iter().enumerate() {
            for (later, other) in sorted.iter().enumerate() {
                assert_eq!(compare(one, other), Some(at.cmp(&later)), "{one} {other}");
            }
        }
        assert_eq!(compare("1", "not a version"), None);
    }

    proptest! {
        #[test]
        fn operators_are_of_one_order(one in "[0-9]{1,2}(\\.[0-9]{1,2})?(~rc[0-9])?(-[0-9])?", other in "[0-9]{1,2}(\\.[0-9]{1,2})?(~rc[0-9])?(-[0-9])?") {
            let fits = |operator: &str| {
                let text = format!("a ({operator} {other})");
                Relation::parse(&text).unwrap().fits(&one)
            };
            prop_assert_eq!(fits("<="), fits("<<") || fits("="));
            prop_assert_eq!(fits(">="), fits(">>") || fits("="));
            prop_assert_eq!([fits("<<"), fits("="), fits(">>")].iter().filter(|yes| **yes).count(), 1);
            let back = Relation { name: "a", qualifier: None, version: Some((Operator::Earlier, &one)) };
            prop_assert_eq!(fits(">>"), back.fits(&other));
        }

        #[test]
        fn anything_is_read_or_refused(text in "\\PC{0,40}") {
            let _ = Relation::parse(&text);
            let _ = alternatives(&text);
        }
    }
}

//! The control file of a package, and what it says about other packages (Debian policy 5 and 7).

use std::cmp::Ordering;

use debversion::Version;

/// One paragraph of fields, in the order in which they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Paragraph(Vec<(String, String)>);

impl Paragraph {
    /// Reads a text of one paragraph. Lines are kept as they are, like dpkg does, space at their ends included.
    pub(super) fn parse(text: &str) -> Result<Paragraph, String> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in text.trim_end().lines() {
            if line.trim().is_empty() {
                return Err("has an empty line in its control file".to_owned());
            }
            if line.starts_with([' ', '\t']) {
                let Some((_, value)) = fields.last_mut() else {
                    return Err(format!("has a control file that begins with `{line}`"));
                };
                value.push('\n');
                value.push_str(line);
                continue;
            }
            let name = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
            let Some((field, value)) = line.split_once(':').filter(|(field, _)| name(field)) else {
                return Err(format!("has the line `{line}` in its control file, which is no field"));
            };
            if fields.iter().any(|(known, _)| known.eq_ignore_ascii_case(field)) {
                return Err(format!("has `{field}` twice in its control file"));
            }
            fields.push((field.to_owned(), value.trim_start().to_owned()));
        }
        Ok(Paragraph(fields))
    }

    pub(super) fn get(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(field)).map(|(_, value)| value.as_str())
    }

    /// Puts a field behind another, or at the end.
    pub(super) fn put_after(&mut self, other: &str, field: &str, value: String) {
        self.0.retain(|(known, _)| !known.eq_ignore_ascii_case(field));
        let place = self.0.iter().position(|(known, _)| known.eq_ignore_ascii_case(other));
        self.0.insert(place.map_or(self.0.len(), |place| place + 1), (field.to_owned(), value));
    }

    /// Gives the text again, as dpkg writes it.
    pub(super) fn text(&self) -> String {
        let line = |(field, value): &(String, String)| match value.starts_with('\n') || value.is_empty() {
            true => format!("{field}:{value}\n"),
            false => format!("{field}: {value}\n"),
        };
        self.0.iter().map(line).collect()
    }
}

/// One package named in `Replaces` or `Provides`, perhaps with a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    name: String,
    version: Option<(String, Version)>,
}

impl Relation {
    /// Reads a field's value: relations with commas between them.
    pub(super) fn list(text: &str) -> Result<Vec<Relation>, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| Self::one(part).ok_or_else(|| format!("has the relation `{part}`"))).collect()
    }

    fn one(text: &str) -> Option<Relation> {
        let Some((name, version)) = text.split_once('(') else {
            return Some(Relation { name: without_arch(text), version: None });
        };
        let version = version.strip_suffix(')')?.trim();
        let split = version.find(|c| !matches!(c, '<' | '=' | '>'))?;
        let (operator, version) = version.split_at(split);
        if !matches!(operator, "<<" | "<=" | "=" | ">=" | ">>" | "<" | ">") {
            return None;
        }
        let version = version.trim().parse().ok()?;
        Some(Relation { name: without_arch(name), version: Some((operator.to_owned(), version)) })
    }

    /// Tells whether a package of this name and version is meant.
    pub(super) fn is_met(&self, name: &str, version: &Version) -> bool {
        let fits = |(operator, wanted): &(String, Version)| {
            let order = version.cmp(wanted);
            match operator.as_str() {
                "<<" => order == Ordering::Less,
                ">>" => order == Ordering::Greater,
                "=" => order == Ordering::Equal,
                // The old `<` and `>` mean the same (policy 7.1).
                "<=" | "<" => order != Ordering::Greater,
                _ => order != Ordering::Less,
            }
        };
        self.name == name && self.version.as_ref().is_none_or(fits)
    }

    /// Tells whether another package's `Provides` is meant. One without a version is no answer to a wish for one.
    pub(super) fn is_provided_by(&self, provided: &Relation) -> bool {
        match &provided.version {
            Some((_, version)) => self.is_met(&provided.name, version),
            None => self.version.is_none() && self.name == provided.name,
        }
    }
}

fn without_arch(name: &str) -> String {
    name.split(':').next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_keeps_its_text() {
        let text = "Package: a\nDescription: short\n long\n .\n more\nConffiles:\n /etc/a x\n";
        let mut paragraph = Paragraph::parse(text).unwrap();
        assert_eq!(paragraph.text(), text);
        assert_eq!(paragraph.get("package"), Some("a"));
        paragraph.put_after("Package", "Status", "install ok unpacked".to_owned());
        assert!(paragraph.text().starts_with("Package: a\nStatus: install ok unpacked\nDescription"));
    }

    #[test]
    fn what_is_no_paragraph_is_refused() {
        for (text, why) in [
            (" x", "has a control file that begins with ` x`"),
            ("a: 1\n\nb: 2\n", "has an empty line in its control file"),
            ("a: 1\nA: 2\n", "has `A` twice in its control file"),
            ("nothing\n", "has the line `nothing` in its control file, which is no field"),
        ] {
            assert_eq!(Paragraph::parse(text).unwrap_err(), why);
        }
    }

    #[test]
    fn relations_hold_to_versions() {
        let relations = Relation::list("a, b:any (<< 2~), c (>= 1:1-1)").unwrap();
        let met = |name: &str, version: &str| {
            let version = version.parse().unwrap();
            relations.iter().any(|relation| relation.is_met(name, &version))
        };
        assert!(met("a", "9") && met("b", "1.9") && met("c", "1:1-1"));
        assert!(!met("b", "2") && !met("c", "5") && !met("d", "1"));
        assert_eq!(Relation::list("a (1)").unwrap_err(), "has the relation `a (1)`");
    }
}

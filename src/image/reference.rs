//! What an image is called: `repository:tag`.

use super::Error;

/// A name and a tag, complete: `docker.io/kindest/node:v1.32.2` for `kindest/node:v1.32.2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    full: String,
    tag: usize,
}

impl Reference {
    /// Checks a name by the rules that registries and engines share, and completes it as Docker does.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |why| Error::Reference { reference: text.to_owned(), why };
        let (repository, tag) = text
            .rsplit_once(':')
            .filter(|(_, tag)| !tag.contains('/'))
            .ok_or_else(|| wrong("it has no tag"))?;
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !tag.starts_with(word) || tag.len() > 128 || !tag.chars().all(|c| word(c) || c == '.' || c == '-')
        {
            return Err(wrong(
                "a tag is at most 128 letters, digits, `_`, `.` and `-`, and begins with none of the last two",
            ));
        }
        let (host, path) = match repository.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
            _ => ("docker.io", repository),
        };
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let part = |part: &str| {
            part.starts_with(plain)
                && part.ends_with(plain)
                && part.chars().all(|c| plain(c) || matches!(c, '.' | '_' | '-'))
        };
        if !path.split('/').all(part) {
            return Err(wrong(
                "the parts of a repository are lower-case letters and digits, with `.`, `_` and `-` between them",
            ));
        }
        if !host.starts_with(|c: char| c.is_ascii_alphanumeric())
            || !host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':'))
        {
            return Err(wrong("its registry is no host name"));
        }
        let library = if host == "docker.io" && !path.contains('/') { "library/" } else { "" };
        let full = format!("{host}/{library}{path}:{tag}");
        if full.len() > 255 {
            return Err(wrong("it is longer than 255 bytes"));
        }
        Ok(Self { tag: full.len() - tag.len(), full })
    }

    /// Gives the complete name.
    pub(super) fn full(&self) -> &str {
        &self.full
    }

    /// Gives the tag alone.
    pub(super) fn tag(&self) -> &str {
        &self.full[self.tag..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed() {
        for (text, full, tag) in [
            ("busybox:1.36", "docker.io/library/busybox:1.36", "1.36"),
            ("kindest/node:v1.32.2", "docker.io/kindest/node:v1.32.2", "v1.32.2"),
            ("k8s.gcr.io/pause:3.2", "k8s.gcr.io/pause:3.2", "3.2"),
            ("localhost:5000/a/b__c:_x", "localhost:5000/a/b__c:_x", "_x"),
            ("localhost/a:b", "localhost/a:b", "b"),
            ("docker.io/a:b", "docker.io/library/a:b", "b"),
        ] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!((reference.full(), reference.tag()), (full, tag));
        }
    }

    #[test]
    fn wrong_names_say_why() {
        let long = format!("a:{}", "x".repeat(129));
        let longer = format!("{}:x", "x".repeat(250));
        for (text, why) in [
            ("busybox", "it has no tag"),
            ("localhost:5000/busybox", "it has no tag"),
            (
                "busybox:",
                "a tag is at most 128 letters, digits, `_`, `.` and `-`, and begins with none of the last two",
            ),
            (
                "busybox:-1",
                "a tag is at most 128 letters, digits, `_`, `.` and `-`, and begins with none of the last two",
            ),
            (
                long.as_str(),
                "a tag is at most 128 letters, digits, `_`, `.` and `-`, and begins with none of the last two",
            ),
            (
                "Busybox:1",
                "the parts of a repository are lower-case letters and digits, with `.`, `_` and `-` between them",
            ),
            (
                "a//b:1",
                "the parts of a repository are lower-case letters and digits, with `.`, `_` and `-` between them",
            ),
            ("../b:1", "its registry is no host name"),
            ("a@b.c/x:1", "its registry is no host name"),
            (longer.as_str(), "it is longer than 255 bytes"),
        ] {
            let error = Reference::parse(text).unwrap_err();
            assert_eq!(error.to_string(), format!("`{text}` is no image name: {why}"));
        }
    }
}

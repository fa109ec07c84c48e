//! `.gitmodules`, and where it may point.

use std::collections::BTreeMap;

/// The submodules that a repository names: paths and URLs, as written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Modules(BTreeMap<String, String>);

impl Modules {
    /// Reads `.gitmodules`, a file in git's configuration format (git-config(1), Syntax). Only `path` and
    /// `url` of `submodule` sections are looked at; nothing is ever included.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut sections: BTreeMap<String, (Option<String>, Option<String>)> = BTreeMap::new();
        let mut section = None;
        let mut rest = text;
        let mut number = 0;
        while !rest.is_empty() {
            number += 1;
            let (mut line, after) = rest.split_once('\n').unwrap_or((rest, ""));
            rest = after;
            line = line.trim();
            if let Some(head) = line.strip_prefix('[') {
                let end = head.rfind(']').ok_or_else(|| format!("line {number} has no `]`"))?;
                section = head[..end].strip_prefix("submodule").map(|name| name.trim().to_owned());
                line = head[end + 1..].trim();
            }
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            let value = unquoted(value.trim()).ok_or_else(|| format!("line {number} can't be read"))?;
            let Some(section) = &section else { continue };
            let entry = sections.entry(section.clone()).or_default();
            match key.trim().to_ascii_lowercase().as_str() {
                "path" => entry.0 = Some(value),
                "url" => entry.1 = Some(value),
                _ => {}
            }
        }
        let whole = sections.into_values().filter_map(|(path, url)| Some((path?, url?)));
        Ok(Self(whole.collect()))
    }

    /// The URL of the submodule at a path, as written.
    pub(super) fn url(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }
}

/// Takes quotes, escapes and comments out of a value. Nothing: it ends in the middle.
fn unquoted(value: &str) -> Option<String> {
    let mut out = String::new();
    let mut quoted = false;
    let mut end = 0;
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => quoted = !quoted,
            '\\' => match characters.next()? {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                plain @ ('"' | '\\') => out.push(plain),
                _ => return None,
            },
            '#' | ';' if !quoted => break,
            other => out.push(other),
        }
        // Blanks before a comment are no part of the value, unless quoted.
        if quoted || !character.is_whitespace() {
            end = out.len();
        }
    }
    out.truncate(end);
    (!quoted).then_some(out)
}

/// Says why a repository can't be had from a URL.
pub(super) fn refused(url: &str) -> Option<&'static str> {
    let Some((scheme, rest)) = url.split_once("://") else {
        let ssh = url.split('/').next().is_some_and(|first| first.contains(':'));
        let relative = "is no URL: write `https://…`, or `file:///…` for a repository of this machine";
        return Some(if ssh { SSH } else { relative });
    };
    match scheme {
        "https" | "http" | "file" if rest.contains(['?', '#']) => Some("has a query, which git can't ask"),
        "https" | "http" | "file" => None,
        "ssh" | "git+ssh" | "ssh+git" => Some(SSH),
        "git" => Some("speaks git's own protocol, which nothing protects: write `https://…`"),
        _ => Some("is none of `https://`, `http://` and `file://`"),
    }
}

const SSH: &str = "wants ssh, which nodeimg does not speak: write `https://…`";

/// Resolves a submodule's URL against its parent's, both as upstream has them.
pub(super) fn resolve(parent: &str, url: &str) -> Result<String, String> {
    if !url.starts_with("./") && !url.starts_with("../") {
        let why = match refused(url) {
            Some(why) => why,
            None if url.starts_with("file:") => "is on this machine, which a repository has no say in",
            None if url.starts_with("http:") && parent.starts_with("https:") => {
                "gives up the protection that its parent has: its URL is `http://…`"
            }
            None => return Ok(url.to_owned()),
        };
        return Err(why.to_owned());
    }
    let (scheme, mut base) = parent.split_once("://").ok_or("has a parent without a URL")?;
    base = base.trim_end_matches('/');
    let mut rest = url;
    loop {
        if let Some(after) = rest.strip_prefix("./") {
            rest = after;
        } else if let Some(after) = rest.strip_prefix("../") {
            let cut = base.rfind('/').ok_or("leads out of its parent's host")?;
            (base, rest) = (&base[..cut], after);
        } else {
            break;
        }
    }
    let plain =
        rest.split('/').all(|part| !matches!(part, "" | "." | "..")) && !rest.contains(['?', '#', '\\', '%']);
    if !plain {
        return Err("has a URL that nobody would write".to_owned());
    }
    Ok(format!("{scheme}://{base}/{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_git_writes() {
        let text = "# top\n[submodule \"a b\"]\n\tpath = lib/a\n\turl = https://h.example/a.git ; comment\n\
                    [core] x = y\n[include]\n\tpath = /etc/passwd\n[submodule \"c\"] path = \"c # d\"\n\
                    URL = \"../c\\\"\"\n\tshallow\n[submodule \"no-url\"]\n\tpath = e\n";
        let modules = Modules::parse(text).unwrap();
        assert_eq!(modules.url("lib/a"), Some("https://h.example/a.git"));
        assert_eq!(modules.url("c # d"), Some("../c\""));
        assert_eq!((modules.url("e"), modules.url("/etc/passwd")), (None, None));
        assert_eq!(modules.0.len(), 2);
        assert_eq!(Modules::parse("[submodule \"a\"\n").unwrap_err(), "line 1 has no `]`");
        for text in ["[submodule \"a\"]\nurl = \"x", "[submodule \"a\"]\nurl = x\\"] {
            assert_eq!(Modules::parse(text).unwrap_err(), "line 2 can't be read");
        }
    }

    #[test]
    fn relative_urls_start_at_the_parents() {
        for (parent, url, want) in [
            ("https://h.example/a/b.git", "../c.git", "https://h.example/a/c.git"),
            ("https://h.example/a/b.git/", "../../c/d", "https://h.example/c/d"),
            ("https://h.example/a", "./c", "https://h.example/a/c"),
            ("http://h.example/a", "https://o.example/c", "https://o.example/c"),
            ("file:///srv/git/a", "../c", "file:///srv/git/c"),
        ] {
            assert_eq!(resolve(parent, url).as_deref(), Ok(want));
        }
    }

    #[test]
    fn no_url_leads_astray() {
        let parent = "https://h.example/a/b.git";
        for (url, why) in [
            ("../../../c", "leads out of its parent's host"),
            ("../x/../c", "has a URL that nobody would write"),
            ("../c?d", "has a URL that nobody would write"),
            ("../%2e%2e/c", "has a URL that nobody would write"),
            ("file:///etc", "is on this machine, which a repository has no say in"),
            ("http://h.example/c", "gives up the protection that its parent has: its URL is `http://…`"),
            ("/etc", "is no URL: write `https://…`, or `file:///…` for a repository of this machine"),
            ("git@h.example:c", SSH),
            ("ssh://git@h.example/c", SSH),
            ("git://h.example/c", "speaks git's own protocol, which nothing protects: write `https://…`"),
            ("ext::sh -c x", SSH),
            ("-u/x", "is no URL: write `https://…`, or `file:///…` for a repository of this machine"),
        ] {
            assert_eq!(resolve(parent, url), Err(why.to_owned()), "{url}");
        }
    }
}

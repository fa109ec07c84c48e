//! How a server asks who is there: the `WWW-Authenticate` header (RFC 9110, 11.6.1).

use std::collections::BTreeMap;

/// One way to say who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    /// In lower case: `bearer`.
    pub scheme: String,
    /// By lower-case name.
    pub parameters: BTreeMap<String, String>,
}

/// Reads one header, which may hold several challenges. What is malformed ends the list.
pub(super) fn parse(header: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = header.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let Some((word, after)) = token(rest) else { break };
        let value = after.trim_start_matches([' ', '\t']).strip_prefix('=');
        rest = match (value, found.last_mut()) {
            // `token68`, which neither scheme has, ends in `=` and has no value.
            (Some(value), Some(challenge)) => {
                let value = value.trim_start_matches([' ', '\t']);
                let Some((value, after)) = quoted(value).or_else(|| {
                    let (word, after) = token(value)?;
                    Some((word.to_owned(), after))
                }) else {
                    break;
                };
                challenge.parameters.insert(word.to_ascii_lowercase(), value);
                after
            }
            (Some(_), None) => break,
            (None, _) => {
                found.push(Challenge { scheme: word.to_ascii_lowercase(), parameters: BTreeMap::new() });
                after
            }
        };
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    found
}

fn token(text: &str) -> Option<(&str, &str)> {
    let inside = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/:".contains(c);
    let end = text.find(|c| !inside(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn quoted(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut characters = inner.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((value, &inner[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(header: &str) -> Vec<String> {
        let said = |challenge: Challenge| {
            let parameters: String =
                challenge.parameters.iter().map(|(name, value)| format!(" {name}=<{value}>")).collect();
            format!("{}{parameters}", challenge.scheme)
        };
        parse(header).into_iter().map(said).collect()
    }

    #[test]
    fn reads_what_registries_say() {
        assert_eq!(
            said(
                "Bearer realm=\"https://a.example/token\",service=\"r.example\",scope=\"repository:a/b:pull,push\""
            ),
            ["bearer realm=<https://a.example/token> scope=<repository:a/b:pull,push> service=<r.example>"]
        );
        assert_eq!(
            said(", Basic realm = \"a \\\"b\\\", c\", charset=UTF-8, BEARER realm=x"),
            ["basic charset=<UTF-8> realm=<a \"b\", c>", "bearer realm=<x>"]
        );
        assert_eq!(said("Negotiate, Basic realm=x"), ["negotiate", "basic realm=<x>"]);
    }

    #[test]
    fn nonsense_ends_it() {
        for header in ["", ",", "=", "a=b", "\"", "\u{e9}"] {
            assert!(parse(header).is_empty(), "{header}");
        }
        assert_eq!(said("Bearer realm=\"x"), ["bearer"]);
        assert_eq!(said("Bearer realm=\"x\\"), ["bearer"]);
        assert_eq!(said("Bearer realm="), ["bearer"]);
    }
}

//! `{name}` in strings: replaced by a value, and nothing more powerful.
//!
//! A brace that does not enclose a name (letters, digits, `.`, `_`, `-`) is an ordinary character, so JSON and shell
//! text stay as they are. Scripts are never substituted; they have environment variables.

/// Replaces each `{name}` by what `value` gives for it. Errs with the first name that it gives nothing for.
pub fn substitute(text: &str, value: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        rest = &rest[open..];
        let Some(name) = name(rest) else {
            out.push('{');
            rest = &rest[1..];
            continue;
        };
        out.push_str(&value(name).ok_or_else(|| name.to_owned())?);
        rest = &rest[name.len() + 2..];
    }
    out.push_str(rest);
    Ok(out)
}

/// Reads the name of a substitution that `text` starts with.
fn name(text: &str) -> Option<&str> {
    let inside = &text[1..text.find('}')?];
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+');
    (!inside.is_empty() && inside.bytes().all(plain)).then_some(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(name: &str) -> Option<String> {
        match name {
            "version" => Some("1.21".to_owned()),
            "arch" => Some("amd64".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn names_are_replaced_and_nothing_else() {
        for (text, result) in [
            ("crun-{version}.tar.gz", "crun-1.21.tar.gz"),
            ("{version}{arch}", "1.21amd64"),
            ("no names", "no names"),
            ("{\"a\": {version}}", "{\"a\": 1.21}"),
            ("${x y} {} {", "${x y} {} {"),
            ("ünï {arch} {", "ünï amd64 {"),
        ] {
            assert_eq!(substitute(text, &vars).as_deref(), Ok(result));
        }
        assert_eq!(substitute("a {verison} b", &vars), Err("verison".to_owned()));
    }
}

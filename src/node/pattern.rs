//! Patterns as Go's `path.Match` reads them: containerd's for pod annotations and for imported files.

/// Tells whether a pattern matches the whole of a text; nothing if it is none, which matches nothing.
///
/// `*` is any run of characters but `/`, `?` one of them, `[a-z]` and `[^a-z]` one of a set, `\` takes the next
/// character as it is.
pub fn matches(pattern: &str, text: &str) -> Option<bool> {
    let pattern = parse(pattern)?;
    let text: Vec<char> = text.chars().collect();
    // Which places of the text the pattern so far can end at.
    let mut ends = vec![false; text.len() + 1];
    ends[0] = true;
    for piece in &pattern {
        let mut next = vec![false; text.len() + 1];
        for (at, _) in ends.iter().enumerate().filter(|(_, reached)| **reached) {
            match piece {
                Piece::Run => {
                    let run = text[at..].iter().take_while(|c| **c != '/').count();
                    next[at..=at + run].fill(true);
                }
                Piece::One(one) => {
                    if text.get(at).is_some_and(|c| one.has(*c)) {
                        next[at + 1] = true;
                    }
                }
            }
        }
        ends = next;
    }
    Some(ends[text.len()])
}

enum Piece {
    Run,
    One(One),
}

enum One {
    Any,
    Char(char),
    Set { negated: bool, ranges: Vec<(char, char)> },
}

impl One {
    fn has(&self, c: char) -> bool {
        match self {
            One::Any => c != '/',
            One::Char(own) => *own == c,
            One::Set { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

fn parse(pattern: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        pieces.push(match c {
            '*' => Piece::Run,
            '?' => Piece::One(One::Any),
            '\\' => Piece::One(One::Char(chars.next()?)),
            '[' => {
                let negated = chars.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                loop {
                    if chars.peek() == Some(&']') && !ranges.is_empty() {
                        chars.next();
                        break;
                    }
                    let low = member(&mut chars)?;
                    let high = if chars.next_if_eq(&'-').is_some() { member(&mut chars)? } else { low };
                    ranges.push((low, high));
                }
                Piece::One(One::Set { negated, ranges })
            }
            c => Piece::One(One::Char(c)),
        });
    }
    Some(pieces)
}

/// Reads a character of a set, in which `-` and `]` stand only after `\`.
fn member(chars: &mut impl Iterator<Item = char>) -> Option<char> {
    match chars.next()? {
        '\\' => chars.next(),
        '-' | ']' => None,
        c => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cases of Go's own tests (`path/match_test.go`) and of annotations.
    #[test]
    fn patterns_are_gos() {
        for (pattern, text, expected) in [
            ("abc", "abc", Some(true)),
            ("*", "abc", Some(true)),
            ("*c", "abc", Some(true)),
            ("a*", "ab/c", Some(false)),
            ("a*/b", "abc/b", Some(true)),
            ("a*/b", "a/c/b", Some(false)),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", Some(true)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Some(true)),
            ("a*b?c*x", "abxbbxdbxebxczzy", Some(false)),
            ("ab[c]", "abc", Some(true)),
            ("ab[b-d]", "abc", Some(true)),
            ("ab[e-g]", "abc", Some(false)),
            ("ab[^c]", "abc", Some(false)),
            ("ab[^b-d]", "abc", Some(false)),
            ("a\\*b", "a*b", Some(true)),
            ("a\\*b", "ab", Some(false)),
            ("a?b", "a☺b", Some(true)),
            ("a[^a]b", "a☺b", Some(true)),
            ("a???b", "a☺b", Some(false)),
            ("[a-ζ]*", "α", Some(true)),
            ("a?b", "a/b", Some(false)),
            ("[\\]a]", "]", Some(true)),
            ("[\\-x]", "-", Some(true)),
            ("[]a]", "]", None),
            ("[-]", "-", None),
            ("[x-]", "x", None),
            ("[a-b-c]", "a", None),
            ("[", "a", None),
            ("[^bc", "a", None),
            ("a[", "ab", None),
            ("*x", "xxx", Some(true)),
            ("", "", Some(true)),
            ("", "a", Some(false)),
            ("module.wasm.image/*", "module.wasm.image/variant", Some(true)),
            ("module.wasm.image/*", "module.wasm.image/a/b", Some(false)),
            ("module.wasm.image", "module.wasm.image/variant", Some(false)),
            ("*", "module.wasm.image/variant", Some(false)),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}

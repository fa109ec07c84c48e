//! What a program's source loads at run time: `dlopen ("library")` and `function = dlsym (handle, "name")`, and as what
//! it has declared the pointers that it keeps the functions in.

use std::collections::BTreeMap;

use super::declare::{Type, declaration};
use super::tokens::{Token, lines, tokens};

/// What a source file loads.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Names of libraries, as `dlopen` gets them.
    pub(super) libraries: Vec<String>,
    /// The headers that it includes.
    pub(super) includes: Vec<String>,
    /// Names of functions, and the types that they are called as where they are found. In the order of the file.
    pub(super) functions: Vec<(String, Option<Type>)>,
}

/// Reads a source file. Both branches of its conditions are read.
pub(super) fn calls(text: &str) -> Calls {
    let mut calls = Calls::default();
    let mut all = Vec::new();
    for line in lines(text) {
        let Some(directive) = line.trim_start().strip_prefix('#') else {
            all.extend(tokens(&line));
            continue;
        };
        if let Some(written) = directive.trim_start().strip_prefix("include") {
            calls.includes.extend(super::preprocess::included(written.trim()).map(str::to_owned));
        }
    }
    let mut declared: BTreeMap<String, Type> = BTreeMap::new();
    for statement in all.split(|token| [";", "{", "}"].iter().any(|mark| token.is(mark))) {
        let own = declaration(statement).filter(|(_, kind, _)| matches!(kind, Type::Pointer(_)));
        if let Some((name, kind, _)) = &own {
            declared.insert(name.clone(), kind.clone());
        }
        calls.libraries.extend(argument(statement, "dlopen", 0).map(|(_, text)| text));
        let Some((at, symbol)) = argument(statement, "dlsym", 1) else { continue };
        let target = match own {
            Some((name, _, true)) => Some(name),
            _ => {
                let assigned = statement[..at].iter().rposition(|token| token.is("="));
                let before = &statement[..assigned.unwrap_or(0)];
                before.iter().rev().find_map(Token::word).map(str::to_owned)
            }
        };
        let kind = target.and_then(|name| declared.get(&name)).and_then(|kind| match kind {
            Type::Pointer(to) => Some((**to).clone()),
            _ => None,
        });
        calls.functions.push((symbol, kind));
    }
    calls
}

/// Finds a call of `function`: where it stands, and the text that its argument of this number is.
fn argument(statement: &[Token], function: &str, number: usize) -> Option<(usize, String)> {
    let at = statement.iter().position(|token| token.is_word(function))?;
    let (mut depth, mut commas) = (0, 0);
    for token in &statement[at + 1..] {
        match token {
            Token::Mark("(") => depth += 1,
            Token::Mark(")") => depth -= 1,
            Token::Mark(",") if depth == 1 => commas += 1,
            Token::Text(text) if depth == 1 && commas == number => return Some((at, text.clone())),
            _ => {}
        }
        if depth == 0 {
            return None;
        }
    }
    None
}

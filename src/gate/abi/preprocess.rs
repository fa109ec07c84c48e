//! C's preprocessor, as much of it as headers of libraries use: includes among themselves, conditions, macros.
//!
//! Headers are hostile as any download: includes and macros nest to a depth and give at most [`MOST`] tokens.

use std::collections::{BTreeMap, BTreeSet};

use super::tokens::{Token, lines, tokens};

/// How many tokens some headers may give.
const MOST: usize = 500_000;
/// How many tokens a condition may give.
const MOST_IN_CONDITION: usize = 10_000;
/// How often headers may include each other.
const MOST_INCLUDES: usize = 2_000;
/// How deep includes and macros may nest.
const DEEPEST: usize = 100;

#[derive(Debug, Clone)]
struct Macro {
    /// Names of parameters; none for a macro that is no function.
    parameters: Option<Vec<String>>,
    body: Vec<Token>,
}

/// Preprocesses `roots`, names of `files` by which others include them. What is not among `files` is the system's and
/// gives nothing.
pub(super) fn preprocess<'a>(
    files: &BTreeMap<String, String>,
    roots: impl Iterator<Item = &'a str>,
) -> Vec<Token> {
    let mut state =
        State { files, macros: BTreeMap::new(), out: Vec::new(), once: BTreeSet::new(), includes: 0 };
    for root in roots {
        state.include(root, 0);
    }
    state.out
}

struct State<'a> {
    files: &'a BTreeMap<String, String>,
    macros: BTreeMap<String, Macro>,
    out: Vec<Token>,
    once: BTreeSet<String>,
    includes: usize,
}

/// One level of conditions.
struct Level {
    active: bool,
    /// Whether a branch was taken, or none may be.
    done: bool,
}

impl State<'_> {
    fn include(&mut self, name: &str, depth: usize) {
        let Some(text) = self.files.get(name) else { return };
        if depth > DEEPEST || self.includes == MOST_INCLUDES || self.once.contains(name) {
            return;
        }
        self.includes += 1;
        let mut levels: Vec<Level> = Vec::new();
        let mut pending = Vec::new();
        for line in lines(text) {
            let active = levels.iter().all(|level| level.active);
            let Some(directive) = line.trim_start().strip_prefix('#') else {
                if active && self.out.len() + pending.len() < MOST {
                    pending.extend(tokens(&line));
                }
                continue;
            };
            self.expand_into_out(&mut pending);
            let directive = directive.trim_start();
            let end = directive.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(directive.len());
            let (word, rest) = directive.split_at(end);
            let all = tokens(rest);
            let first = all.first().and_then(Token::word);
            let defined =
                |macros: &BTreeMap<String, Macro>| first.is_some_and(|name| macros.contains_key(name));
            match word {
                "ifdef" | "ifndef" | "if" => {
                    let holds = active
                        && match word {
                            "ifdef" => defined(&self.macros),
                            "ifndef" => !defined(&self.macros),
                            _ => self.holds(&all),
                        };
                    levels.push(Level { active: holds, done: holds || !active });
                }
                "elif" | "else" => {
                    let holds = levels.last().is_some_and(|level| !level.done)
                        && (word == "else" || self.holds(&all));
                    if let Some(level) = levels.last_mut() {
                        level.active = holds;
                        level.done |= holds;
                    }
                }
                "endif" => _ = levels.pop(),
                _ if !active => {}
                "define" => self.define(rest, &all),
                "undef" => _ = first.and_then(|name| self.macros.remove(name)),
                "pragma" if first == Some("once") => _ = self.once.insert(name.to_owned()),
                "include" => {
                    if let Some(other) = self.found(rest.trim(), name) {
                        self.include(&other, depth + 1);
                    }
                }
                _ => {}
            }
        }
        self.expand_into_out(&mut pending);
    }

    /// Finds an included file: beside the including one if it is in quotes, then from the top.
    fn found(&self, written: &str, from: &str) -> Option<String> {
        let name = included(written)?;
        let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
        let beside = format!("{folder}/{name}");
        let beside = written.starts_with('"').then(|| beside.trim_start_matches('/').to_owned());
        beside.into_iter().chain([name.to_owned()]).find(|name| self.files.contains_key(name))
    }

    fn define(&mut self, written: &str, all: &[Token]) {
        let Some(name) = all.first().and_then(Token::word) else { return };
        // A bracket right behind the name makes it a function.
        let is_function = written.trim_start()[name.len()..].starts_with('(');
        let end = all.iter().position(|token| token.is(")")).unwrap_or(all.len().saturating_sub(1));
        let (parameters, body) = if is_function {
            let names = all[1..end].iter().filter_map(|token| match token {
                Token::Word(name) => Some(name.clone()),
                Token::Mark("...") => Some("__VA_ARGS__".to_owned()),
                _ => None,
            });
            (Some(names.collect()), all[end + 1..].to_vec())
        } else {
            (None, all[1..].to_vec())
        };
        self.macros.insert(name.to_owned(), Macro { parameters, body });
    }

    fn expand_into_out(&mut self, pending: &mut Vec<Token>) {
        let mut room = MOST.saturating_sub(self.out.len());
        let taken = std::mem::take(pending);
        self.out.extend(self.expand(&taken, &mut Vec::new(), &mut room));
    }

    /// Expands macros; those in `hidden` are being expanded.
    fn expand(&self, tokens: &[Token], hidden: &mut Vec<String>, room: &mut usize) -> Vec<Token> {
        let mut out = Vec::new();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            let one = token.word().filter(|name| !hidden.iter().any(|other| other == name));
            let expanded = one.and_then(|name| self.macros.get_key_value(name)).and_then(|(name, own)| {
                let (body, used) = match &own.parameters {
                    None => (own.body.clone(), 0),
                    Some(parameters) => {
                        let (arguments, used) = arguments(&tokens[at..])?;
                        (self.substituted(own, parameters, &arguments, hidden, room), used)
                    }
                };
                (hidden.len() < DEEPEST).then_some((name, pasted(body), used))
            });
            // What is expanded costs as much as what is given: it may give nothing.
            if *room == 0 {
                break;
            }
            *room -= 1;
            let Some((name, body, used)) = expanded else {
                out.push(token.clone());
                continue;
            };
            at += used;
            hidden.push(name.clone());
            out.extend(self.expand(&body, hidden, room));
            hidden.pop();
        }
        out
    }

    /// Puts arguments in the place of parameters, expanded ones except beside `##`.
    fn substituted(
        &self,
        own: &Macro,
        parameters: &[String],
        arguments: &[Vec<Token>],
        hidden: &mut Vec<String>,
        room: &mut usize,
    ) -> Vec<Token> {
        let mut out = Vec::new();
        for (at, token) in own.body.iter().enumerate() {
            let index = token.word().and_then(|name| parameters.iter().position(|own| own == name));
            let Some(argument) = index.map(|index| arguments.get(index).cloned().unwrap_or_default()) else {
                out.push(token.clone());
                continue;
            };
            let beside =
                |at: Option<usize>| at.and_then(|at| own.body.get(at)).is_some_and(|token| token.is("##"));
            let raw = beside(at.checked_sub(1)) || beside(Some(at + 1));
            let argument = if raw { argument } else { self.expand(&argument, hidden, room) };
            // What is pasted to nothing stays what it is.
            if argument.is_empty() && raw {
                out.push(Token::Word(String::new()));
            }
            out.extend(argument.into_iter().take(*room));
        }
        out
    }

    fn holds(&self, condition: &[Token]) -> bool {
        let mut plain = Vec::new();
        let mut at = 0;
        while let Some(token) = condition.get(at) {
            at += 1;
            if !token.is_word("defined") {
                plain.push(token.clone());
                continue;
            }
            let bracket = usize::from(condition.get(at).is_some_and(|token| token.is("(")));
            let name = condition.get(at + bracket).and_then(Token::word).unwrap_or_default();
            plain.push(Token::Number(u8::from(self.macros.contains_key(name)).to_string()));
            at += 1 + 2 * bracket;
        }
        let plain = self.expand(&plain, &mut Vec::new(), &mut MOST_IN_CONDITION.clone());
        Condition { tokens: &plain, at: 0, depth: 0 }.value(0) != 0
    }
}

/// Names what an `#include` includes.
pub(super) fn included(written: &str) -> Option<&str> {
    let close = match written.chars().next()? {
        '<' => '>',
        '"' => '"',
        _ => return None,
    };
    written[1..].split_once(close).map(|(name, _)| name)
}

/// Reads a macro's arguments in brackets; also gives how many tokens they are with the brackets.
fn arguments(tokens: &[Token]) -> Option<(Vec<Vec<Token>>, usize)> {
    tokens.first().filter(|token| token.is("("))?;
    let mut all = vec![Vec::new()];
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Mark("(") => depth += 1,
            Token::Mark(")") => depth -= 1,
            _ => {}
        }
        match token {
            Token::Mark(")") if depth == 0 => return Some((all, at + 1)),
            Token::Mark("(") if depth == 1 => {}
            Token::Mark(",") if depth == 1 => all.push(Vec::new()),
            token => all.last_mut().expect("there is one").push(token.clone()),
        }
    }
    None
}

/// Does what `##` says.
fn pasted(tokens: Vec<Token>) -> Vec<Token> {
    let mut out: Vec<Token> = Vec::with_capacity(tokens.len());
    let mut paste = false;
    for token in tokens {
        if token.is("##") {
            paste = true;
            continue;
        }
        match (paste, out.last_mut(), &token) {
            (true, Some(Token::Word(before)), Token::Word(text) | Token::Number(text)) => {
                before.push_str(text)
            }
            _ => out.push(token),
        }
        paste = false;
    }
    out.retain(|token| !token.is_word(""));
    out
}

/// The value of an `#if`'s expression, by precedence.
struct Condition<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
}

/// Operators by their marks, weakest first.
const OPERATORS: [(&str, u8); 13] = [
    ("||", 1),
    ("&&", 2),
    ("==", 3),
    ("!=", 3),
    ("<=", 4),
    (">=", 4),
    ("<", 4),
    (">", 4),
    ("+", 5),
    ("-", 5),
    ("*", 6),
    ("/", 6),
    ("%", 6),
];

impl Condition<'_> {
    fn mark(&self, at: usize) -> &'static str {
        match self.tokens.get(at) {
            Some(Token::Mark(mark)) => mark,
            _ => "",
        }
    }

    fn operator(&self) -> Option<(&'static str, u8)> {
        let (one, two) = (self.mark(self.at), self.mark(self.at + 1));
        let fits = |text: &str| match text.len() {
            1 => text == one,
            _ => text[..1] == *one && text[1..] == *two,
        };
        OPERATORS.into_iter().find(|(text, _)| fits(text))
    }

    fn value(&mut self, least: u8) -> i64 {
        let mut left = self.operand();
        while let Some((operator, binds)) = self.operator().filter(|(_, binds)| *binds > least) {
            self.at += operator.len();
            let right = self.value(binds);
            left = match operator {
                "||" => i64::from(left != 0 || right != 0),
                "&&" => i64::from(left != 0 && right != 0),
                "==" => i64::from(left == right),
                "!=" => i64::from(left != right),
                "<=" => i64::from(left <= right),
                ">=" => i64::from(left >= right),
                "<" => i64::from(left < right),
                ">" => i64::from(left > right),
                "+" => left.wrapping_add(right),
                "-" => left.wrapping_sub(right),
                "*" => left.wrapping_mul(right),
                "/" => left.checked_div(right).unwrap_or(0),
                _ => left.checked_rem(right).unwrap_or(0),
            };
        }
        left
    }

    fn operand(&mut self) -> i64 {
        let token = self.tokens.get(self.at);
        self.at += 1;
        self.depth += 1;
        if self.depth > DEEPEST {
            self.at = self.tokens.len();
            return 0;
        }
        let value = match token {
            Some(Token::Mark("!")) => i64::from(self.operand() == 0),
            Some(Token::Mark("-")) => self.operand().wrapping_neg(),
            Some(Token::Mark("(")) => {
                let value = self.value(0);
                self.at += 1;
                value
            }
            Some(Token::Number(text)) => {
                let digits = text.trim_end_matches(['u', 'U', 'l', 'L']);
                let hex = digits.strip_prefix("0x").or(digits.strip_prefix("0X"));
                hex.map_or_else(|| digits.parse(), |hex| i64::from_str_radix(hex, 16)).unwrap_or(0)
            }
            // A name that is no macro is 0, with arguments too.
            Some(Token::Word(_)) => {
                if let Some((_, used)) = arguments(self.tokens.get(self.at..).unwrap_or_default()) {
                    self.at += used;
                }
                0
            }
            _ => 0,
        };
        self.depth -= 1;
        value
    }
}

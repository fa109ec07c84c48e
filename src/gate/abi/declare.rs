//! C's declarations: tokens → types of functions, tolerantly. What is not understood declares nothing.

use std::collections::BTreeMap;

use super::tokens::Token;

/// A type, without names of parameters and qualifiers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    Void,
    /// A number in so many bits.
    Integer(u8),
    Float(u8),
    /// A name that nothing else is known of.
    Named(String),
    /// A struct, union or enum by its tag.
    Tagged(Tag, String),
    Pointer(Box<Type>),
    Function(Box<Function>),
    /// What something else that is declared is: `typeof (name)`.
    Of(String),
}

/// What a tag names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Struct,
    Union,
    Enum,
}

/// The type of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) result: Type,
    /// Parameters; none where the brackets are empty, which says nothing.
    pub(super) parameters: Option<Vec<Type>>,
    /// Whether more may follow.
    pub(super) variadic: bool,
}

/// What headers declare.
#[derive(Debug, Clone, Default)]
pub(super) struct Declared {
    pub(super) functions: BTreeMap<String, Function>,
    pub(super) names: BTreeMap<String, Type>,
}

/// Words that say nothing about how a function is called.
const SILENT: [&str; 22] = [
    "const",
    "volatile",
    "restrict",
    "__restrict",
    "__restrict__",
    "__const",
    "extern",
    "static",
    "inline",
    "__inline",
    "__inline__",
    "register",
    "_Noreturn",
    "noreturn",
    "__extension__",
    "_Nonnull",
    "_Nullable",
    "_Thread_local",
    "auto",
    "signed",
    "__signed__",
    "constexpr",
];

/// Words with something in brackets that says nothing either.
const ATTRIBUTES: [&str; 6] = ["__attribute__", "__attribute", "__declspec", "_Alignas", "__asm__", "asm"];

/// Standard names of numbers: on every architecture that nodeimg knows, pointers and `long` have 64 bits.
const NUMBERS: [(&str, Type); 24] = [
    ("bool", Type::Integer(8)),
    ("_Bool", Type::Integer(8)),
    ("int8_t", Type::Integer(8)),
    ("uint8_t", Type::Integer(8)),
    ("int16_t", Type::Integer(16)),
    ("uint16_t", Type::Integer(16)),
    ("int32_t", Type::Integer(32)),
    ("uint32_t", Type::Integer(32)),
    ("int64_t", Type::Integer(64)),
    ("uint64_t", Type::Integer(64)),
    ("size_t", Type::Integer(64)),
    ("ssize_t", Type::Integer(64)),
    ("ptrdiff_t", Type::Integer(64)),
    ("intptr_t", Type::Integer(64)),
    ("uintptr_t", Type::Integer(64)),
    ("off_t", Type::Integer(64)),
    ("time_t", Type::Integer(64)),
    ("pid_t", Type::Integer(32)),
    ("uid_t", Type::Integer(32)),
    ("gid_t", Type::Integer(32)),
    ("mode_t", Type::Integer(32)),
    ("wchar_t", Type::Integer(32)),
    ("char16_t", Type::Integer(16)),
    ("char32_t", Type::Integer(32)),
];

/// Reads all declarations at the top of preprocessed headers.
pub(super) fn declarations(tokens: &[Token]) -> Declared {
    let mut declared = Declared::default();
    let mut parser = Parser { tokens, at: 0, depth: 0 };
    while parser.at < tokens.len() {
        let start = parser.at;
        let is_typedef = parser.takes_word("typedef");
        if let Some(base) = parser.specifiers() {
            while let Some((name, kind)) = parser.declarator(base.clone()) {
                match (name, kind) {
                    (Some(name), kind) if is_typedef => _ = declared.names.insert(name, kind),
                    (Some(name), Type::Function(function)) => _ = declared.functions.insert(name, *function),
                    _ => {}
                }
                if !parser.takes(",") {
                    break;
                }
            }
        }
        parser.past_declaration(start);
    }
    declared
}

/// Reads a declaration of one thing within a function or struct: its name and type. Also tells whether a value follows.
pub(super) fn declaration(tokens: &[Token]) -> Option<(String, Type, bool)> {
    let mut parser = Parser { tokens, at: 0, depth: 0 };
    let base = parser.specifiers()?;
    let (name, kind) = parser.declarator(base)?;
    let rest = &tokens[parser.at..];
    let is_whole = rest.first().is_none_or(|token| token.is("=") || token.is(";") || token.is(","));
    is_whole.then_some((name?, kind, rest.first().is_some_and(|token| token.is("="))))
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    fn takes(&mut self, mark: &str) -> bool {
        let there = self.peek().is_some_and(|token| token.is(mark));
        self.at += usize::from(there);
        there
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let there = self.peek().is_some_and(|token| token.is_word(word));
        self.at += usize::from(there);
        there
    }

    /// Skips what is in brackets of one kind, if the next token opens them.
    fn brackets(&mut self, open: &str, close: &str) -> bool {
        if !self.takes(open) {
            return false;
        }
        let mut depth = 1;
        while depth > 0 {
            let Some(token) = self.peek() else { return true };
            self.at += 1;
            depth += i32::from(token.is(open));
            depth -= i32::from(token.is(close));
        }
        true
    }

    /// Goes to what follows the declaration that starts at `start`: behind its `;`, or the body of its function.
    fn past_declaration(&mut self, start: usize) {
        self.at = start;
        let mut had_brackets = false;
        while let Some(token) = self.peek() {
            if self.brackets("(", ")") {
                had_brackets = true;
            } else if token.is("{") {
                self.brackets("{", "}");
                let follows =
                    self.peek().is_some_and(|token| !token.is(";") && !token.is("*") && !token.is(","));
                if had_brackets && follows {
                    return;
                }
            } else {
                self.at += 1;
                if token.is(";") {
                    return;
                }
            }
        }
    }

    /// Reads what stands before the declarators.
    fn specifiers(&mut self) -> Option<Type> {
        let (mut numbers, mut found): (Vec<&str>, Option<Type>) = (Vec::new(), None);
        let start = self.at;
        let mut is_signed = false;
        while let Some(word) = self.peek().and_then(Token::word) {
            match word {
                word if SILENT.contains(&word) => {
                    is_signed |= word.contains("signed");
                    self.at += 1;
                }
                word if ATTRIBUTES.contains(&word) => {
                    self.at += 1;
                    self.brackets("(", ")");
                }
                "typeof" | "__typeof__" | "__typeof" | "typeof_unqual" if found.is_none() => {
                    self.at += 1;
                    found = Some(self.type_of()?);
                }
                "struct" | "union" | "enum" if found.is_none() => {
                    let tag = match word {
                        "struct" => Tag::Struct,
                        "union" => Tag::Union,
                        _ => Tag::Enum,
                    };
                    self.at += 1;
                    while self.peek().and_then(Token::word).is_some_and(|word| ATTRIBUTES.contains(&word)) {
                        self.at += 1;
                        self.brackets("(", ")");
                    }
                    let name = self.peek().and_then(Token::word).unwrap_or_default().to_owned();
                    self.at += usize::from(!name.is_empty());
                    self.brackets("{", "}");
                    found = Some(Type::Tagged(tag, name));
                }
                "void" | "char" | "short" | "int" | "long" | "float" | "double" | "unsigned" | "__int128"
                    if found.is_none() =>
                {
                    numbers.push(word);
                    self.at += 1;
                }
                word if found.is_none() && numbers.is_empty() => {
                    let number = NUMBERS.iter().find(|(name, _)| *name == word);
                    found =
                        Some(number.map_or_else(|| Type::Named(word.to_owned()), |(_, kind)| kind.clone()));
                    self.at += 1;
                }
                _ => break,
            }
        }
        let has = |word: &str| numbers.contains(&word);
        match found {
            Some(found) => Some(found),
            None if has("void") => Some(Type::Void),
            None if has("float") => Some(Type::Float(32)),
            None if has("double") => Some(Type::Float(if has("long") { 128 } else { 64 })),
            None if has("char") => Some(Type::Integer(8)),
            None if has("short") => Some(Type::Integer(16)),
            None if has("long") => Some(Type::Integer(64)),
            None if has("__int128") => Some(Type::Integer(128)),
            None if is_signed || !numbers.is_empty() => Some(Type::Integer(32)),
            None => {
                self.at = start;
                None
            }
        }
    }

    /// Reads what stands in the brackets of a `typeof`: the name of something, or a type.
    fn type_of(&mut self) -> Option<Type> {
        let start = self.at;
        if !self.takes("(") {
            return None;
        }
        let inside = &self.tokens[self.at..];
        let name = inside.first().and_then(Token::word);
        if let (Some(name), true) = (name, inside.get(1).is_some_and(|token| token.is(")"))) {
            self.at += 2;
            return Some(Type::Of(name.to_owned()));
        }
        let base = self.specifiers()?;
        let (_, kind) = self.declarator(base)?;
        self.at = start;
        self.brackets("(", ")");
        Some(kind)
    }

    /// Reads a declarator of something of type `base`: its name, if it has one, and its type.
    fn declarator(&mut self, base: Type) -> Option<(Option<String>, Type)> {
        self.depth += 1;
        if self.depth > 100 {
            return None;
        }
        let mut kind = base;
        loop {
            if self.takes("*") || self.takes("^") {
                kind = Type::Pointer(Box::new(kind));
            } else if self.peek().and_then(Token::word).is_some_and(|word| SILENT.contains(&word)) {
                self.at += 1;
            } else {
                break;
            }
        }
        // Brackets around a declarator, not around parameters.
        let next = self.tokens.get(self.at + 1);
        let groups = self.peek().is_some_and(|token| token.is("("))
            && next.is_some_and(|token| token.is("*") || token.is("(") || token.is("^"));
        let (mut name, mut inside) = (None, None);
        if groups {
            let start = self.at;
            self.brackets("(", ")");
            inside = Some((start + 1, self.at - 1));
        } else if let Some(word) = self.peek().and_then(Token::word) {
            name = Some(word.to_owned());
            self.at += 1;
        }
        let mut behind = Vec::new();
        loop {
            if self.peek().is_some_and(|token| token.is("[")) {
                self.brackets("[", "]");
                behind.push(None);
            } else if self.peek().is_some_and(|token| token.is("(")) {
                behind.push(Some(self.parameters()?));
            } else if self.peek().and_then(Token::word).is_some_and(|word| ATTRIBUTES.contains(&word)) {
                self.at += 1;
                self.brackets("(", ")");
            } else {
                break;
            }
        }
        for one in behind.into_iter().rev() {
            kind = match one {
                // What an array is where it is passed.
                None => Type::Pointer(Box::new(kind)),
                Some((parameters, variadic)) => {
                    Type::Function(Box::new(Function { result: kind, parameters, variadic }))
                }
            };
        }
        if let Some((start, end)) = inside {
            let mut parser = Parser { tokens: &self.tokens[..end], at: start, depth: self.depth };
            (name, kind) = parser.declarator(kind)?;
        }
        self.depth -= 1;
        Some((name, kind))
    }

    /// Reads parameters in brackets, and whether more may follow.
    fn parameters(&mut self) -> Option<(Option<Vec<Type>>, bool)> {
        let mut all = Vec::new();
        if !self.takes("(") {
            return None;
        }
        if self.takes(")") {
            return Some((None, false));
        }
        loop {
            if self.takes("...") {
                return self.takes(")").then_some((Some(all), true));
            }
            let base = self.specifiers()?;
            let (_, kind) = self.declarator(base)?;
            all.push(match kind {
                Type::Function(_) => Type::Pointer(Box::new(kind)),
                kind => kind,
            });
            if self.takes(",") {
                continue;
            }
            let is_nothing = all == [Type::Void];
            return self.takes(")").then(|| (Some(if is_nothing { Vec::new() } else { all }), false));
        }
    }
}

//! Whether a program's calls of a library that it opens at run time fit that library.
//!
//! Who opens a library with `dlopen` types the prototypes of its functions by hand, or takes them from the headers that
//! it is built with. Neither is held against the library that is there at run time by a compiler or a linker: a call
//! with too few parameters passes garbage, and the pod finds out. So the program's source, the headers that it was built
//! with and those of the library's package are read here, and every function that is loaded is compared.
//!
//! Pure: in go texts and names, out comes what does not fit ([`Fault`]). What a caller may do by the calling conventions
//! of amd64 and arm64 (System V, AAPCS64) fits: more arguments than a function takes, a result that is not looked at, a
//! number in a register that is wider than it, another pointer of bytes.

mod calls;
mod declare;
mod preprocess;
mod symbols;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};

use calls::Calls;
use declare::{Declared, Function, Tag, Type};

pub use symbols::symbols;

/// The version of what is compared, and how.
pub const RULES: u32 = 1;

/// The headers of a package: by the name that others include them by (`wasmtime/store.h`), their texts.
pub type Headers = BTreeMap<String, String>;

/// A program's source file.
#[derive(Debug)]
pub struct Source(Calls);

impl Source {
    /// Reads a C file.
    pub fn parse(text: &str) -> Source {
        Source(calls::calls(text))
    }

    /// Names the libraries that it opens.
    pub fn libraries(&self) -> &[String] {
        &self.0.libraries
    }

    /// Tells whether it includes any of some headers.
    pub fn includes(&self, headers: &Headers) -> bool {
        self.0.includes.iter().any(|name| headers.contains_key(name))
    }
}

/// A library as a package brings it.
#[derive(Debug)]
pub struct Library<'a> {
    /// The package and its version, for people: `wasmtime-c-api 25.0.0`.
    pub name: &'a str,
    /// Its headers; without any, nothing is known of how its functions are called.
    pub headers: &'a Headers,
    /// The names that the library itself gives, where it is there.
    pub symbols: Option<&'a BTreeSet<String>>,
}

/// A call that does not fit, or can't be told to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The function.
    pub function: String,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Compares what `program` calls with what `shipped` has. `built` are the headers that it was built with.
pub fn compare(program: &str, source: &Source, built: &Library<'_>, shipped: &Library<'_>) -> Vec<Fault> {
    let declared = |library: &Library<'_>| {
        let roots = source.0.includes.iter().map(String::as_str);
        declare::declarations(&preprocess::preprocess(library.headers, roots))
    };
    let (own, theirs) = (declared(built), declared(shipped));
    let judge = Judge { program, built, shipped, own: &own, theirs: &theirs };
    source.0.functions.iter().filter_map(|(name, kind)| judge.fault(name, kind.as_ref())).collect()
}

struct Judge<'a> {
    program: &'a str,
    built: &'a Library<'a>,
    shipped: &'a Library<'a>,
    own: &'a Declared,
    theirs: &'a Declared,
}

impl Judge<'_> {
    fn fault(&self, name: &str, kind: Option<&Type>) -> Option<Fault> {
        let (program, library) = (self.program, self.shipped.name);
        let fault = |message: String, hint: String| Some(Fault { function: name.to_owned(), message, hint });
        if self.shipped.symbols.is_some_and(|symbols| !symbols.contains(name)) {
            return fault(
                format!("{program} loads `{name}`, which the library of {library} lacks"),
                format!("pin a release of the library that has it, or patch {program} to do without"),
            );
        }
        if self.shipped.headers.is_empty() {
            return None;
        }
        let Some(declared) = self.theirs.functions.get(name) else {
            return fault(
                format!("{program} loads `{name}`, which no header of {library} declares"),
                format!("pin a release of the library that declares it, or patch {program} to do without"),
            );
        };
        match kind {
            Some(Type::Function(called)) => {
                let wrong = wrong(called, self.own, declared, self.theirs)?;
                fault(
                    format!("{program} calls `{name}` {}, {library} {}", wrong.called, wrong.declared),
                    format!(
                        "pin a release of the library that declares it so, or patch {program} to take types from headers"
                    ),
                )
            }
            Some(Type::Of(of)) => {
                let built = self.built.name;
                let Some(called) = self.own.functions.get(of) else {
                    return fault(
                        format!(
                            "{program} takes the type of `{of}` from its headers, and those of {built} don't declare it"
                        ),
                        "name the package with the headers in the `inputs` of its `[build]`".to_owned(),
                    );
                };
                let wrong = wrong(called, self.own, declared, self.theirs)?;
                fault(
                    format!(
                        "{program} was built with {built} and calls `{name}` {}, {library} {}",
                        wrong.called, wrong.declared
                    ),
                    format!(
                        "give the runtime a {program} that is built with the package whose library it loads"
                    ),
                )
            }
            _ => fault(
                format!(
                    "{program} loads `{name}` into something that is not declared as a pointer to a function"
                ),
                format!(
                    "keep it in a pointer of the function's type, or leave the file out of `calls` of {program}"
                ),
            ),
        }
    }
}

/// How a call does not fit: what the caller does, and what the library does.
struct Wrong {
    called: String,
    declared: String,
}

fn wrong(called: &Function, own: &Declared, declared: &Function, theirs: &Declared) -> Option<Wrong> {
    let count = |count: usize| format!("{count} parameter{}", if count == 1 { "" } else { "s" });
    let wanted = declared.parameters.as_deref().unwrap_or_default();
    // Empty brackets say nothing about a call; they are written where nothing is passed.
    let given = called.parameters.as_deref().unwrap_or_default();
    if given.len() < wanted.len() || called.variadic != declared.variadic {
        return Some(Wrong {
            called: format!("with {}", count(given.len())),
            declared: format!("declares {}", wanted.len()),
        });
    }
    for (at, (given, wanted)) in given.iter().zip(wanted).enumerate() {
        if !fits(given, own, wanted, theirs, 0) {
            return Some(Wrong {
                called: format!("with `{}` as parameter {}", shown(given), at + 1),
                declared: format!("wants `{}`", shown(wanted)),
            });
        }
    }
    let looks = called.result != Type::Void;
    (looks && !fits(&declared.result, theirs, &called.result, own, 0)).then(|| Wrong {
        called: format!("for `{}`", shown(&called.result)),
        declared: format!("gives `{}`", shown(&declared.result)),
    })
}

/// Tells whether a value of type `given` can be taken for one of type `wanted`.
fn fits(given: &Type, own: &Declared, wanted: &Type, theirs: &Declared, depth: u32) -> bool {
    const DEEPEST: u32 = 32;
    if depth > DEEPEST {
        return false;
    }
    let (given, wanted) = (resolved(given, own), resolved(wanted, theirs));
    match (&given, &wanted) {
        (Type::Pointer(given), Type::Pointer(wanted)) => {
            let (to, of) = (resolved(given, own), resolved(wanted, theirs));
            to == Type::Void || of == Type::Void || fits(&to, own, &of, theirs, depth + 1)
        }
        (Type::Function(given), Type::Function(wanted)) => {
            wrong(given, own, wanted, theirs).is_none() && wrong(wanted, theirs, given, own).is_none()
        }
        // Within pointers they are memory, and must be as wide.
        (Type::Integer(given), Type::Integer(wanted)) => depth == 0 || given == wanted,
        (Type::Integer(bits), Type::Tagged(Tag::Enum, _))
        | (Type::Tagged(Tag::Enum, _), Type::Integer(bits)) => depth == 0 || *bits == 32,
        (given, wanted) => given == wanted,
    }
}

/// Goes through names for types to what they stand for.
fn resolved(kind: &Type, declared: &Declared) -> Type {
    let mut kind = kind;
    for _ in 0..32 {
        let Type::Named(name) = kind else { break };
        match declared.names.get(name) {
            // A struct without a tag is known by its name.
            Some(Type::Tagged(Tag::Struct | Tag::Union, tag)) if tag.is_empty() => break,
            Some(next) => kind = next,
            None => break,
        }
    }
    kind.clone()
}

/// Writes a type as C does, where that is short.
fn shown(kind: &Type) -> String {
    match kind {
        Type::Void => "void".to_owned(),
        Type::Integer(bits) => format!("{bits}-bit integer"),
        Type::Float(bits) => format!("{bits}-bit float"),
        Type::Named(name) | Type::Of(name) => name.clone(),
        Type::Tagged(Tag::Struct, name) => format!("struct {name}"),
        Type::Tagged(Tag::Union, name) => format!("union {name}"),
        Type::Tagged(Tag::Enum, name) => format!("enum {name}"),
        Type::Pointer(to) => match &**to {
            Type::Function(_) => "pointer to a function".to_owned(),
            to => format!("{}{}*", shown(to), if matches!(to, Type::Pointer(_)) { "" } else { " " }),
        },
        Type::Function(_) => "function".to_owned(),
    }
}

#[cfg(test)]
mod tests;

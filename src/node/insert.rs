//! Puts a table into a TOML text and leaves every byte of the text as it is.
//!
//! A writer of TOML would lay the text out anew in places (line ends, the order of tables that are spread over the
//! file). So the parsed document is only asked *where* the new table belongs, in the manner in which the tables around
//! it are written: under a header of its own, as dotted keys, or within the braces of an inline table.

use toml_edit::{Document, InlineTable, Item, Key, Table, Value};

/// Says why a table can't be put in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is one of this name.
    Taken,
    /// Something on the way is no table: how many keys lead to it.
    NoTable(usize),
}

/// A table to put in: values, and tables of values below it. Written in this order.
#[derive(Debug, Default, Clone)]
pub(super) struct Entry {
    /// Its own values.
    pub(super) values: Vec<(String, Value)>,
    /// Tables below it.
    pub(super) tables: Vec<(String, Vec<(String, Value)>)>,
}

/// Puts `entry` into `text` as `<path>.<name>`; tables of the path that are missing are made.
///
/// # Panics
///
/// If `text` is no TOML, or if more than the entry were to change: a bug.
pub(super) fn insert(text: &str, path: &[&str], name: &str, entry: &Entry) -> Result<String, Fault> {
    let document = Document::parse(text).expect("the caller has parsed it");
    let there = path.iter().try_fold(document.as_item(), |item, key| item.get(key));
    if there.is_some_and(|table| table.get(name).is_some()) {
        return Err(Fault::Taken);
    }
    let (at, added) = place(text, document.as_table(), path)?.write(text, path, name, entry);
    let result = [&text[..at], &added, &text[at..]].concat();
    prove(text, &result, path, name, entry);
    Ok(result)
}

/// Where a table goes, and in which manner it is written.
enum Place {
    /// Under a header, at this byte.
    Header { at: usize },
    /// As dotted keys at this byte, in the table that the first `home` keys lead to.
    Dotted { home: usize, at: usize },
    /// In braces at this byte, in the table that the first `home` keys lead to. Keys up to `there` are written as
    /// dotted keys, as those of the table are.
    Inline { home: usize, there: usize, at: usize, is_empty: bool },
}

fn place(text: &str, root: &Table, path: &[&str]) -> Result<Place, Fault> {
    let (mut table, mut home) = (root, 0);
    // The deepest table that has a header in the text, or tables with headers below it.
    let mut after = None;
    for (depth, key) in path.iter().enumerate() {
        match table.get(key) {
            None => break,
            Some(Item::Table(next)) => {
                if !next.is_dotted() {
                    home = depth + 1;
                }
                after = last_header(next).or(after);
                table = next;
            }
            Some(Item::Value(Value::InlineTable(next))) => return inline(next, path, depth + 1),
            Some(_) => return Err(Fault::NoTable(depth + 1)),
        }
    }
    let end = |last: usize| text[last..].find('\n').map_or(text.len(), |line| last + line + 1);
    if table.is_dotted() {
        let last = last_value(table).expect("dotted keys lead to a value");
        return Ok(Place::Dotted { home, at: end(last) });
    }
    Ok(Place::Header { at: after.map_or(text.len(), end) })
}

/// Goes on within braces, from the table that the first `depth` keys lead to.
fn inline(table: &InlineTable, path: &[&str], depth: usize) -> Result<Place, Fault> {
    let (mut table, mut braced, mut home, mut there) = (table, table, depth, depth);
    for key in &path[depth..] {
        match table.get(key) {
            None => break,
            Some(Value::InlineTable(next)) => {
                there += 1;
                table = next;
                if !next.is_dotted() {
                    (braced, home) = (next, there);
                }
            }
            Some(_) => return Err(Fault::NoTable(there + 1)),
        }
    }
    let open = braced.span().expect("it is parsed").start + 1;
    Ok(Place::Inline { home, there, at: last_in(braced).unwrap_or(open), is_empty: braced.is_empty() })
}

/// Finds where the last value within braces ends.
fn last_in(table: &InlineTable) -> Option<usize> {
    let ends = table.iter().filter_map(|(_, value)| match value {
        Value::InlineTable(dotted) if dotted.is_dotted() => last_in(dotted),
        value => value.span().map(|span| span.end),
    });
    ends.max()
}

/// Finds where the last table with a header, of this one and those below it, ends: its last value or the header.
fn last_header(table: &Table) -> Option<usize> {
    let header = (!table.is_implicit() && !table.is_dotted()).then(|| table.span()).flatten();
    let own = header.map(|header| header.end.max(last_value(table).unwrap_or(0)));
    let below = table.iter().filter_map(|(_, item)| match item {
        Item::Table(table) => last_header(table),
        Item::ArrayOfTables(tables) => tables.iter().filter_map(last_header).max(),
        _ => None,
    });
    below.chain(own).max()
}

/// Finds where the last value of a table ends, of those that stand under its own header.
fn last_value(table: &Table) -> Option<usize> {
    let ends = table.iter().filter_map(|(_, item)| match item {
        Item::Value(value) => value.span().map(|span| span.end),
        Item::Table(table) if table.is_dotted() => last_value(table),
        _ => None,
    });
    ends.max()
}

impl Place {
    /// Gives what is to be added, and where.
    fn write(self, text: &str, path: &[&str], name: &str, entry: &Entry) -> (usize, String) {
        let full: Vec<&str> = path.iter().copied().chain([name]).collect();
        let line_end = match text.find('\n') {
            Some(at) if text[..at].ends_with('\r') => "\r\n",
            _ => "\n",
        };
        let mut lines = String::new();
        let mut line = |content: String| lines.extend([content.as_str(), line_end]);
        let at = match self {
            Place::Header { at } => {
                let mut table = |keys: &[&str], values: &[(String, Value)]| {
                    line(String::new());
                    line(format!("[{}]", dotted(keys)));
                    values.iter().for_each(|(key, value)| line(format!("{} = {value}", Key::new(key))));
                };
                table(&full, &entry.values);
                for (key, values) in &entry.tables {
                    table(&[full.as_slice(), &[key]].concat(), values);
                }
                at
            }
            Place::Dotted { home, at } => {
                let mut value = |below: &[&str], value: &Value| {
                    line(format!("{} = {value}", dotted(&[&full[home..], below].concat())));
                };
                entry.values.iter().for_each(|(key, one)| value(&[key], one));
                for (table, values) in &entry.tables {
                    values.iter().for_each(|(key, one)| value(&[table, key], one));
                }
                at
            }
            Place::Inline { home, there, at, is_empty } => {
                let mut value = braced(entry);
                for key in full[there + 1..].iter().rev() {
                    value = format!("{{ {} = {value} }}", Key::new(*key));
                }
                let pair = format!("{} = {value}", dotted(&full[home..=there]));
                return (at, if is_empty { format!(" {pair} ") } else { format!(", {pair}") });
            }
        };
        if at > 0 && !text[..at].ends_with('\n') {
            lines.insert_str(0, line_end);
        }
        (at, lines)
    }
}

fn dotted(keys: &[&str]) -> String {
    keys.iter().map(|key| Key::new(*key).to_string()).collect::<Vec<_>>().join(".")
}

fn pair((key, value): &(String, Value)) -> String {
    format!("{} = {value}", Key::new(key))
}

/// Writes an entry as an inline table.
fn braced(entry: &Entry) -> String {
    let table = |pairs: Vec<String>| {
        if pairs.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", pairs.join(", ")) }
    };
    let below = entry
        .tables
        .iter()
        .map(|(key, values)| format!("{} = {}", Key::new(key), table(values.iter().map(pair).collect())));
    table(entry.values.iter().map(pair).chain(below).collect())
}

/// Holds the result to what it is meant to be: what was there and the entry, nothing else.
fn prove(before: &str, after: &str, path: &[&str], name: &str, entry: &Entry) {
    let parse = |text: &str| text.parse::<toml::Table>().expect("what is written is TOML");
    let mut wanted = parse(before);
    let mut table = &mut wanted;
    for key in path {
        let next = table.entry(*key).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        table = next.as_table_mut().expect("it was looked at");
    }
    let values = |values: &[(String, Value)]| {
        let text: String = values.iter().map(|value| pair(value) + "\n").collect();
        parse(&text)
    };
    let mut own = values(&entry.values);
    for (key, below) in &entry.tables {
        own.insert(key.clone(), values(below).into());
    }
    assert!(table.insert(name.to_owned(), own.into()).is_none(), "the name was looked for");
    assert_eq!(parse(after), wanted, "only the entry is new");
}

#[cfg(test)]
mod tests;

//! A `Packages` index in memory: what resolving needs of each package, and nothing else.

use std::io::{BufRead, BufReader, Read};

use super::relation::{Relation, groups};
use crate::base::{Arch, Sha256};

/// Larger indices are refused, unpacked; Debian's `main` is 50 MB.
const LARGEST: u64 = 512 << 20;
/// More text than this is not kept; of Debian's `main` it is 13 MB.
const LARGEST_KEPT: usize = 128 << 20;
/// Longer lines are refused.
const LONGEST_LINE: u64 = 1 << 20;
/// Memory that xz may ask for: its largest preset takes 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;

/// Where a value stands in an index's text.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    start: u32,
    length: u32,
}

/// The kept fields with a text, by their place in [`Record::spans`].
const FIELDS: [&str; 9] =
    ["Package", "Version", "Pre-Depends", "Depends", "Conflicts", "Breaks", "Provides", "Filename", "Source"];

#[derive(Debug, Clone)]
struct Record {
    spans: [Span; 9],
    size: Option<u64>,
    sha256: Option<Sha256>,
    essential: bool,
    /// `Multi-Arch: allowed`.
    allowed: bool,
    priority: Priority,
    fits: bool,
}

/// How much a distribution wants a package (Debian policy 2.5), the most wanted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Priority {
    Required,
    Important,
    Standard,
    Optional,
}

/// One index.
#[derive(Debug)]
pub(super) struct Index {
    text: String,
    /// By name.
    records: Vec<Record>,
    /// Names that packages provide, sorted, with the provider's record.
    provided: Vec<(Span, u32)>,
}

/// One package of an index.
#[derive(Clone, Copy)]
pub(super) struct Package<'a> {
    index: &'a Index,
    record: &'a Record,
}

impl Index {
    /// Reads an index, compressed with xz or gzip. Says what is wrong with it.
    pub(super) fn read(compressed: &[u8], arch: Arch) -> Result<Self, String> {
        Self::parse(decompressed(compressed)?, arch)
    }

    fn parse(mut input: impl BufRead, arch: Arch) -> Result<Self, String> {
        let mut index = Self { text: String::new(), records: Vec::new(), provided: Vec::new() };
        let (mut line, mut total) = (Vec::new(), 0);
        let mut stanza = Stanza::new();
        loop {
            line.clear();
            let read = (&mut input).take(LONGEST_LINE).read_until(b'\n', &mut line);
            let read = read.map_err(|error| error.to_string())? as u64;
            total += read;
            if read == LONGEST_LINE || total >= LARGEST || index.text.len() > LARGEST_KEPT {
                return Err("it is too large".to_owned());
            }
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            if line.is_empty() {
                let fresh = Stanza::new();
                index.keep(std::mem::replace(&mut stanza, fresh))?;
                if read == 0 {
                    break;
                }
            } else {
                stanza.line(&line, arch, &mut index.text)?;
            }
        }
        index.text.shrink_to_fit();
        let Self { text, records, provided } = &mut index;
        let name = |record: &Record| value(text, record.spans[0]);
        records.sort_by(|one, other| name(one).cmp(name(other)));
        for (at, record) in records.iter().enumerate() {
            for one in groups(value(text, record.spans[6])) {
                let Some(relation) = Relation::parse(one) else { continue };
                let start = relation.name.as_ptr() as usize - text.as_ptr() as usize;
                let span = Span { start: start as u32, length: relation.name.len() as u32 };
                provided.push((span, at as u32));
            }
        }
        provided.sort_by(|one, other| value(text, one.0).cmp(value(text, other.0)).then(one.1.cmp(&other.1)));
        provided.dedup_by(|one, other| value(text, one.0) == value(text, other.0) && one.1 == other.1);
        Ok(index)
    }

    fn keep(&mut self, stanza: Stanza) -> Result<(), String> {
        let Some(record) = stanza.record else { return Ok(()) };
        let (name, version) = (value(&self.text, record.spans[0]), value(&self.text, record.spans[1]));
        if name.is_empty() || version.is_empty() || record.spans[7].length == 0 {
            return Err(format!("package `{name}` lacks `Package`, `Version` or `Filename`"));
        }
        if record.size.is_none() || record.sha256.is_none() {
            return Err(format!("package `{name}` lacks `Size` or `SHA256`"));
        }
        if record.fits {
            self.records.push(record);
        }
        Ok(())
    }

    /// Lists the packages of a name, one for each version.
    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = Package<'_>> {
        let first = self.records.partition_point(|record| value(&self.text, record.spans[0]) < name);
        let found = self.records[first..].iter().map(|record| Package { index: self, record });
        found.take_while(move |package| package.name() == name)
    }

    /// Lists the packages that provide a name.
    pub(super) fn providing(&self, name: &str) -> impl Iterator<Item = Package<'_>> {
        let first = self.provided.partition_point(|(span, _)| value(&self.text, *span) < name);
        let found = self.provided[first..].iter();
        let found = found.take_while(move |(span, _)| value(&self.text, *span) == name);
        found.map(|(_, at)| Package { index: self, record: &self.records[*at as usize] })
    }

    /// Lists all packages, by name.
    pub(super) fn packages(&self) -> impl Iterator<Item = Package<'_>> {
        self.records.iter().map(|record| Package { index: self, record })
    }
}

fn value(text: &str, span: Span) -> &str {
    &text[span.start as usize..][..span.length as usize]
}

impl<'a> Package<'a> {
    fn value(self, field: usize) -> &'a str {
        value(&self.index.text, self.record.spans[field])
    }

    pub(super) fn name(self) -> &'a str {
        self.value(0)
    }

    pub(super) fn version(self) -> &'a str {
        self.value(1)
    }

    /// What must be there, group by group.
    pub(super) fn needs(self) -> impl Iterator<Item = &'a str> {
        groups(self.value(2)).chain(groups(self.value(3)))
    }

    /// What must not be there.
    pub(super) fn refuses(self) -> impl Iterator<Item = &'a str> {
        groups(self.value(4)).chain(groups(self.value(5)))
    }

    /// What else it counts as.
    pub(super) fn provides(self) -> impl Iterator<Item = &'a str> {
        groups(self.value(6))
    }

    /// The path below the archive's root.
    pub(super) fn path(self) -> &'a str {
        self.value(7)
    }

    /// The source package that it was built from, and the version of that (policy 5.6.1): its own where none is said.
    pub(super) fn source(self) -> (&'a str, &'a str) {
        source(self.name(), self.version(), self.value(8))
    }

    pub(super) fn size(self) -> u64 {
        self.record.size.expect("each kept package has one")
    }

    pub(super) fn sha256(self) -> Sha256 {
        self.record.sha256.expect("each kept package has one")
    }

    pub(super) fn essential(self) -> bool {
        self.record.essential
    }

    /// Whether packages of other architectures may use it, which is what `:any` asks for.
    pub(super) fn allowed(self) -> bool {
        self.record.allowed
    }

    pub(super) fn priority(self) -> Priority {
        self.record.priority
    }

    /// Tells whether both are the same package of the same index.
    pub(super) fn is(self, other: Package<'_>) -> bool {
        std::ptr::eq(self.record, other.record)
    }
}

/// Gives the text of an index that is compressed with xz or gzip, or the beginning of one that is too large.
pub(in crate::fetch) fn decompressed(compressed: &[u8]) -> Result<impl BufRead, String> {
    let input: Box<dyn Read> = match compressed {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(compressed)),
        _ => {
            let stream = xz2::stream::Stream::new_stream_decoder(XZ_MEMORY, xz2::stream::CONCATENATED);
            let stream = stream.map_err(|error| error.to_string())?;
            Box::new(xz2::bufread::XzDecoder::new_stream(compressed, stream))
        }
    };
    Ok(BufReader::with_capacity(1 << 16, input.take(LARGEST)))
}

/// Reads `Source`, as policy 5.6.1 has it: `NAME` or `NAME (VERSION)`, or nothing.
pub(super) fn source<'a>(package: &'a str, version: &'a str, field: &'a str) -> (&'a str, &'a str) {
    match field.split_once('(') {
        Some((name, rest)) => (name.trim_ascii(), rest.trim_ascii().trim_end_matches(')')),
        None if field.is_empty() => (package, version),
        None => (field, version),
    }
}

/// A stanza while it is read.
struct Stanza {
    record: Option<Record>,
    /// The kept field that a continued line belongs to.
    open: Option<usize>,
}

impl Stanza {
    fn new() -> Self {
        Self { record: None, open: None }
    }

    fn line(&mut self, line: &[u8], arch: Arch, text: &mut String) -> Result<(), String> {
        let utf8 = |bytes| std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned());
        if line[0] == b' ' || line[0] == b'\t' {
            if let (Some(field), Some(record)) = (self.open, &mut self.record) {
                text.push_str(utf8(line)?);
                record.spans[field].length += line.len() as u32;
            }
            return Ok(());
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or("a line is no field")?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let record = self.record.get_or_insert_with(|| Record {
            spans: [Span::default(); 9],
            size: None,
            sha256: None,
            essential: false,
            allowed: false,
            priority: Priority::Optional,
            fits: true,
        });
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        self.open = FIELDS.iter().position(|field| is(field));
        if let Some(field) = self.open {
            record.spans[field] = Span { start: text.len() as u32, length: value.len() as u32 };
            text.push_str(utf8(value)?);
        } else if is("Size") {
            record.size = utf8(value)?.parse().ok();
        } else if is("SHA256") {
            record.sha256 = utf8(value)?.parse().ok();
        } else if is("Essential") {
            record.essential = value == b"yes";
        } else if is("Multi-Arch") {
            record.allowed = value == b"allowed";
        } else if is("Priority") {
            record.priority = match value {
                b"required" => Priority::Required,
                b"important" => Priority::Important,
                b"standard" => Priority::Standard,
                _ => Priority::Optional,
            };
        } else if is("Architecture") {
            record.fits = value == b"all" || value == arch.name().as_bytes();
        }
        Ok(())
    }
}

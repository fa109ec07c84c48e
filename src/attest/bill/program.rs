//! What programs say of what is inside them: Go's build information (`runtime/debug.BuildInfo`, in ELF section
//! `.go.buildinfo`) and cargo-auditable's list of crates (section `.dep-v0`).
//!
//! Programs are hostile: headers are followed by `object`, which checks every range; each section is read up to
//! [`LARGEST`] bytes, whatever the file says, and the rest of the file never.

use std::io::Read as _;

use object::elf::FileHeader64;
use object::endian::Endianness;
use object::read::elf::{FileHeader as _, SectionHeader as _};
use object::read::{ReadCache, ReadCacheOps, ReadRef as _};
use serde::Deserialize;

/// More than any program says of itself.
const LARGEST: u64 = 4 << 20;

/// What a program says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Program {
    /// The version of Go that compiled it, such as `1.19.8`.
    pub go: Option<String>,
    /// The Go modules in it, the main one first.
    pub modules: Vec<GoModule>,
    /// The crates in it.
    pub crates: Vec<Crate>,
}

/// A Go module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoModule {
    /// Its path.
    pub path: String,
    /// Its version; `(devel)` for what was built out of a checkout.
    pub version: String,
}

/// A crate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Crate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `crates.io`, `git`, `local` or `registry`.
    pub source: String,
    /// `build` for what only build scripts use.
    #[serde(default)]
    pub kind: Option<String>,
    /// Whether it is the program itself.
    #[serde(default)]
    pub root: bool,
}

/// Reads what a file says of itself. What is no ELF, or a damaged one, says nothing.
pub fn read(file: impl ReadCacheOps) -> Program {
    let cache = ReadCache::new(file);
    sections(&cache).unwrap_or_default()
}

fn sections<R: ReadCacheOps>(file: &ReadCache<R>) -> Option<Program> {
    if file.read_bytes_at(0, 5).ok()? != b"\x7fELF\x02" {
        return None;
    }
    let header = FileHeader64::<Endianness>::parse(file).ok()?;
    let endian = header.endian().ok()?;
    let sections = header.sections(endian, file).ok()?;
    let content = |name: &[u8]| {
        let (_, section) = sections.section_by_name(endian, name)?;
        let (offset, size) = section.file_range(endian)?;
        file.read_bytes_at(offset, size.min(LARGEST)).ok()
    };
    let mut program = Program::default();
    if let Some((go, modules)) = content(b".go.buildinfo").and_then(go) {
        program.go = go.strip_prefix("go").map(str::to_owned);
        program.modules = modules_of(&modules);
    }
    program.crates = content(b".dep-v0").and_then(crates).unwrap_or_default();
    Some(program)
}

/// Reads the section as Go 1.18 and later write it: both texts stand in it.
fn go(section: &[u8]) -> Option<(String, String)> {
    let rest = section.strip_prefix(b"\xff Go buildinf:")?;
    // Bit 1 of the second byte: no pointers, which older ones have and which lead anywhere.
    if rest.get(1)? & 2 == 0 {
        return None;
    }
    let mut rest = section.get(32..)?;
    let mut text = || {
        let (mut length, mut shift) = (0_u64, 0);
        loop {
            let (&byte, after) = rest.split_first()?;
            rest = after;
            length |= u64::from(byte & 0x7f).checked_shl(shift)?;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
            if shift > 35 {
                return None;
            }
        }
        let (text, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        rest = after;
        Some(text)
    };
    let version = String::from_utf8(text()?.to_vec()).ok()?;
    // 16 bytes on both sides mark the list for who looks for it in memory.
    let modules = text().unwrap_or_default();
    let modules = match modules.len() {
        ..33 => &[],
        length => &modules[16..length - 16],
    };
    Some((version, String::from_utf8(modules.to_vec()).ok()?))
}

/// Reads lines such as `dep\tgithub.com/x/y\tv1.2.3\th1:…`; one that begins with `=>` replaces the module before it.
fn modules_of(text: &str) -> Vec<GoModule> {
    let mut modules = Vec::new();
    for line in text.lines() {
        let mut words = line.split('\t');
        let kind = words.next();
        let (Some(path), version) = (words.next(), words.next().unwrap_or("(devel)")) else { continue };
        let module = GoModule { path: path.to_owned(), version: version.to_owned() };
        match kind {
            Some("mod" | "dep") => modules.push(module),
            Some("=>") => {
                modules.pop();
                modules.push(module);
            }
            _ => {}
        }
    }
    modules
}

#[derive(Deserialize)]
struct Audit {
    packages: Vec<Crate>,
}

fn crates(section: &[u8]) -> Option<Vec<Crate>> {
    let mut json = Vec::new();
    flate2::read::ZlibDecoder::new(section).take(LARGEST).read_to_end(&mut json).ok()?;
    let audit: Audit = serde_json::from_slice(&json).ok()?;
    Some(audit.packages.into_iter().filter(|one| one.kind.as_deref() != Some("build")).collect())
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use super::*;

    /// Makes an ELF file that has nothing but one section and the sections' names.
    fn elf(name: &str, content: &[u8]) -> Vec<u8> {
        let names = format!("\0{name}\0.shstrtab\0");
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        let table = 64 + content.len() + names.len();
        file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
        file.extend([0; 16]);
        file.extend((table as u64).to_le_bytes());
        file.extend([0, 0, 0, 0, 64, 0, 56, 0, 0, 0, 64, 0, 3, 0, 2, 0]);
        assert_eq!(file.len(), 64);
        file.extend(content);
        file.extend(names.as_bytes());
        let mut section = |name: u32, kind: u32, offset: usize, size: usize| {
            let mut header = [name.to_le_bytes(), kind.to_le_bytes()].concat();
            header.extend([0; 16]);
            header.extend((offset as u64).to_le_bytes());
            header.extend((size as u64).to_le_bytes());
            header.resize(64, 0);
            file.extend(header);
        };
        section(0, 0, 0, 0);
        section(1, 1, 64, content.len());
        section(2 + name.len() as u32, 3, 64 + content.len(), names.len());
        file
    }

    fn go_info(version: &str, modules: &str) -> Vec<u8> {
        let mut section = b"\xff Go buildinf:\x08\x02".to_vec();
        section.resize(32, 0);
        let mut text = |text: &[u8]| {
            let mut length = text.len();
            while length >= 0x80 {
                section.push(length as u8 | 0x80);
                length >>= 7;
            }
            section.push(length as u8);
            section.extend(text);
        };
        text(version.as_bytes());
        text(&[&[0x30; 16], modules.as_bytes(), &[0x31; 16]].concat());
        section
    }

    fn module(path: &str, version: &str) -> GoModule {
        GoModule { path: path.to_owned(), version: version.to_owned() }
    }

    #[test]
    fn go_programs_name_their_modules() {
        let modules = "path\texample.org/x/cmd\nmod\texample.org/x\t(devel)\t\n\
                       dep\tgithub.com/a/b\tv1.2.3\th1:x=\n\
                       dep\tgithub.com/c/d\tv0.1.0\n=>\texample.org/d\tv0.2.0\th1:y=\nbuild\tCGO_ENABLED=0\n";
        let said = read(Cursor::new(elf(".go.buildinfo", &go_info("go1.19.8", modules))));
        assert_eq!(said.go.as_deref(), Some("1.19.8"));
        assert_eq!(
            said.modules,
            [
                module("example.org/x", "(devel)"),
                module("github.com/a/b", "v1.2.3"),
                module("example.org/d", "v0.2.0")
            ]
        );
        // Built without modules.
        let said = read(Cursor::new(elf(".go.buildinfo", &go_info("go1.19.8", ""))));
        assert_eq!((said.go.as_deref(), said.modules.len()), (Some("1.19.8"), 0));
    }

    #[test]
    fn rust_programs_name_their_crates() {
        let json = r#"{"packages":[{"name":"adler","version":"1.0.2","source":"crates.io"},
            {"name":"cc","version":"1.0","source":"crates.io","kind":"build"},
            {"name":"own","version":"0.1.0","source":"local","dependencies":[0],"root":true}]}"#;
        let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(json.as_bytes()).unwrap();
        let said = read(Cursor::new(elf(".dep-v0", &writer.finish().unwrap())));
        let names: Vec<_> = said.crates.iter().map(|one| (one.name.as_str(), one.root)).collect();
        assert_eq!(names, [("adler", false), ("own", true)]);
    }

    #[test]
    fn what_is_damaged_says_nothing() {
        let whole = elf(".go.buildinfo", &go_info("go1.19.8", "mod\tx\tv1\n"));
        for length in 0..whole.len() {
            assert_eq!(read(Cursor::new(whole[..length].to_vec())), Program::default());
        }
        // A text that is said to be longer than all there is.
        let mut section = go_info("go1.19.8", "");
        section[32] = 0xff;
        assert_eq!(read(Cursor::new(elf(".go.buildinfo", &section))), Program::default());
        section.truncate(32);
        section.extend([0xff; 12]);
        assert_eq!(read(Cursor::new(elf(".go.buildinfo", &section))), Program::default());
        assert_eq!(read(Cursor::new(elf(".dep-v0", b"no zlib"))), Program::default());
        assert_eq!(read(Cursor::new(b"#!/bin/sh".to_vec())), Program::default());
    }
}

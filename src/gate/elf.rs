//! What the dynamic loader reads out of an ELF file.

use std::collections::BTreeSet;

use object::elf::{self, FileHeader32, FileHeader64};
use object::endian::Endianness;
use object::read::elf::{FileHeader, ProgramHeader as _};

/// A program or library, as its loader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Elf {
    /// `e_machine`.
    pub machine: u16,
    /// Whether addresses have 64 bits.
    pub wide: bool,
    /// `PT_INTERP`: the loader that the kernel starts.
    pub interpreter: Option<String>,
    /// `DT_NEEDED`, in order.
    pub needed: Vec<String>,
    /// `DT_RPATH`.
    pub rpath: Vec<String>,
    /// `DT_RUNPATH`, which puts `DT_RPATH` out of force.
    pub runpath: Vec<String>,
    /// Versions of symbols that it needs of its libraries: library, version.
    pub wants: Vec<(String, String)>,
    /// Versions of symbols that it has.
    pub gives: BTreeSet<String>,
}

impl Elf {
    /// Reads a file; nothing if it is no ELF.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, String> {
        if !bytes.starts_with(b"\x7fELF") {
            return Ok(None);
        }
        let read = match bytes.get(4) {
            Some(1) => read::<FileHeader32<Endianness>>(bytes, false),
            _ => read::<FileHeader64<Endianness>>(bytes, true),
        };
        read.map(Some).map_err(|error| error.to_string())
    }
}

fn read<H: FileHeader<Endian = Endianness>>(bytes: &[u8], wide: bool) -> object::read::Result<Elf> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let header = H::parse(bytes)?;
    let endian = header.endian()?;
    let mut found = Elf { machine: header.e_machine(endian).0, wide, ..Elf::default() };
    for segment in header.program_headers(endian, bytes)? {
        if let Some(path) = segment.interpreter(endian, bytes)? {
            found.interpreter = Some(text(path));
        }
    }
    let sections = header.sections(endian, bytes)?;
    let table = sections.dynamic_table(endian, bytes)?;
    for entry in &table {
        let list = |path: String| path.split(':').filter(|dir| !dir.is_empty()).map(str::to_owned).collect();
        match entry.tag {
            elf::DT_NEEDED => found.needed.push(text(table.string(entry)?)),
            elf::DT_RPATH => found.rpath = list(text(table.string(entry)?)),
            elf::DT_RUNPATH => found.runpath = list(text(table.string(entry)?)),
            _ => {}
        }
    }
    if let Some((mut needs, link)) = sections.gnu_verneed(endian, bytes)? {
        let strings = sections.strings(endian, bytes, link)?;
        while let Some((library, mut versions)) = needs.next()? {
            let library = text(library.file(endian, strings)?);
            while let Some(version) = versions.next()? {
                // The loader only warns where one that is weak is missing.
                if !version.vna_flags.get(endian).contains(elf::VER_FLG_WEAK) {
                    found.wants.push((library.clone(), text(version.name(endian, strings)?)));
                }
            }
        }
    }
    if let Some((mut definitions, link)) = sections.gnu_verdef(endian, bytes)? {
        let strings = sections.strings(endian, bytes, link)?;
        while let Some((_, mut names)) = definitions.next()? {
            // The first is the version itself, the others are what it builds on.
            if let Some(name) = names.next()? {
                found.gives.insert(text(name.name(endian, strings)?));
            }
        }
    }
    Ok(found)
}

/// Names a machine as people do.
pub(super) fn machine(number: u16) -> String {
    match elf::Machine(number) {
        elf::EM_X86_64 => "amd64".to_owned(),
        elf::EM_AARCH64 => "arm64".to_owned(),
        elf::EM_386 => "i386".to_owned(),
        elf::EM_ARM => "arm".to_owned(),
        elf::EM_RISCV => "riscv".to_owned(),
        _ => format!("machine {number}"),
    }
}

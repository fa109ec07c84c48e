//! Programs and libraries: what their loader reads, and their sections.

use std::collections::{BTreeMap, BTreeSet};

use object::elf::{self, FileHeader32, FileHeader64};
use object::endian::Endianness;
use object::read::elf::{FileHeader, ProgramHeader as _, SectionHeader as _, Sym as _};

use super::Detail;
use crate::base::Sha256;

/// What is compared of a file.
#[derive(Default)]
struct Facts {
    /// One value each.
    values: BTreeMap<&'static str, String>,
    /// Libraries, in order.
    needed: Vec<String>,
    exported: BTreeSet<String>,
    imported: BTreeSet<String>,
    /// Size and hash of each section.
    sections: BTreeMap<String, String>,
}

/// Says what differs; nothing if one can't be read.
pub(super) fn details(before: &[u8], now: &[u8]) -> Vec<Detail> {
    let (Some(before), Some(now)) = (facts(before), facts(now)) else { return Vec::new() };
    let mut details = values("", &before.values, &now.values);
    match Detail::sets("needed", &before.needed, &now.needed) {
        Some(detail) => details.push(detail),
        None if before.needed != now.needed => {
            details.push(Detail::changed("needed", before.needed.join(" "), now.needed.join(" ")));
        }
        None => {}
    }
    details.extend(Detail::sets("exported symbols", &before.exported, &now.exported));
    details.extend(Detail::sets("imported symbols", &before.imported, &now.imported));
    details.append(&mut values("section ", &before.sections, &now.sections));
    details
}

fn values<K: AsRef<str> + Ord>(
    prefix: &str,
    before: &BTreeMap<K, String>,
    now: &BTreeMap<K, String>,
) -> Vec<Detail> {
    let names: BTreeSet<&K> = before.keys().chain(now.keys()).collect();
    let differ = names.into_iter().map(|name| (name, before.get(name), now.get(name)));
    differ
        .filter(|(_, before, now)| before != now)
        .map(|(name, before, now)| {
            Detail::value(format!("{prefix}{}", name.as_ref()), before.cloned(), now.cloned())
        })
        .collect()
}

fn facts(bytes: &[u8]) -> Option<Facts> {
    match bytes.get(4) {
        Some(1) => read::<FileHeader32<Endianness>>(bytes).ok(),
        _ => read::<FileHeader64<Endianness>>(bytes).ok(),
    }
}

fn read<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> object::read::Result<Facts> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let header = H::parse(bytes)?;
    let endian = header.endian()?;
    let mut facts = Facts::default();
    facts.values.insert("machine", header.e_machine(endian).0.to_string());
    for segment in header.program_headers(endian, bytes)? {
        if let Some(path) = segment.interpreter(endian, bytes)? {
            facts.values.insert("loader", text(path));
        }
    }
    let sections = header.sections(endian, bytes)?;
    let table = sections.dynamic_table(endian, bytes)?;
    for entry in &table {
        match entry.tag {
            elf::DT_NEEDED => facts.needed.push(text(table.string(entry)?)),
            elf::DT_SONAME => _ = facts.values.insert("soname", text(table.string(entry)?)),
            elf::DT_RPATH => _ = facts.values.insert("rpath", text(table.string(entry)?)),
            elf::DT_RUNPATH => _ = facts.values.insert("runpath", text(table.string(entry)?)),
            _ => {}
        }
    }
    let symbols = sections.symbols(endian, bytes, elf::SHT_DYNSYM)?;
    let versions = sections.versions(endian, bytes)?;
    for (index, symbol) in symbols.enumerate() {
        let Ok(name) = symbols.symbol_name(endian, symbol) else { continue };
        if name.is_empty() || symbol.st_bind() == elf::STB_LOCAL {
            continue;
        }
        let version = versions.as_ref().and_then(|table| {
            let index = table.version_index(endian, index).into();
            table.version(index).ok()?
        });
        let name = match version {
            Some(version) => format!("{}@{}", text(name), text(version.name())),
            None => text(name),
        };
        let set = if symbol.is_undefined(endian) { &mut facts.imported } else { &mut facts.exported };
        set.insert(name);
    }
    for section in sections.iter() {
        let name = text(sections.section_name(endian, section)?);
        if name.is_empty() || section.sh_type(endian) == elf::SHT_NOBITS {
            continue;
        }
        let content = section.data(endian, bytes)?;
        if name == ".note.gnu.build-id" {
            // A header of twelve bytes and the name, `GNU`.
            let id = content.get(16..).unwrap_or(content);
            let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
            facts.values.insert("build ID", hex);
            continue;
        }
        let hash = Sha256::of(content).to_string();
        facts.sections.insert(name, format!("{} bytes {}", content.len(), &hash[..12]));
    }
    Ok(facts)
}

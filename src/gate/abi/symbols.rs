//! The names that a shared library gives: its dynamic symbols.

use std::collections::BTreeSet;

use object::{Object as _, ObjectSymbol as _};

/// Lists what an ELF file defines for others, or says why it is none.
pub fn symbols(library: &[u8]) -> Result<BTreeSet<String>, String> {
    let file = object::read::elf::ElfFile64::<object::Endianness>::parse(library)
        .map_err(|error| error.to_string())?;
    let defined = file.dynamic_symbols().filter(|symbol| symbol.is_definition() && symbol.is_global());
    Ok(defined.filter_map(|symbol| symbol.name().ok().map(str::to_owned)).collect())
}

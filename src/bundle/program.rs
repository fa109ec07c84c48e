//! Tells whether a program runs on a machine that has nothing else.

use std::path::Path;

use object::read::elf::{FileHeader as _, ProgramHeader as _};
use object::{Endianness, elf};

use super::Error;
use crate::base::Arch;

/// Gives the machine that a static program is for.
pub fn architecture(path: &Path) -> Result<Arch, Error> {
    let wrong = |why: &str| Error::Program { path: path.to_owned(), why: why.to_owned() };
    let file = fs_err::File::open(path).map_err(|source| Error::from_io("read", path, source))?;
    let data = object::ReadCache::new(file.into_file());
    let header = elf::FileHeader64::<Endianness>::parse(&data).map_err(|_| wrong("it is no ELF file"))?;
    let endian = header.endian().map_err(|_| wrong("it is no ELF file"))?;
    let arch = match header.e_machine(endian) {
        elf::EM_X86_64 => Arch::Amd64,
        elf::EM_AARCH64 => Arch::Arm64,
        _ => return Err(wrong("it is for neither amd64 nor arm64")),
    };
    if !matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN) {
        return Err(wrong("it is no program"));
    }
    let segments = header.program_headers(endian, &data).map_err(|_| wrong("it is no ELF file"))?;
    // A static program may be position-independent, but asks for no interpreter.
    match segments.iter().any(|segment| segment.p_type(endian) == elf::PT_INTERP) {
        true => Err(wrong("it is linked dynamically")),
        false => Ok(arch),
    }
}

//! Headers of a tar (POSIX.1-1988 `ustar`), as a function of path, size and mode.

use super::Member;

/// What everything in a tar is a multiple of.
pub(super) const RECORD: usize = 512;

/// The end of a tar.
pub(super) const END: [u8; 2 * RECORD] = [0; 2 * RECORD];

/// The largest size that eleven octal digits hold.
const OCTAL: u64 = (1 << 33) - 1;

/// Splits a path as `ustar` wants it: at most 155 bytes of folder, at most 100 of name.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.len() <= 100 {
        return Some(("", path));
    }
    let cuts = path.match_indices('/').map(|(at, _)| (&path[..at], &path[at + 1..]));
    cuts.into_iter().find(|(folder, name)| folder.len() <= 155 && name.len() <= 100)
}

/// Tells whether a path has room in a header.
pub(super) fn fits(path: &str) -> bool {
    split(path).is_some()
}

/// Makes the header of a regular file.
///
/// # Panics
///
/// If the path does not fit.
pub(super) fn of(path: &str, size: u64, executable: bool) -> [u8; RECORD] {
    let (folder, name) = split(path).expect("a path that fits");
    let mut header = [0; RECORD];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, if executable { b"0000755" } else { b"0000644" });
    put(108, b"0000000");
    put(116, b"0000000");
    if size <= OCTAL {
        put(124, format!("{size:011o}").as_bytes());
    } else {
        // GNU's form: the top bit, then the number.
        put(124, &[0x80, 0, 0, 0]);
        put(128, &size.to_be_bytes());
    }
    put(136, b"00000000000");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(345, folder.as_bytes());
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// Makes the header of a member.
pub(super) fn of_member(member: &Member) -> [u8; RECORD] {
    of(&member.path, member.size, member.executable)
}

/// Reads the path out of a header, for people.
pub(super) fn path(header: &[u8; RECORD]) -> String {
    let text = |field: &[u8]| {
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
        String::from_utf8_lossy(&field[..end]).into_owned()
    };
    let (folder, name) = (text(&header[345..500]), text(&header[..100]));
    if folder.is_empty() { name } else { format!("{folder}/{name}") }
}

/// Reads an octal size.
pub(super) fn size(header: &[u8; RECORD]) -> Option<u64> {
    let text = str::from_utf8(&header[124..135]).ok()?;
    u64::from_str_radix(text, 8).ok()
}

/// How many zeros follow content of a size.
pub(super) fn fill(size: u64) -> usize {
    (size.wrapping_neg() % RECORD as u64) as usize
}

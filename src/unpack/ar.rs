//! The `ar` container of a Debian package (deb(5)): an 8-byte magic, then members, each a 60-byte header
//! and its content, padded to an even length.

use std::io::{self, Read};

pub(super) const MAGIC: &[u8; 8] = b"!<arch>\n";

/// A member's header.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) size: u64,
}

fn wrong(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Reads the next header; nothing at the end.
pub(super) fn next(reader: &mut impl Read) -> io::Result<Option<Member>> {
    let mut header = [0; 60];
    let mut filled = 0;
    while filled < header.len() {
        match reader.read(&mut header[filled..])? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => filled += n,
        }
    }
    if header[58..] != *b"`\n" {
        return Err(wrong("member header without its end mark"));
    }
    let text = |range: std::ops::Range<usize>| std::str::from_utf8(&header[range]).map(str::trim_end);
    let name = text(0..16).map_err(|_| wrong("member name is not text"))?.trim_end_matches('/').to_owned();
    let digits = text(48..58).ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let size =
        digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| wrong("member size is no number"))?;
    Ok(Some(Member { name, size }))
}

/// Reads the byte that pads a member of odd length. It may lack at the very end.
pub(super) fn pad(reader: &mut impl Read, size: u64) -> io::Result<()> {
    if size % 2 == 1 {
        let mut byte = [0];
        if reader.read(&mut byte)? == 1 && byte != *b"\n" {
            return Err(wrong("member padding is no newline"));
        }
    }
    Ok(())
}

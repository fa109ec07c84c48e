//! Decompression with limits: compression found by content, bombs noticed, stop flag watched.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use super::Limits;
use crate::base::Cancel;

/// Memory that xz may ask for: its largest preset takes 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;
/// Largest zstd window, 128 MiB: what zstd itself accepts without `--long`.
const ZSTD_WINDOW: u32 = 27;
/// Bytes out before the ratio is looked at.
const RATIO_FROM: u64 = 16 << 20;

/// Says that a limit was met. Travels inside an `io::Error`.
#[derive(Debug, thiserror::Error)]
#[error("more than {0}")]
pub(super) struct Burst(pub(super) String);

/// Says that the caller asked to stop. Travels inside an `io::Error`.
#[derive(Debug, thiserror::Error)]
#[error("stopped")]
pub(super) struct Stopped;

/// What the compressed stream is.
pub(super) fn compression(head: &[u8]) -> Compression {
    match head {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        _ => Compression::Plain,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Plain,
    Gzip,
    Xz,
    Zstd,
}

/// Opens a stream that decompresses and holds to the limits.
pub(super) fn open<'a, R: Read + 'a>(
    input: R,
    limits: Limits,
    cancel: &'a Cancel,
) -> io::Result<Box<dyn Read + 'a>> {
    let taken = Rc::new(Cell::new(0));
    let mut input = BufReader::with_capacity(1 << 16, Counted { input, taken: Rc::clone(&taken) });
    let kind = compression(input.fill_buf()?);
    let output: Box<dyn Read + 'a> = match kind {
        Compression::Plain => Box::new(input),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Compression::Xz => {
            let stream = xz2::stream::Stream::new_stream_decoder(XZ_MEMORY, xz2::stream::CONCATENATED)?;
            Box::new(xz2::bufread::XzDecoder::new_stream(input, stream))
        }
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(ZSTD_WINDOW)?;
            Box::new(decoder)
        }
    };
    Ok(Box::new(BufReader::with_capacity(
        1 << 16,
        Metered { input: output, taken, given: 0, limits, cancel },
    )))
}

struct Counted<R> {
    input: R,
    taken: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.taken.set(self.taken.get() + count as u64);
        Ok(count)
    }
}

struct Metered<'a> {
    input: Box<dyn Read + 'a>,
    taken: Rc<Cell<u64>>,
    given: u64,
    limits: Limits,
    cancel: &'a Cancel,
}

impl Read for Metered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other(Stopped));
        }
        let count = self.input.read(buffer)?;
        self.given += count as u64;
        check(self.given, self.taken.get(), &self.limits)?;
        Ok(count)
    }
}

/// Holds bytes out and bytes in against the limits.
pub(super) fn check(given: u64, taken: u64, limits: &Limits) -> io::Result<()> {
    if given > limits.bytes {
        return Err(io::Error::other(Burst(format!("{} bytes", limits.bytes))));
    }
    if given > RATIO_FROM && given / limits.ratio.max(1) > taken {
        return Err(io::Error::other(Burst(format!("{} times its size", limits.ratio))));
    }
    Ok(())
}

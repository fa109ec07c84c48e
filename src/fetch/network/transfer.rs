//! One file on its way from a place into the store, resumed where a connection broke.

use std::io::Write as _;

use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE};
use reqwest::{RequestBuilder, StatusCode};

use super::{Ask, Client, Expected, LARGEST, Trouble, open, public};
use crate::base::Digest;
use crate::base::event::Event;
use crate::fetch::{Context, Error};
use crate::store::{self, BlobWriter};

/// An attempt that brought so much was worth it: it does not count against the place.
const WORTH: u64 = 1 << 20;

/// A file that is asked for, and what has come of it.
pub(super) struct Transfer<'a> {
    id: u64,
    expected: Expected,
    context: &'a Context<'a>,
    partial: Option<Partial<'a>>,
}

/// The first bytes of a file, from one place.
struct Partial<'a> {
    url: String,
    writer: BlobWriter<'a>,
    done: u64,
    /// Tells the server's version of the file. Without one, nothing can be added to the bytes: the rest
    /// might be another file's.
    validator: Option<HeaderValue>,
}

impl<'a> Transfer<'a> {
    pub(super) fn new(id: u64, expected: Expected, context: &'a Context<'a>) -> Self {
        Self { id, expected, context, partial: None }
    }

    /// Takes the file from this machine.
    pub(super) fn local(&mut self, url: &str) -> Result<Digest, Trouble> {
        let mut file = open(url)?;
        let mut partial = self.begin(url)?;
        self.copy(&mut file, &mut partial)?;
        self.finish(partial)
    }

    /// Asks a place for the file, or for what is missing of it.
    pub(super) fn remote(&mut self, client: &Client, url: &str, ask: &Ask<'_>) -> Result<Digest, Trouble> {
        let mut partial = match self.partial.take() {
            Some(partial) if partial.url == url && partial.validator.is_some() => partial,
            _ => self.begin(url)?,
        };
        let from = partial.done;
        let rest = |request: RequestBuilder| match (from, &partial.validator) {
            (1.., Some(validator)) => {
                request.header(RANGE, format!("bytes={from}-")).header(IF_RANGE, validator)
            }
            _ => request,
        };
        let body = match ask(client, url, &rest) {
            Ok(body) if from > 0 && body.status() == StatusCode::RANGE_NOT_SATISFIABLE => {
                return Err(Trouble::passing("has fewer bytes than it had"));
            }
            Ok(body) => body.checked(),
            Err(trouble) => Err(trouble),
        };
        let mut body = match body {
            Ok(body) => body,
            Err(trouble) => {
                self.partial = Some(partial);
                return Err(trouble);
            }
        };
        if body.status() == StatusCode::PARTIAL_CONTENT {
            if from == 0 || !continues(body.headers(), &partial) {
                return Err(Trouble::passing("gave another part than asked for"));
            }
        } else {
            if from > 0 {
                // The server starts over, so do we.
                partial = self.begin(url)?;
            }
            partial.validator = validator(body.headers());
        }
        if let Some(length) = body.length() {
            self.fits(url, partial.done.saturating_add(length))?;
        }
        let before = partial.done;
        match self.copy(&mut body, &mut partial) {
            Ok(()) => self.finish(partial),
            Err(Trouble::Passing { why, after, .. }) => {
                let moved = partial.done - before >= WORTH;
                self.partial = Some(partial);
                Err(Trouble::Passing { why, after, moved })
            }
            Err(trouble) => Err(trouble),
        }
    }

    fn begin(&self, url: &str) -> Result<Partial<'a>, Trouble> {
        let writer = self.context.store.blob_writer().map_err(|error| Trouble::Final(error.into()))?;
        Ok(Partial { url: url.to_owned(), writer, done: 0, validator: None })
    }

    /// Compares what the server says will come with what must come.
    fn fits(&self, url: &str, size: u64) -> Result<(), Trouble> {
        let wrong = |url| match self.expected.size {
            Some(expected) if size != expected => {
                Some(Error::Size { url, expected, received: format!("{size} bytes") })
            }
            None if size > LARGEST => Some(Error::TooLarge { url, limit: LARGEST }),
            _ => None,
        };
        wrong(public(url)).map_or(Ok(()), |error| Err(Trouble::Wrong(error)))
    }

    fn copy(&self, from: &mut dyn std::io::Read, to: &mut Partial<'_>) -> Result<(), Trouble> {
        let limit = self.expected.size.unwrap_or(LARGEST);
        let mut buffer = vec![0; 128 << 10];
        loop {
            if self.context.cancel.is_cancelled() {
                return Err(Trouble::Final(Error::Cancelled));
            }
            let read = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) if self.context.cancel.is_cancelled() => continue,
                Err(error) => return Err(Trouble::passing(error.to_string())),
            };
            to.done += read as u64;
            if to.done > limit {
                let url = public(&to.url);
                return Err(Trouble::Wrong(match self.expected.size {
                    Some(expected) => Error::Size { url, expected, received: "more".to_owned() },
                    None => Error::TooLarge { url, limit },
                }));
            }
            to.writer.write_all(&buffer[..read]).map_err(|error| {
                Trouble::Final(Error::Store(match error.downcast::<store::Error>() {
                    Ok(error) => error,
                    Err(error) => store::Error::from_io("write", self.context.store.path(), error),
                }))
            })?;
            self.context.events.emit(Event::Progress { id: self.id, done: to.done });
        }
        match self.expected.size {
            Some(size) if to.done < size => {
                Err(Trouble::passing(format!("ended after {} of {size} bytes", to.done)))
            }
            _ => Ok(()),
        }
    }

    fn finish(&self, partial: Partial<'_>) -> Result<Digest, Trouble> {
        let store = |error: store::Error| Trouble::Final(error.into());
        let Some(hash) = self.expected.hash else { return partial.writer.finish().map_err(store) };
        let expected = Digest { hash, size: partial.done };
        match partial.writer.finish_expecting(&expected) {
            Ok(()) => Ok(expected),
            Err(store::Error::Mismatch { received, .. }) => Err(Trouble::Wrong(Error::Hash {
                url: public(&partial.url),
                expected: hash,
                received: received.hash,
            })),
            Err(error) => Err(store(error)),
        }
    }
}

/// What tells a version of a file for `If-Range` (RFC 9110, 13.1.5): a weak tag can't.
fn validator(headers: &HeaderMap) -> Option<HeaderValue> {
    let strong = headers.get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
    strong.or_else(|| headers.get(LAST_MODIFIED)).cloned()
}

/// Tells whether an answer goes on where the bytes end, with the same version of the file.
fn continues(headers: &HeaderMap, partial: &Partial<'_>) -> bool {
    let range = headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let here = range.is_some_and(|range| range.starts_with(&format!("bytes {}-", partial.done)));
    let version = validator(headers);
    here && (version.is_none() || version == partial.validator)
}

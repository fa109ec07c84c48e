//! Folders that a server lists as a page of links, or that this machine has.

use percent_encoding::percent_decode_str;

use crate::fetch::network::{Trouble, is_local, local_path, read_small};
use crate::fetch::{Context, Error};

/// Lists the names in a folder. `urls` are places that may have it and end in `/`.
pub(super) fn names(who: &str, urls: &[String], context: &Context<'_>) -> Result<Vec<String>, Error> {
    let network = context.network;
    network.allowed(who)?;
    let list = |url: &str| {
        if is_local(url) {
            return entries(url);
        }
        let _slot = network.slot(url, context.cancel)?;
        let client = network.client()?;
        let body = client.send(client.get(url), context.cancel)?.checked()?;
        Ok(links(&String::from_utf8_lossy(&read_small(body)?)))
    };
    network.try_all(who, urls, list, context)
}

fn entries(url: &str) -> Result<Vec<String>, Trouble> {
    let lasting = |why: String| Trouble::Lasting(why);
    let entries = fs_err::read_dir(local_path(url)?).map_err(|error| lasting(error.to_string()))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect::<std::io::Result<_>>().map_err(|error| lasting(error.to_string()))
}

/// Gives the last part of each link of an HTML page, without what stands behind `?` or `#`.
fn links(page: &str) -> Vec<String> {
    let lower = page.to_ascii_lowercase();
    let mut names = Vec::new();
    for (at, key) in lower.match_indices("href") {
        let Some(value) = page[at + key.len()..].trim_start().strip_prefix('=') else { continue };
        let value = value.trim_start();
        let quote = value.chars().next().filter(|first| matches!(first, '"' | '\''));
        let link = match quote {
            Some(quote) => value[1..].split(quote).next(),
            None => value.split(|c: char| c.is_ascii_whitespace() || c == '>').next(),
        };
        let link = link.and_then(|link| link.split(['?', '#']).next()).unwrap_or_default();
        let name = link.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        if !name.is_empty() {
            names.push(percent_decode_str(name).decode_utf8_lossy().into_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_whoever_wrote_it() {
        let page = r#"<html><a href="../">Parent</a> <A HREF='x-1.0.tar.gz'>x</A> <a class=a href=x-1.1.tar.gz>x</a>
            <a href = "/pub/x/x-1.2%2Bb.tar.gz?C=N;O=D">x</a> <a href="https://x.example/x-1.3.tar.gz#top">x</a>
            <a href="1.4/">1.4/</a> href <a href="">nothing</a> <a href="é">"#;
        assert_eq!(
            links(page),
            ["..", "x-1.0.tar.gz", "x-1.1.tar.gz", "x-1.2+b.tar.gz", "x-1.3.tar.gz", "1.4", "é"]
        );
        assert_eq!(links("<a href=\"unended"), ["unended"]);
    }
}

//! Changes of an image's recipe that leave the rest of the text as it stands.

use toml_edit::{Array, DocumentMut, Item, RawString, TableLike, Value, value};

use super::Error;

/// An image's recipe, as people wrote it.
pub(super) struct Recipe {
    file: String,
    document: DocumentMut,
}

impl Recipe {
    /// Parses the text of a recipe that was read before.
    pub(super) fn parse(file: &str, text: &[u8]) -> Result<Self, Error> {
        let shape = || Error::Shape { file: file.to_owned() };
        let text = std::str::from_utf8(text).map_err(|_| shape())?;
        Ok(Self { file: file.to_owned(), document: text.parse().map_err(|_| shape())? })
    }

    /// Adds a runtime at the end, in the style of the array.
    pub(super) fn add_runtime(&mut self, name: &str) -> Result<(), Error> {
        push(self.runtimes()?, name);
        Ok(())
    }

    /// Makes these the runtimes.
    pub(super) fn set_runtimes(&mut self, names: &[String]) -> Result<(), Error> {
        let array = self.runtimes()?;
        let now: Vec<_> = array.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        if now != names {
            array.clear();
            names.iter().for_each(|name| push(array, name));
        }
        Ok(())
    }

    /// Makes the image the one that is built when no target is given.
    pub(super) fn set_default(&mut self) {
        if self.document.get("default").and_then(Item::as_bool) != Some(true) {
            self.document["default"] = value(true);
        }
    }

    /// Gives the text.
    pub(super) fn text(&self) -> String {
        self.document.to_string()
    }

    fn runtimes(&mut self) -> Result<&mut Array, Error> {
        let file = self.file.clone();
        let node = self.document.get_mut("node").and_then(Item::as_table_like_mut);
        let array = node.map(|node: &mut dyn TableLike| {
            node.entry("runtimes").or_insert_with(|| value(Array::new())).as_array_mut()
        });
        array.flatten().ok_or(Error::Shape { file })
    }
}

/// Adds an element: on a line of its own where the array has lines, comments where they are.
fn push(array: &mut Array, name: &str) {
    let text = |raw: Option<&RawString>| raw.and_then(RawString::as_str).unwrap_or_default().to_owned();
    let mut after = text(Some(array.trailing()));
    let last = array.len().checked_sub(1);
    let before = last.and_then(|last| array.get(last)).map(|last| text(last.decor().prefix()));
    if let Some(last) = last.filter(|_| !array.trailing_comma()).and_then(|last| array.get_mut(last)) {
        // A comma will stand between it and what follows.
        after.insert_str(0, &text(last.decor().suffix()));
        last.decor_mut().set_suffix("");
    }
    let indent = before.as_deref().and_then(|before| before.rsplit_once('\n')).map(|(_, indent)| indent);
    if indent.is_some() || after.contains('\n') {
        let prefix = format!("{}\n{}", after.trim_end(), indent.unwrap_or("    "));
        array.push_formatted(Value::from(name).decorated(prefix, ""));
        array.set_trailing("\n");
        array.set_trailing_comma(true);
    } else {
        let prefix = if before.is_some() { " " } else { "" };
        array.push_formatted(Value::from(name).decorated(prefix, ""));
        array.set_trailing(after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(text: &str) -> String {
        let mut recipe = Recipe::parse("recipes/images/node.toml", text.as_bytes()).unwrap();
        recipe.add_runtime("new").unwrap();
        recipe.text()
    }

    #[test]
    fn a_runtime_is_added_in_the_style_of_the_file() {
        for (before, after) in [
            (
                "# head\n[node] # here\nruntimes = [\"a\"] # tail\n",
                "# head\n[node] # here\nruntimes = [\"a\", \"new\"] # tail\n",
            ),
            ("[node]\nruntimes = [ \"a\", \"b\" ]\n", "[node]\nruntimes = [ \"a\", \"b\", \"new\" ]\n"),
            ("[node]\nruntimes = []\n", "[node]\nruntimes = [\"new\"]\n"),
            (
                "[node]\nruntimes = [\n    # none yet\n]\n",
                "[node]\nruntimes = [\n    # none yet\n    \"new\",\n]\n",
            ),
            ("[node]\nkubernetes = \"k\"\n", "[node]\nkubernetes = \"k\"\nruntimes = [\"new\"]\n"),
            ("node = { kubernetes = \"k\" }\n", "node = { kubernetes = \"k\" , runtimes = [\"new\"] }\n"),
            (
                "[node]\nruntimes = [\n  \"a\", # one\n  \"b\", # two\n]\n# end\n",
                "[node]\nruntimes = [\n  \"a\", # one\n  \"b\", # two\n  \"new\",\n]\n# end\n",
            ),
            (
                "[node]\nruntimes = [\n    \"a\",\n    \"b\" # two\n]\n",
                "[node]\nruntimes = [\n    \"a\",\n    \"b\", # two\n    \"new\",\n]\n",
            ),
        ] {
            assert_eq!(added(before), after);
            assert!(after.parse::<toml::Table>().is_ok());
        }
    }

    #[test]
    fn what_is_no_array_is_refused() {
        let mut recipe = Recipe::parse("recipes/images/node.toml", b"[node]\nruntimes = \"a\"\n").unwrap();
        assert_eq!(
            recipe.add_runtime("new").unwrap_err().to_string(),
            "`runtimes` of `[node]` in `recipes/images/node.toml` is no array of names"
        );
    }

    #[test]
    fn the_same_runtimes_change_nothing() {
        let text = "[node]\nruntimes = [ \"a\" ] # why\n";
        let mut recipe = Recipe::parse("node.toml", text.as_bytes()).unwrap();
        recipe.set_runtimes(&["a".to_owned()]).unwrap();
        assert_eq!(recipe.text(), text);
        recipe.set_runtimes(&["b".to_owned(), "c".to_owned()]).unwrap();
        recipe.set_default();
        assert_eq!(recipe.text(), "default = true\n[node]\nruntimes = [\"b\", \"c\"] # why\n");
    }
}

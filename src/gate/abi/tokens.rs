//! C text → tokens, tolerantly: what is no C is a mark like any other.

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// An identifier or keyword.
    Word(String),
    /// A number, as written.
    Number(String),
    /// A string's content, escapes as written.
    Text(String),
    /// Anything else: one character, or `##` or `...`.
    Mark(&'static str),
}

impl Token {
    pub(super) fn word(&self) -> Option<&str> {
        match self {
            Token::Word(word) => Some(word),
            _ => None,
        }
    }

    pub(super) fn is(&self, mark: &str) -> bool {
        matches!(self, Token::Mark(own) if *own == mark)
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        self.word() == Some(word)
    }
}

/// Marks of one character that mean something in a declaration or in a preprocessor's condition.
const MARKS: [(&str, char); 24] = [
    ("(", '('),
    (")", ')'),
    ("[", '['),
    ("]", ']'),
    ("{", '{'),
    ("}", '}'),
    (",", ','),
    (";", ';'),
    (":", ':'),
    ("*", '*'),
    ("=", '='),
    ("&", '&'),
    ("|", '|'),
    ("!", '!'),
    ("<", '<'),
    (">", '>'),
    ("+", '+'),
    ("-", '-'),
    ("/", '/'),
    ("%", '%'),
    ("#", '#'),
    (".", '.'),
    ("^", '^'),
    ("~", '~'),
];

/// Splits a text without comments.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = |is_in: &dyn Fn(char) -> bool| rest.find(|c| !is_in(c)).unwrap_or(rest.len());
        let word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let (token, used) = match first {
            c if c.is_whitespace() => (None, c.len_utf8()),
            c if c.is_ascii_digit() => {
                let used = length(&|c| word(c) || c == '.');
                (Some(Token::Number(rest[..used].to_owned())), used)
            }
            c if word(c) => {
                let used = length(&word);
                (Some(Token::Word(rest[..used].to_owned())), used)
            }
            '"' => {
                let end = closing(rest, '"');
                (Some(Token::Text(rest[1..end].to_owned())), (end + 1).min(rest.len()))
            }
            // A character is as good a number as any.
            '\'' => (Some(Token::Number("1".to_owned())), (closing(rest, '\'') + 1).min(rest.len())),
            _ if rest.starts_with("##") => (Some(Token::Mark("##")), 2),
            _ if rest.starts_with("...") => (Some(Token::Mark("...")), 3),
            c => {
                let mark = MARKS.iter().find(|(_, mark)| *mark == c).map_or("?", |(text, _)| text);
                (Some(Token::Mark(mark)), c.len_utf8())
            }
        };
        found.extend(token);
        rest = &rest[used..];
    }
    found
}

/// Finds the quote that ends what `text` starts with; the text's end where there is none.
fn closing(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at,
            _ => {}
        }
    }
    text.len()
}

/// Takes comments out and puts continued lines together: what is left is one logical line a line.
pub(super) fn lines(text: &str) -> Vec<String> {
    let text = text.replace("\r\n", "\n").replace("\\\n", "");
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find(['/', '"', '\'']) {
        let (before, from) = rest.split_at(at);
        plain.push_str(before);
        let used = if from.starts_with("//") {
            from.find('\n').unwrap_or(from.len())
        } else if let Some(inside) = from.strip_prefix("/*") {
            plain.push(' ');
            inside.find("*/").map_or(from.len(), |end| end + 4)
        } else {
            let used = match from.chars().next() {
                // A quote that no line of its own closes is an apostrophe.
                Some(quote @ ('"' | '\'')) => {
                    let end = closing(from, quote);
                    if from[..end].contains('\n') { 1 } else { (end + 1).min(from.len()) }
                }
                _ => 1,
            };
            plain.push_str(&from[..used]);
            used
        };
        rest = &from[used..];
    }
    plain.push_str(rest);
    plain.lines().map(str::to_owned).collect()
}

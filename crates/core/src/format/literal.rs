//! Python literals, as far as the header of an npy file needs them.
//!
//! numpy reads that text with `ast.literal_eval`, so files by other hands may hold whatever Python allows: comments,
//! `u''`, strings in pieces, `0x10`, `1_000`, brackets around anything. Read here is every value that numpy accepts as
//! a part of a header. Left out are floats, complex numbers, bytes and sets, which it accepts nowhere, and what no
//! program writes: rare escapes in strings, a backslash at the end of a line, a sign before a bracket.
//!
//! Numbers of Python 2 (`3L`) are read on demand, as numpy does for old versions of the format.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::error::clip;

/// How deep brackets may be nested: as in Python itself.
const MAX_DEPTH: usize = 200;

/// A Python value. The pairs of a dict are in the order of the text: of equal keys the last one counts.
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Str(String),
    Tuple(Vec<Value>),
    List(Vec<Value>),
    Dict(Vec<(String, Value)>),
}

impl Value {
    /// What kind of value this is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "True or False",
            Self::Int(_) => "a number",
            Self::Str(_) => "a string",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dict",
        }
    }
}

/// Reads a text that is one value; the error says what was found and what was expected.
pub(super) fn parse(text: &str, python2: bool) -> Result<Value, String> {
    if text.contains('\0') {
        return Err("a NUL character in its text; expected a Python dict and spaces".to_owned());
    }
    let text = text.trim_start_matches([' ', '\t']).replace("\r\n", "\n").replace('\r', "\n");
    let mut reader = Reader { rest: &text, python2 };
    reader.blank_lines(false)?;
    let value = reader.value(MAX_DEPTH)?;
    reader.blank_lines(python2)?;
    if reader.rest.is_empty() { Ok(value) } else { Err(reader.expected("nothing after the value")) }
}

struct Reader<'a> {
    rest: &'a str,
    python2: bool,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, String> {
        let depth = depth.checked_sub(1).ok_or_else(|| format!("brackets nested deeper than {MAX_DEPTH}"))?;
        if self.eat('(') {
            let (mut items, comma) = self.sequence(')', |reader| reader.value(depth))?;
            // Without a comma it is a value in brackets.
            return Ok(match items.pop() {
                Some(item) if items.is_empty() && !comma => item,
                last => Value::Tuple(items.into_iter().chain(last).collect()),
            });
        }
        if self.eat('[') {
            return Ok(Value::List(self.sequence(']', |reader| reader.value(depth))?.0));
        }
        if self.eat('{') {
            return Ok(Value::Dict(self.sequence('}', |reader| reader.pair(depth))?.0));
        }
        if let Some(raw) = self.at_string() {
            return self.string(raw).map(Value::Str);
        }
        if self.eat('-') {
            return Ok(Value::Int(self.number()?.saturating_neg()));
        }
        if self.eat('+') || self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            return self.number().map(Value::Int);
        }
        let start = self.rest;
        match self.word() {
            "None" => Ok(Value::None),
            "True" => Ok(Value::Bool(true)),
            "False" => Ok(Value::Bool(false)),
            _ => {
                self.rest = start;
                Err(self.expected("a string, a whole number, True, False, None, a tuple, a list or a dict"))
            }
        }
    }

    fn pair(&mut self, depth: usize) -> Result<(String, Value), String> {
        let Value::Str(key) = self.value(depth)? else {
            return Err(self.expected("a string for a key before this"));
        };
        if !self.eat(':') {
            return Err(self.expected("':' after a key"));
        }
        Ok((key, self.value(depth)?))
    }

    /// Reads items and commas up to `close`; tells whether the last of them was a comma.
    fn sequence<T>(
        &mut self,
        close: char,
        item: impl Fn(&mut Self) -> Result<T, String>,
    ) -> Result<(Vec<T>, bool), String> {
        let (mut items, mut comma) = (Vec::new(), false);
        while !self.eat(close) {
            if !items.is_empty() && !comma {
                return Err(self.expected(&format!("',' or '{close}'")));
            }
            items.push(item(self)?);
            comma = self.eat(',');
        }
        Ok((items, comma))
    }

    fn number(&mut self) -> Result<i64, String> {
        self.skip_blank();
        let start = self.rest;
        let word = self.word();
        let number = if self.python2 { word.strip_suffix('L').unwrap_or(word) } else { word };
        whole_number(&number.to_ascii_lowercase()).ok_or_else(|| {
            self.rest = start;
            self.expected("a whole number below 2^63")
        })
    }

    /// Goes to the quote of a string that starts here; tells whether it is a raw one.
    fn at_string(&mut self) -> Option<bool> {
        self.skip_blank();
        let quoted = self.rest.strip_prefix(['u', 'U', 'r', 'R']).unwrap_or(self.rest);
        if !quoted.starts_with(['\'', '"']) {
            return None;
        }
        let raw = self.rest.starts_with(['r', 'R']);
        self.rest = quoted;
        Some(raw)
    }

    /// Reads a string from its first quote on, and the strings right after it, which belong to it.
    fn string(&mut self, mut raw: bool) -> Result<String, String> {
        let mut string = String::new();
        loop {
            self.piece(raw, &mut string)?;
            match self.at_string() {
                Some(next) => raw = next,
                None => return Ok(string),
            }
        }
    }

    fn piece(&mut self, raw: bool, string: &mut String) -> Result<(), String> {
        let unended = "a string has no closing quote";
        let opening = |quote| Some((quote, self.rest.strip_prefix(quote)?));
        let (quote, rest) = ["'''", "\"\"\"", "'", "\""].into_iter().find_map(opening).ok_or(unended)?;
        self.rest = rest;
        loop {
            if let Some(rest) = self.rest.strip_prefix(quote) {
                self.rest = rest;
                return Ok(());
            }
            match self.next().ok_or(unended)? {
                '\n' if quote.len() == 1 => return Err(unended.to_owned()),
                '\\' if raw => string.extend(['\\', self.next().ok_or(unended)?]),
                '\\' => string.extend(self.escape()?),
                other => string.push(other),
            }
        }
    }

    /// Reads what follows a backslash: the escapes that Python's own `repr` writes.
    fn escape(&mut self) -> Result<Option<char>, String> {
        let start = self.rest;
        let char = match self.next() {
            Some('\n') => return Ok(None),
            Some(same @ ('\\' | '\'' | '"')) => Some(same),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('x') => self.hex(2),
            Some('u') => self.hex(4),
            Some('U') => self.hex(8),
            _ => None,
        };
        char.map(Some).ok_or_else(|| {
            self.rest = start;
            self.expected("after a backslash one of \\ ' \" n r t x u U")
        })
    }

    fn hex(&mut self, len: usize) -> Option<char> {
        let (digits, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        let digits = Some(digits).filter(|digits| digits.chars().all(|c| c.is_ascii_hexdigit()))?;
        char::from_u32(u32::from_str_radix(digits, 16).ok()?)
    }

    /// Takes letters, digits and underscores.
    fn word(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end).unwrap_or_default();
        self.rest = rest;
        word
    }

    /// Takes `char` if it comes next.
    fn eat(&mut self, char: char) -> bool {
        self.skip_blank();
        let rest = self.rest.strip_prefix(char);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }

    fn skip_blank(&mut self) {
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\x0c']);
            let Some(comment) = self.rest.strip_prefix('#') else {
                return;
            };
            self.rest = comment.split_once('\n').map_or("", |(_, next_line)| next_line);
        }
    }

    /// Skips what is blank outside of brackets. Python refuses an indented line there, even one without an end; numpy's
    /// second look at old versions forgives it after the value.
    fn blank_lines(&mut self, forgiving: bool) -> Result<(), String> {
        let start = self.rest;
        self.skip_blank();
        let skipped = start.strip_suffix(self.rest).unwrap_or_default();
        if !forgiving && skipped.contains(['\n', '\x0c']) && skipped.ends_with([' ', '\t']) {
            return Err("a line of its text is indented, which Python refuses outside of brackets".to_owned());
        }
        Ok(())
    }

    fn expected(&self, what: &str) -> String {
        match self.rest {
            "" => format!("its text ends; expected {what}"),
            rest => format!("found {:?}; expected {what}", clip(rest)),
        }
    }
}

/// Reads a number as Python writes it, in lower case and without a sign.
fn whole_number(text: &str) -> Option<i64> {
    let prefixed = |prefix, radix| text.strip_prefix(prefix).map(|digits| (radix, digits));
    let (radix, digits) = prefixed("0x", 16)
        .or_else(|| prefixed("0o", 8))
        .or_else(|| prefixed("0b", 2))
        .map_or((10, text), |(radix, digits)| (radix, digits.strip_prefix('_').unwrap_or(digits)));
    if digits.split('_').any(str::is_empty) {
        return None;
    }
    let number = i64::from_str_radix(&digits.replace('_', ""), radix).ok()?;
    // 012 was octal once and is nothing now.
    (radix != 10 || !digits.starts_with('0') || number == 0).then_some(number)
}

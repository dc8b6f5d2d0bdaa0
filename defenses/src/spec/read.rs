//! The grammar, read by hand, so that an error has a position and never repeats a key.

use super::{Parameter, Part, Spec, Value, error_at, is_of_name, quoted_name};
use crate::Error;
use crate::key::{self, PREFIX};

/// The names that exist. It is asked in reading order, so that the first mistake is the one that is reported. A name
/// is empty if it is missing.
pub(crate) trait Vocabulary {
    /// Refuses the name of a defense.
    fn defense(&self, name: &str, position: usize) -> Result<(), Error>;

    /// Refuses the name of a parameter of the defense `of`, which was not refused.
    fn parameter(&self, of: &str, name: &str, position: usize) -> Result<(), Error>;
}

/// Accepts every name.
pub(super) struct Any;

impl Vocabulary for Any {
    fn defense(&self, name: &str, position: usize) -> Result<(), Error> {
        if name.is_empty() {
            return Err(error_at(position, "expected a defense; `none` is the empty stack"));
        }
        Ok(())
    }

    fn parameter(&self, of: &str, name: &str, position: usize) -> Result<(), Error> {
        if name.is_empty() {
            let of = quoted_name(of, "this defense");
            return Err(error_at(position, format!("expected a parameter of {of}")));
        }
        Ok(())
    }
}

pub(crate) fn spec(text: &str, vocabulary: &dyn Vocabulary) -> Result<Spec, Error> {
    let mut cursor = Cursor { text, at: 0, vocabulary };
    let mut parts = Vec::new();
    loop {
        parts.extend(part(&mut cursor)?);
        if !cursor.eat('|') {
            break;
        }
    }
    cursor.skip_white_space();
    if cursor.rest().is_empty() { Ok(Spec { parts }) } else { Err(cursor.error("expected `|` or the end")) }
}

fn part(cursor: &mut Cursor<'_>) -> Result<Option<Part>, Error> {
    let (name, position) = cursor.name()?;
    if name == "none" {
        return Ok(None);
    }
    cursor.vocabulary.defense(name, position)?;
    if !cursor.eat('(') {
        let after = quoted_name(name, "the name of a defense");
        return Err(cursor.error(format!("expected `(` after {after}")));
    }
    let parameters = parameters(cursor, name)?;
    Ok(Some(Part { name: name.to_owned(), parameters, position }))
}

fn parameters(cursor: &mut Cursor<'_>, of: &str) -> Result<Vec<Parameter>, Error> {
    let mut list: Vec<Parameter> = Vec::new();
    if cursor.eat(')') {
        return Ok(list);
    }
    loop {
        let parameter = parameter(cursor, of)?;
        if list.iter().any(|earlier| earlier.name == parameter.name) {
            let name = quoted_name(&parameter.name, "this parameter");
            return Err(parameter.error(format!("{name} is given twice")));
        }
        list.push(parameter);
        if cursor.eat(')') {
            return Ok(list);
        }
        if !cursor.eat(',') {
            return Err(cursor.error("expected `,` or `)`"));
        }
    }
}

fn parameter(cursor: &mut Cursor<'_>, of: &str) -> Result<Parameter, Error> {
    let (name, position) = cursor.name()?;
    cursor.vocabulary.parameter(of, name, position)?;
    if !cursor.eat('=') {
        let after = quoted_name(name, "the name of a parameter");
        return Err(cursor.error(format!("expected `=` after {after}")));
    }
    Ok(Parameter { name: name.to_owned(), value: cursor.value()?, position })
}

const ESCAPES: &str = r#"in quotes, write `\\` for a backslash and `\"` for a quotation mark"#;

/// The reader's position.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
    vocabulary: &'a dyn Vocabulary,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_white_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn eat(&mut self, mark: char) -> bool {
        self.skip_white_space();
        let found = self.rest().starts_with(mark);
        if found {
            self.at += mark.len_utf8();
        }
        found
    }

    /// A name, which may be missing, and its position.
    fn name(&mut self) -> Result<(&'a str, usize), Error> {
        self.skip_white_space();
        let (rest, position) = (self.rest(), self.position());
        let name = &rest[..rest.find(|c| !is_of_name(c)).unwrap_or(rest.len())];
        refuse_key(name, position)?;
        self.at += name.len();
        Ok((name, position))
    }

    fn value(&mut self) -> Result<Value, Error> {
        self.skip_white_space();
        let (rest, position) = (self.rest(), self.position());
        let end = rest.find([',', ')', '"']).unwrap_or(rest.len());
        self.at += end;
        let text = if rest[end..].starts_with('"') {
            let before = &rest[..end];
            if !before.is_empty() && !before.ends_with(':') {
                return Err(self.error("quotes hold a whole value, or all of it after `env:` or `file:`"));
            }
            before.to_owned() + &self.quoted()?
        } else {
            rest[..end].trim_end().to_owned()
        };
        refuse_key(&text, position)?;
        Ok(Value::at(text, position))
    }

    /// Reads what is between quotes; the reader is at the first.
    fn quoted(&mut self) -> Result<String, Error> {
        let opening = self.position();
        self.at += 1;
        let mut text = String::new();
        let mut marks = self.rest().char_indices();
        while let Some((at, mark)) = marks.next() {
            match mark {
                '"' => {
                    self.at += at + 1;
                    return Ok(text);
                }
                '\\' => {
                    let Some((_, escaped @ ('"' | '\\'))) = marks.next() else {
                        self.at += at;
                        return Err(self.error(ESCAPES));
                    };
                    text.push(escaped);
                }
                other => text.push(other),
            }
        }
        Err(error_at(opening, "these quotes are not closed"))
    }

    fn position(&self) -> usize {
        self.text[..self.at].chars().count() + 1
    }

    fn error(&mut self, message: impl Into<String>) -> Error {
        self.skip_white_space();
        error_at(self.position(), message)
    }
}

fn refuse_key(text: &str, position: usize) -> Result<(), Error> {
    let digits = text.rsplit(':').next().unwrap_or(text);
    let is_digits = digits.len() >= 2 * key::BYTES && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if text.contains(PREFIX) || is_digits {
        Err(error_at(position, "a key does not belong in a spec: name it as `env:NAME` or `file:PATH`"))
    } else {
        Ok(())
    }
}

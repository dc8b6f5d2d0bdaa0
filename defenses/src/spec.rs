//! Specs as values: which defenses a stack has, with which parameters.

mod noise;
mod read;
mod value;

use std::fmt;
use std::str::FromStr;

pub(crate) use read::{Vocabulary, spec as read};
pub use value::{Kind, Value};

use crate::Error;

/// A name longer than this is not repeated in a message, because it may be a key in the wrong place.
const LONGEST_SHOWN: usize = 24;

/// The spec of a stack as a value: the text `rotation(key=env:EMBOSK_KEY) | gaussian(sigma=0.01)`, parsed.
///
/// ```text
/// spec      = part *("|" part)
/// part      = "none" | name "(" [parameter *("," parameter)] ")"
/// parameter = name "=" value
/// value     = text up to "," or ")"  |  quoted  |  "env:" quoted  |  "file:" quoted
/// quoted    = '"' text '"'           in which \" is a quotation mark and \\ a backslash
/// ```
///
/// White space is allowed between any two of these. `none` is the spec without parts. A name consists of
/// ASCII letters, digits and `_`.
///
/// A spec does not know which defenses exist: a [`Registry`](crate::Registry) builds a [`Stack`](crate::Stack) from
/// it. `Display` prints a text that parses to an equal spec, with quotes only if a value needs them.
///
/// A spec names keys and never contains one: a text that looks like a key is refused.
///
/// ```
/// use embosk_defenses::Spec;
/// use embosk_defenses::spec::Kind;
///
/// let spec: Spec = r#"rotation(key=file:"keys (1)/k") | gaussian(sigma=0.01)"#.parse()?;
/// let key = spec.parts()[0].find("key").map(|value| value.kind());
/// assert_eq!(key, Some(Kind::File("keys (1)/k")));
/// assert_eq!(spec.to_string(), r#"rotation(key=file:"keys (1)/k") | gaussian(sigma=0.01)"#);
/// assert_eq!(spec.redacted().to_string(), "rotation(key=…) | gaussian(sigma=0.01)");
/// # Ok::<(), embosk_defenses::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    parts: Vec<Part>,
}

impl Spec {
    /// Creates the spec without parts, `none`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the spec with `part` after its other parts.
    pub fn with(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }

    /// Returns the parts, in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Returns whether there are no parts.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Iterates over all values, in the order in which they are written.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.parts.iter().flat_map(Part::parameters).map(Parameter::value)
    }

    /// Iterates mutably over all values, to [replace](Value::replace) some.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        self.parts.iter_mut().flat_map(|part| &mut part.parameters).map(|parameter| &mut parameter.value)
    }

    /// Returns the spec with `…` in place of each key's fingerprint.
    ///
    /// Two stacks that differ only in their keys have equal specs without keys. A stack with a key and one
    /// without still differ.
    #[must_use]
    pub fn without_keys(&self) -> Self {
        let mut spec = self.clone();
        for value in spec.values_mut().filter(|value| matches!(value.kind(), Kind::Fingerprint(_))) {
            value.replace(value::HIDDEN);
        }
        spec
    }

    /// Returns a `Display` that prints `…` in place of each value that says where a key or a fit is kept, or
    /// which one it is.
    pub fn redacted(&self) -> impl fmt::Display + '_ {
        Shown { spec: self, redacted: true }
    }

    /// Reads what a defense prints. A text outside the grammar becomes one part with its leading name, and
    /// with the whole text as the parameter `printed` unless the name is the whole text.
    pub(crate) fn of_printed(text: &str) -> Self {
        text.parse().ok().filter(|spec: &Self| !spec.parts.is_empty()).unwrap_or_else(|| {
            let end = text.find(|c: char| !is_of_name(c)).unwrap_or(text.len());
            let part = Part::new(if end == 0 { "own" } else { &text[..end] });
            Self::new().with(if end == text.len() && end > 0 && text != "none" {
                part
            } else {
                part.with("printed", text)
            })
        })
    }
}

impl From<Part> for Spec {
    fn from(part: Part) -> Self {
        Self { parts: vec![part] }
    }
}

impl FromIterator<Part> for Spec {
    fn from_iter<I: IntoIterator<Item = Part>>(parts: I) -> Self {
        Self { parts: parts.into_iter().collect() }
    }
}

impl FromStr for Spec {
    type Err = Error;

    /// Reads a spec without asking whether its defenses exist.
    ///
    /// # Errors
    /// [`Error::Spec`] with the position, in characters, of the first text outside the grammar. The message
    /// repeats no value.
    fn from_str(text: &str) -> Result<Self, Error> {
        read(text, &read::Any)
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown { spec: self, redacted: false }.fmt(f)
    }
}

/// One defense of a spec: its name and its parameters.
#[derive(Clone)]
pub struct Part {
    name: String,
    parameters: Vec<Parameter>,
    position: usize,
}

impl Part {
    /// Creates a part without parameters. A character that a name cannot have becomes `_`. An empty name and `none`,
    /// which stands for the empty stack, become `own`.
    pub fn new(name: &str) -> Self {
        let name = if name.is_empty() || name == "none" { "own".to_owned() } else { as_name(name) };
        Self { name, parameters: Vec::new(), position: 0 }
    }

    /// Returns the part with a parameter added, or with a new value for one that it already has.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        let (name, value) = (as_name(name), value.into());
        match self.parameters.iter_mut().find(|parameter| parameter.name == name) {
            Some(parameter) => parameter.value = value,
            None => self.parameters.push(Parameter { name, value, position: 0 }),
        }
        self
    }

    /// Returns the part without the parameter `name`.
    pub(crate) fn without(&self, name: &str) -> Self {
        let mut part = self.clone();
        part.parameters.retain(|parameter| parameter.name != name);
        part
    }

    /// Returns the name, such as `rotation`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the parameters, in the order in which they are written.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Returns the value of the parameter `name`, if it is given.
    pub fn find(&self, name: &str) -> Option<&Value> {
        self.parameters.iter().find(|parameter| parameter.name == name).map(Parameter::value)
    }

    /// Returns where the part begins in the text that it was read from, in characters, counted from 1. It is
    /// 0 for a part that was not read from a text.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Returns an error that points at the part.
    pub fn error(&self, message: impl Into<String>) -> Error {
        error_at(self.position, message)
    }
}

/// Two parts are equal if their names and parameters are equal, wherever they were read.
impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.parameters == other.parameters
    }
}

impl Eq for Part {}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f, false)
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f, true)
    }
}

/// A parameter of a part: a name and a value.
#[derive(Clone, Debug)]
pub struct Parameter {
    name: String,
    value: Value,
    position: usize,
}

impl Parameter {
    /// Returns the name, such as `sigma`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the value.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Returns where the name begins: see [`Part::position`].
    pub fn position(&self) -> usize {
        self.position
    }

    /// Returns an error that points at the name.
    pub fn error(&self, message: impl Into<String>) -> Error {
        error_at(self.position, message)
    }
}

impl PartialEq for Parameter {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.value == other.value
    }
}

impl Eq for Parameter {}

struct Shown<'a> {
    spec: &'a Spec,
    redacted: bool,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.spec.parts.split_first() else {
            return f.write_str("none");
        };
        first.show(f, self.redacted)?;
        rest.iter().try_for_each(|part| {
            f.write_str(" | ")?;
            part.show(f, self.redacted)
        })
    }
}

impl Part {
    fn show(&self, f: &mut fmt::Formatter<'_>, redacted: bool) -> fmt::Result {
        write!(f, "{}(", self.name)?;
        for (at, Parameter { name, value, .. }) in self.parameters.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            match value.redacted() {
                Some(shown) if redacted => write!(f, "{comma}{name}={shown}")?,
                _ => write!(f, "{comma}{name}={value}")?,
            }
        }
        f.write_str(")")
    }
}

pub(crate) fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn as_name(text: &str) -> String {
    text.chars().map(|c| if is_of_name(c) { c } else { '_' }).collect()
}

/// Returns the name in backticks, or `instead` if it is too long to be repeated.
pub(crate) fn quoted_name(name: &str, instead: &str) -> String {
    if name.len() <= LONGEST_SHOWN { format!("`{name}`") } else { instead.to_owned() }
}

pub(crate) fn error_at(position: usize, message: impl Into<String>) -> Error {
    Error::Spec { position, message: message.into() }
}

//! What a client asks for, read field by field.
//!
//! A field that is not known might change the vectors, so it is refused by name. Errors say where something is wrong and
//! repeat nothing else.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::error::Refusal;

/// Fields that are read here.
pub(super) const READ: [&str; 4] = ["model", "input", "encoding_format", "dimensions"];

/// Fields that are passed on to the upstream as they are: texts, numbers, true or false. A local embedder refuses all but
/// the first, which changes no vector.
const FORWARDED: [&str; 6] = ["user", "input_type", "task", "truncate", "truncation", "prompt_name"];

/// The longest name of an unknown field that an error shows.
const LONGEST_SHOWN: usize = 40;

/// The most bytes of the model's name, and of a text that is passed on.
const LONGEST_TEXT: usize = 1024;

/// The most dimensions that can be asked for.
const MOST_DIMENSIONS: u32 = 65_536;

/// The body of a request.
#[derive(Debug)]
pub(super) struct Asked {
    /// As it was written, with the role if it names one.
    pub(super) model: Option<String>,
    pub(super) input: Input,
    pub(super) is_base64: bool,
    pub(super) dimensions: Option<usize>,
    pub(super) forwarded: Map<String, Value>,
}

/// What is to be embedded, serialized as it was written.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Input {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
    TokenLists(Vec<Vec<u32>>),
}

impl Input {
    /// How many vectors are asked for.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(_) | Self::Tokens(_) => 1,
            Self::Texts(texts) => texts.len(),
            Self::TokenLists(lists) => lists.len(),
        }
    }

    /// The texts; none if the inputs are tokens.
    pub(super) fn texts(&self) -> Option<Vec<&str>> {
        match self {
            Self::Text(text) => Some(vec![text]),
            Self::Texts(texts) => Some(texts.iter().map(String::as_str).collect()),
            Self::Tokens(_) | Self::TokenLists(_) => None,
        }
    }

    /// Puts a prompt before each text. Returns false if the inputs are tokens and there is a prompt.
    pub(super) fn begin_with(&mut self, prompt: &str) -> bool {
        match self {
            _ if prompt.is_empty() => true,
            Self::Text(text) => {
                text.insert_str(0, prompt);
                true
            }
            Self::Texts(texts) => {
                for text in texts {
                    text.insert_str(0, prompt);
                }
                true
            }
            Self::Tokens(_) | Self::TokenLists(_) => false,
        }
    }

    /// Each input as bytes: the letter t and its text, or the letter n and its tokens, four bytes each, the lowest first.
    pub(super) fn bytes(&self) -> Vec<Vec<u8>> {
        let text = |text: &String| [b"t", text.as_bytes()].concat();
        let tokens = |tokens: &Vec<u32>| {
            let numbers = tokens.iter().flat_map(|token| token.to_le_bytes());
            std::iter::once(b'n').chain(numbers).collect()
        };
        match self {
            Self::Text(one) => vec![text(one)],
            Self::Texts(texts) => texts.iter().map(text).collect(),
            Self::Tokens(one) => vec![tokens(one)],
            Self::TokenLists(lists) => lists.iter().map(tokens).collect(),
        }
    }
}

/// Reads a body with at most `most` inputs.
pub(super) fn read(body: &[u8], most: usize) -> Result<Asked, Refusal> {
    let notes = Notes { most, field: Cell::new(""), refusal: Cell::new(None) };
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = reader.deserialize_map(Fields(&notes)).and_then(|asked| reader.end().map(|()| asked));
    read.map_err(|error| {
        notes.refusal.take().unwrap_or_else(|| {
            let refusal = Refusal::bad(
                "invalid_json",
                format!(
                    "the body is not a request for embeddings: it cannot be read at line {}, column {}",
                    error.line(),
                    error.column()
                ),
            );
            match notes.field.get() {
                "" => refusal,
                field => refusal.param(field),
            }
        })
    })
}

/// What the reader knows beside the place: errors of serde carry a text, which may repeat what was read.
struct Notes {
    most: usize,
    field: Cell<&'static str>,
    refusal: Cell<Option<Refusal>>,
}

impl Notes {
    fn refuse<E: serde::de::Error>(&self, refusal: Refusal) -> E {
        self.refusal.set(Some(refusal));
        E::custom("refused")
    }

    fn bad<E: serde::de::Error>(&self, param: &'static str, message: impl Into<String>) -> E {
        self.refuse(Refusal::bad("invalid_value", message.into()).param(param))
    }

    fn check_length<E: serde::de::Error>(&self, field: &'static str, text: &str) -> Result<(), E> {
        if text.len() <= LONGEST_TEXT {
            return Ok(());
        }
        Err(self.bad(field, format!("`{field}` has more than {LONGEST_TEXT} bytes; shorten it")))
    }
}

struct Fields<'a>(&'a Notes);

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = Asked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Asked, M::Error> {
        let notes = self.0;
        let (mut model, mut input, mut format, mut dimensions) = (None, None, None, None);
        let (mut forwarded, mut seen) = (Map::new(), BTreeSet::new());
        while let Some(name) = map.next_key::<String>()? {
            let Some(field) = READ.into_iter().chain(FORWARDED).find(|known| *known == name) else {
                // null asks for nothing
                if map.next_value::<Option<IgnoredAny>>()?.is_some() {
                    return Err(notes.refuse(unknown(&name)));
                }
                continue;
            };
            notes.field.set(field);
            if !seen.insert(field) {
                return Err(notes.bad(field, format!("`{field}` is there twice; give it once")));
            }
            match field {
                "model" => {
                    model = map.next_value::<Option<String>>()?;
                    notes.check_length(field, model.as_deref().unwrap_or_default())?;
                }
                "input" => input = Some(map.next_value_seed(Inputs(notes))?),
                "encoding_format" => format = map.next_value::<Option<String>>()?,
                "dimensions" => dimensions = map.next_value::<Option<u32>>()?,
                _ => {
                    if let Some(value) = map.next_value_seed(Forwarded { notes, field })? {
                        forwarded.insert(name, value);
                    }
                }
            }
            notes.field.set("");
        }
        let is_base64 = match format.as_deref() {
            None | Some("float") => false,
            Some("base64") => true,
            Some(_) => return Err(notes.bad("encoding_format", "`encoding_format` must be float or base64")),
        };
        if dimensions.is_some_and(|asked| asked == 0 || asked > MOST_DIMENSIONS) {
            let range = format!("`dimensions` must be from 1 to {MOST_DIMENSIONS}");
            return Err(notes.bad("dimensions", range));
        }
        let Some(input) = input else {
            return Err(notes.bad("input", "`input` is missing: a text, a list of texts, or tokens"));
        };
        let dimensions = dimensions.map(|asked| asked as usize);
        Ok(Asked { model, input, is_base64, dimensions, forwarded })
    }
}

/// Names an unknown field, if it looks like the name of one.
fn unknown(name: &str) -> Refusal {
    let is_name = name.len() <= LONGEST_SHOWN
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let field = if is_name { format!("the field `{name}`") } else { "a field".to_owned() };
    Refusal::bad(
        "unsupported_parameter",
        format!("{field} is not known here, and might change the vectors; leave it out"),
    )
}

/// Reads a field that is passed on. Lists and objects are refused unread: they would take many times their length in
/// memory.
struct Forwarded<'a> {
    notes: &'a Notes,
    field: &'static str,
}

impl Forwarded<'_> {
    fn refuse<E: serde::de::Error>(&self) -> E {
        let field = self.field;
        self.notes.bad(field, format!("`{field}` must be a text, a number, true or false"))
    }
}

impl<'de> DeserializeSeed<'de> for Forwarded<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Value>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Forwarded<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, true or false")
    }

    // null asks for nothing
    fn visit_unit<E: serde::de::Error>(self) -> Result<Option<Value>, E> {
        Ok(None)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Option<Value>, E> {
        Ok(Some(value.into()))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Option<Value>, E> {
        Ok(Some(value.into()))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Option<Value>, E> {
        Ok(Some(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Option<Value>, E> {
        Ok(Some(value.into()))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Option<Value>, E> {
        self.notes.check_length(self.field, text)?;
        Ok(Some(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Option<Value>, A::Error> {
        Err(self.refuse())
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Option<Value>, A::Error> {
        Err(self.refuse())
    }
}

/// Reads `input`.
struct Inputs<'a>(&'a Notes);

impl<'de> DeserializeSeed<'de> for Inputs<'_> {
    type Value = Input;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Input, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Inputs<'_> {
    type Value = Input;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a list of texts, or tokens")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Input, E> {
        Ok(Input::Text(text.to_owned()))
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Input, E> {
        Ok(Input::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Input, A::Error> {
        let Some(first) = list.next_element::<Item>()? else {
            return Err(self.0.bad("input", "`input` is empty; give at least one text"));
        };
        let most = self.0.most;
        let too_many = || {
            let why = format!("`input` has more than {most} inputs; send them in several requests");
            self.0.refuse(Refusal::bad("too_many_inputs", why).param("input"))
        };
        match first {
            Item::Text(text) => rest(list, text, most, too_many).map(Input::Texts),
            Item::Tokens(tokens) => rest(list, tokens, most, too_many).map(Input::TokenLists),
            // as many tokens as the body holds are one input
            Item::Token(token) => rest(list, token, usize::MAX, too_many).map(Input::Tokens),
        }
    }
}

/// The rest of a list, of the kind of its first item.
fn rest<'de, A: SeqAccess<'de>, T: serde::Deserialize<'de>>(
    mut list: A,
    first: T,
    most: usize,
    too_many: impl Fn() -> A::Error,
) -> Result<Vec<T>, A::Error> {
    let mut all = vec![first];
    while let Some(next) = list.next_element()? {
        if all.len() >= most {
            return Err(too_many());
        }
        all.push(next);
    }
    Ok(all)
}

/// The first item of a list, which decides what the others are.
enum Item {
    Text(String),
    Token(u32),
    Tokens(Vec<u32>),
}

impl<'de> serde::Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Items)
    }
}

struct Items;

impl<'de> Visitor<'de> for Items {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a token, or a list of tokens")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Item, E> {
        Ok(Item::Text(text.to_owned()))
    }

    fn visit_u64<E: serde::de::Error>(self, token: u64) -> Result<Item, E> {
        u32::try_from(token).map(Item::Token).map_err(|_| E::custom("it is no token"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Item, A::Error> {
        let mut tokens = Vec::new();
        while let Some(token) = list.next_element()? {
            tokens.push(token);
        }
        if tokens.is_empty() { Err(A::Error::custom("it has no tokens")) } else { Ok(Item::Tokens(tokens)) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn asked(body: &str) -> Result<Asked, String> {
        read(body.as_bytes(), 3).map_err(|refusal| format!("{refusal:?}"))
    }

    #[test]
    fn inputs_are_read_and_written_as_they_were() {
        for input in [r#""a""#, r#"["a","b","c"]"#, "[1,2,3,4,5]", "[[1,2],[3]]"] {
            let read =
                asked(&format!(r#"{{"model":"m","input":{input},"user":null,"other":null}}"#)).unwrap();
            assert_eq!(serde_json::to_string(&read.input).unwrap(), input);
            assert!(!read.is_base64 && read.dimensions.is_none() && read.forwarded.is_empty());
        }
        let full =
            r#"{"input":"a","encoding_format":"base64","dimensions":8,"user":"u","input_type":"query"}"#;
        let full = asked(full).unwrap();
        assert_eq!((full.is_base64, full.dimensions, full.forwarded.len()), (true, Some(8), 2));
        assert_ne!(asked(r#"{"input":"a"}"#).unwrap().input.bytes(), [b"na"]);
        let passed = r#"{"task":"t","truncate":true,"truncation":-1,"user":0.5,"prompt_name":7}"#;
        let forwarded = asked(&passed.replace('{', r#"{"input":"a","#)).unwrap().forwarded;
        assert_eq!(Value::Object(forwarded), serde_json::from_str::<Value>(passed).unwrap());
    }

    #[test]
    fn what_is_kept_beside_the_inputs_is_short() {
        for field in ["model", "task", "user"] {
            let of_length = |length| asked(&format!(r#"{{"input":"a","{field}":"{}"}}"#, "a".repeat(length)));
            of_length(LONGEST_TEXT).unwrap();
            let message = of_length(LONGEST_TEXT + 1).unwrap_err();
            assert!(message.contains(&format!("`{field}` has more than 1024 bytes")), "{message}");
        }
        assert!(read(br#"{"input":["a","b"]}"#, 0).is_err());
    }

    #[test]
    fn bad_requests_are_refused_without_their_content() {
        for (body, expected) in [
            ("", "line 1, column 0"),
            ("{", "line 1"),
            ("[]", "line 1"),
            (r#"{"model":"m"}"#, "`input` is missing"),
            (r#"{"input":null}"#, "param: Some(\"input\")"),
            (r#"{"input":[]}"#, "`input` is empty"),
            (r#"{"input":[[]]}"#, "param: Some(\"input\")"),
            (r#"{"input":["planted",1]}"#, "param: Some(\"input\")"),
            (r#"{"input":[1,"planted"]}"#, "param: Some(\"input\")"),
            (r#"{"input":[-1]}"#, "param: Some(\"input\")"),
            (r#"{"input":[5000000000]}"#, "param: Some(\"input\")"),
            (r#"{"input":{"planted":1}}"#, "param: Some(\"input\")"),
            (r#"{"input":["planted","b","c","d"]}"#, "more than 3 inputs"),
            (r#"{"input":"planted","input":"b"}"#, "`input` is there twice"),
            (r#"{"input":"a","model":["planted"]}"#, "param: Some(\"model\")"),
            (r#"{"input":"a","encoding_format":"planted"}"#, "float or base64"),
            (r#"{"input":"a","dimensions":0}"#, "from 1 to"),
            (r#"{"input":"a","task":["planted"]}"#, "`task` must be a text"),
            (r#"{"input":"a","user":{"planted":1}}"#, "`user` must be a text"),
            (r#"{"input":"a","dimensions":-1}"#, "param: Some(\"dimensions\")"),
            (r#"{"input":"a","output_dtype":"int8"}"#, "the field `output_dtype`"),
            (r#"{"input":"a","Planted text":1}"#, "a field is not known"),
            (r#"{"input":"a"} planted"#, "line 1"),
        ] {
            let message = asked(body).unwrap_err();
            assert!(message.contains(expected), "{body}: {message}");
            assert!(!message.to_lowercase().contains("planted"), "{message}");
        }
    }
}

//! The answer of a service, read with suspicion. No error holds anything of the answer's content.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ndarray::{Array2, ArrayView1};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::error::Category;

/// Why an answer cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It ends in the middle; another attempt may help.
    Short,
    /// It is not what was asked for.
    Wrong(String),
}

/// Reads the vectors of `texts` texts, `[texts, dim]`, in the order of the texts.
pub(super) fn read(body: &[u8], texts: usize) -> Result<Array2<f32>, Fault> {
    Ok(read_counted(body, texts)?.0)
}

/// The same, and how many tokens the service says that it read.
pub(crate) fn read_counted(body: &[u8], texts: usize) -> Result<(Array2<f32>, Option<u64>), Fault> {
    let answer: Answer = serde_json::from_slice(body).map_err(|error| match error.classify() {
        Category::Eof => Fault::Short,
        _ => wrong(format!(
            "the answer is not what OpenAI's /v1/embeddings gives: it cannot be read at line {}, column {} (a number that \
             is not finite is no JSON either)",
            error.line(),
            error.column()
        )),
    })?;
    let rows = answer.data;
    if rows.len() != texts {
        return Err(wrong(format!("{texts} texts were sent, and the answer has {} vectors", rows.len())));
    }
    let places = places(&rows)?;
    let dimension = rows.first().map_or(0, |row| row.embedding.0.len());
    if dimension == 0 && texts > 0 {
        return Err(wrong("the answer's vectors have no coordinates".into()));
    }
    let mut vectors = Array2::zeros((texts, dimension));
    for (Row { embedding: Values(values), .. }, place) in rows.iter().zip(places) {
        if values.len() != dimension {
            return Err(wrong(format!(
                "the answer's vectors differ in dimension: {dimension} and {}",
                values.len()
            )));
        }
        if values.iter().any(|value| !value.is_finite()) {
            return Err(wrong(format!("vector {place} of the answer holds a value that is not finite")));
        }
        vectors.row_mut(place).assign(&ArrayView1::from(values));
    }
    Ok((vectors, answer.usage.and_then(|usage| usage["total_tokens"].as_u64())))
}

/// Where each row belongs. An answer without any index is in order.
fn places(rows: &[Row]) -> Result<Vec<usize>, Fault> {
    if rows.iter().all(|row| row.index.is_none()) {
        return Ok((0..rows.len()).collect());
    }
    let mut seen = vec![false; rows.len()];
    let place = |row: &Row| {
        let place = row.index.filter(|&place| place < rows.len() && !seen[place]);
        let place = place
            .ok_or_else(|| wrong("the answer's indices are not those of the texts, each once".into()))?;
        seen[place] = true;
        Ok(place)
    };
    rows.iter().map(place).collect()
}

fn wrong(message: String) -> Fault {
    Fault::Wrong(message)
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Row>,
    /// Anything: not every service counts.
    #[serde(default)]
    usage: Option<Value>,
}

#[derive(Deserialize)]
struct Row {
    embedding: Values,
    index: Option<usize>,
}

/// A list of numbers, or their little-endian bytes in Base64.
struct Values(Vec<f32>);

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Numbers)
    }
}

struct Numbers;

impl<'de> Visitor<'de> for Numbers {
    type Value = Values;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, or their bytes in Base64")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Values, A::Error> {
        let mut values = Vec::with_capacity(list.size_hint().unwrap_or(1024));
        // read as `f64`, which is faster for the digits that services write
        while let Some(value) = list.next_element::<f64>()? {
            values.push(value as f32);
        }
        Ok(Values(values))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Values, E> {
        let bytes = STANDARD.decode(text).map_err(|_| E::custom("it is not Base64"))?;
        if bytes.len() % 4 != 0 {
            return Err(E::custom("its bytes are not those of 32-bit numbers"));
        }
        let number = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        Ok(Values(bytes.chunks_exact(4).map(number).collect()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn vectors_stand_where_their_index_says() {
        let expected = array![[1.0, 2.0], [0.1, -4e-5]];
        for body in [
            r#"{"data":[{"embedding":[1,2],"index":0},{"embedding":[0.1,-4e-5],"index":1}],"model":"m"}"#,
            r#"{"data":[{"index":1,"embedding":[0.1,-0.00004]},{"index":0,"embedding":[1.0,2.0]}]}"#,
            r#"{"object":"list","data":[{"embedding":[1,2]},{"embedding":[0.1,-4e-5]}],"usage":{"total_tokens":2}}"#,
            r#"{"data":[{"embedding":"AACAPwAAAEA=","index":0},{"embedding":[0.1,-4e-5],"index":1}]}"#,
        ] {
            assert_eq!(read(body.as_bytes(), 2).unwrap(), expected);
        }
    }

    #[test]
    fn what_was_not_asked_for_is_refused_without_repeating_it() {
        for (body, part) in [
            (r#"{"data":[{"embedding":[1],"index":0}]}"#, "2 texts were sent, and the answer has 1"),
            (r#"{"data":[{"embedding":[1],"index":0},{"embedding":[1],"index":0}]}"#, "indices"),
            (r#"{"data":[{"embedding":[1],"index":0},{"embedding":[1],"index":2}]}"#, "indices"),
            (r#"{"data":[{"embedding":[1],"index":0},{"embedding":[1]}]}"#, "indices"),
            (r#"{"data":[{"embedding":[1],"index":0},{"embedding":[1,2],"index":1}]}"#, "dimension: 1 and 2"),
            (r#"{"data":[{"embedding":[],"index":0},{"embedding":[],"index":1}]}"#, "no coordinates"),
            (r#"{"data":[{"embedding":[NaN],"index":0},{"embedding":[1],"index":1}]}"#, "line 1, column"),
            (r#"{"data":[{"embedding":[null],"index":0},{"embedding":[1],"index":1}]}"#, "cannot be read"),
            (r#"{"data":[{"embedding":[1e99],"index":0},{"embedding":[1],"index":1}]}"#, "not finite"),
            (r#"{"data":[{"embedding":"AADAfw==","index":0},{"embedding":[1],"index":1}]}"#, "not finite"),
            (r#"{"data":[{"embedding":"hunter2","index":0},{"embedding":[1],"index":1}]}"#, "cannot be read"),
            (r#"{"error":{"message":"hunter2"}}"#, "cannot be read"),
            ("<html>hunter2</html>", "cannot be read"),
        ] {
            let Err(Fault::Wrong(message)) = read(body.as_bytes(), 2) else { panic!("{body}") };
            assert!(message.contains(part) && !message.contains("hunter2"), "{message}");
        }
        assert_eq!(read(br#"{"data":[{"embedding":[1,"#, 1), Err(Fault::Short));
        assert_eq!(read(b"", 1), Err(Fault::Short));
    }
}

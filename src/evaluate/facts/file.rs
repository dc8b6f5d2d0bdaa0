//! The file of offsets: where documents hold something personal.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;

use super::Fact;
use crate::Error;
use crate::lines::{Field, Record, bad_line, records};

/// One line: `{"_id": "7", "start": 0, "end": 3, "kind": "person"}`, in characters, the end not included. `"line": 7`
/// in place of `_id` counts the documents from 1.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "_id")]
    id: Option<String>,
    #[serde(rename = "line")]
    number: Option<usize>,
    start: usize,
    end: usize,
    kind: String,
}

impl Record for Line {
    const FIELDS: &'static [Field] = &[
        Field::text("_id").optional(),
        Field::count("line").optional(),
        Field::count("start"),
        Field::count("end"),
        Field::text("kind"),
    ];
}

/// Reads the facts of each document; `ids` and `texts` are those of the corpus.
pub(in crate::evaluate) fn read(
    path: &Path,
    ids: &[String],
    texts: &[String],
) -> Result<Vec<Vec<Fact>>, Error> {
    let positions: HashMap<&str, usize> = ids.iter().enumerate().map(|(at, id)| (id.as_str(), at)).collect();
    let mut facts = vec![Vec::new(); texts.len()];
    let mut is_empty = true;
    for (number, line) in (1..).zip(records::<Line>(path)?) {
        let line = line?;
        let bad = |message: &str| bad_line(path, number, message);
        let document = document(&line, &positions, texts.len()).map_err(bad)?;
        let fact = fact(&line, &texts[document]).map_err(bad)?;
        facts[document].push(fact);
        is_empty = false;
    }
    if is_empty {
        return Err(Error::file(path, "it is empty; it holds a fact a line"));
    }
    for facts in &mut facts {
        facts.sort_by_key(|fact| (fact.span.start, fact.span.end));
        facts.dedup();
    }
    Ok(facts)
}

fn document(line: &Line, positions: &HashMap<&str, usize>, documents: usize) -> Result<usize, &'static str> {
    match (&line.id, line.number) {
        (Some(id), None) => positions
            .get(id.as_str())
            .copied()
            .ok_or("the corpus holds no document with its _id; is it the file of another corpus?"),
        (None, Some(number)) => number
            .checked_sub(1)
            .filter(|&document| document < documents)
            .ok_or("the corpus has no such line; the field \"line\" counts its documents from 1"),
        _ => Err("it must name its document by either of the fields \"_id\" and \"line\""),
    }
}

fn fact(line: &Line, text: &str) -> Result<Fact, &'static str> {
    let kind = line.kind.trim().to_lowercase();
    if kind.is_empty() {
        return Err("its kind is empty; name the kind of fact, such as person");
    }
    let span = bytes(text, line.start, line.end);
    let span = span.ok_or("its span is empty or ends beyond its text; offsets count characters from 0")?;
    Ok(Fact::new(kind, span))
}

/// The bytes of a span of characters.
fn bytes(text: &str, start: usize, end: usize) -> Option<Range<usize>> {
    let more = end.checked_sub(start)?.checked_sub(1)?;
    let mut offsets = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    Some(offsets.nth(start)?..offsets.nth(more)?)
}

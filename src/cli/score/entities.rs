//! The offsets file: where each pair's texts hold something personal.

use std::ops::Range;
use std::path::Path;

use serde::Deserialize;

use super::Pair;
use crate::cli::error::CliError;
use crate::evaluate::text::spans;
use crate::lines::{Field, Record, records};

/// The entities of one pair.
pub(super) struct Entities<'a> {
    /// Those of the true text.
    pub(super) input: Vec<&'a str>,
    /// Those of the recovered text. `None` if they are not labelled.
    pub(super) output: Option<Vec<&'a str>>,
}

/// One line: `{"input": [[0, 3], [14, 18, "PLACE"]], "output": [[0, 3]]}`, in characters, the end not included.
#[derive(Deserialize)]
struct Line {
    input: Vec<Span>,
    output: Option<Vec<Span>>,
}

const SPANS: &str = "spans, each [start, end] or [start, end, label]";

impl Record for Line {
    const FIELDS: &'static [Field] = &[Field::list("input", SPANS), Field::list("output", SPANS).optional()];
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Span {
    Plain(usize, usize),
    /// An entity with a label, which is only for people.
    Labelled(usize, usize, serde::de::IgnoredAny),
}

impl Span {
    fn range(&self) -> Range<usize> {
        match *self {
            Self::Plain(start, end) | Self::Labelled(start, end, _) => start..end,
        }
    }
}

/// Reads one line for each pair.
pub(super) fn read<'a>(path: &Path, pairs: &'a [Pair]) -> Result<Vec<Entities<'a>>, CliError> {
    let lines = records(path)?.collect::<Result<Vec<Line>, _>>()?;
    if lines.len() != pairs.len() {
        let (lines, pairs) = (lines.len(), pairs.len());
        return Err(CliError::new(format!("{}: {lines} lines, but there are {pairs} pairs", path.display())));
    }
    let entities = |((line, pair), number): ((Line, &'a Pair), usize)| {
        cut(&line, pair)
            .map_err(|message| CliError::new(format!("{}, line {number}: {message}", path.display())))
    };
    lines.into_iter().zip(pairs).zip(1..).map(entities).collect()
}

fn cut<'a>(line: &Line, pair: &'a Pair) -> Result<Entities<'a>, &'static str> {
    let cut = |text: &'a str, labelled: &[Span]| {
        spans(text, &labelled.iter().map(Span::range).collect::<Vec<_>>())
            .ok_or("a span is empty or ends beyond its text; offsets count characters from 0")
    };
    Ok(Entities {
        input: cut(&pair.input, &line.input)?,
        output: line.output.as_ref().map(|labelled| cut(&pair.output, labelled)).transpose()?,
    })
}

//! The offsets file: where each pair's texts hold something personal.

use std::ops::Range;
use std::path::Path;

use serde::Deserialize;

use super::{Pair, object};
use crate::cli::error::CliError;
use crate::evaluate::corpus::read_texts;
use crate::evaluate::text::spans;

/// The entities of one pair.
pub(super) struct Entities<'a> {
    /// Those of the true text.
    pub(super) input: Vec<&'a str>,
    /// Those of the recovered text. `None` where they are not labelled.
    pub(super) output: Option<Vec<&'a str>>,
}

/// One line: `{"input": [[0, 3], [14, 18, "PLACE"]], "output": [[0, 3]]}`, in characters, the end not included.
#[derive(Deserialize)]
struct Line {
    input: Vec<Span>,
    output: Option<Vec<Span>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Span {
    Plain(usize, usize),
    /// What it is called is for people, and counts for nothing.
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
    let lines = read_texts(path)?;
    if lines.len() != pairs.len() {
        let (lines, pairs) = (lines.len(), pairs.len());
        return Err(CliError::new(format!("{}: {lines} lines, but there are {pairs} pairs", path.display())));
    }
    let entities = |((line, pair), number): ((&String, &'a Pair), usize)| {
        parse(line, pair)
            .map_err(|message| CliError::new(format!("{}, line {number}: {message}", path.display())))
    };
    lines.iter().zip(pairs).zip(1..).map(entities).collect()
}

fn parse<'a>(line: &str, pair: &'a Pair) -> Result<Entities<'a>, &'static str> {
    let line: Line = object(line).ok_or(
        r#"it is not a JSON object with a list of spans "input", each [start, end] or [start, end, label]"#,
    )?;
    let cut = |text: &'a str, labelled: &[Span]| {
        spans(text, &labelled.iter().map(Span::range).collect::<Vec<_>>())
            .ok_or("a span is empty or ends beyond its text; offsets count characters from 0")
    };
    Ok(Entities {
        input: cut(&pair.input, &line.input)?,
        output: line.output.map(|labelled| cut(&pair.output, &labelled)).transpose()?,
    })
}

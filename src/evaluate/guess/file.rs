//! What was guessed on, text by text.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::Questions;
use crate::Error;
use crate::evaluate::Corpus;
use crate::partial::{self, Readers};

/// What one adversary guessed under one defense: the position of a candidate for each attacked text.
pub(in crate::evaluate) struct Guesses {
    pub(in crate::evaluate) defense: String,
    pub(in crate::evaluate) adversary: String,
    pub(in crate::evaluate) of_texts: Vec<Option<usize>>,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "_id")]
    id: &'a str,
    /// The document's position in the corpus, from 0.
    document: usize,
    kind: &'a str,
    before: &'a str,
    after: &'a str,
    candidates: &'a [String],
    answer: usize,
    guesses: Vec<Guess<'a>>,
}

#[derive(Serialize)]
struct Guess<'a> {
    defense: &'a str,
    adversary: &'a str,
    #[serde(rename = "guess")]
    candidate: usize,
}

/// Writes a JSON object for each text with a fact. The file holds the texts, so only its owner may read it.
pub(in crate::evaluate) fn write(
    path: &Path,
    questions: &Questions,
    corpus: &Corpus,
    rows: &[Guesses],
) -> Result<(), Error> {
    let guesses = |at: usize| {
        let of_row = |row: &'_ Guesses| row.of_texts[at];
        let guessed = rows.iter().filter_map(|row| Some((row, of_row(row)?)));
        guessed
            .map(|(row, candidate)| Guess { defense: &row.defense, adversary: &row.adversary, candidate })
            .collect()
    };
    let line = |(at, question): (usize, &Option<super::Question>)| {
        let question = question.as_ref()?;
        let (before, after) = question.template(corpus);
        let line = Line {
            id: &corpus.ids()[question.document],
            document: question.document,
            kind: &question.fact.kind,
            before,
            after,
            candidates: &question.candidates,
            answer: question.answer,
            guesses: guesses(at),
        };
        Some(serde_json::to_string(&line))
    };
    let lines: Vec<String> = questions
        .of_texts
        .iter()
        .enumerate()
        .filter_map(line)
        .collect::<Result<_, _>>()
        .map_err(|error| Error::file(path, error))?;
    partial::write(path, Readers::Owner, |file| lines.iter().try_for_each(|line| writeln!(file, "{line}")))
        .map_err(|error| Error::file(path, error))
}

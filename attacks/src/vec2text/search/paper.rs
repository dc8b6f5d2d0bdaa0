//! The loop as it was published, so that numbers can be compared with others': no best-ever, no early
//! stop, no local search.

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use embosk_models::t5::{EOS, PAD};
use ndarray::{Array1, ArrayView2};

use super::super::generate::{Continuation, Length, beams, likeliest};
use super::super::{model_error, pad, vocabulary};
use super::{Search, stack};
use crate::{Error, Inversion};

/// One vector's hypotheses: one after the zero step, then one for each beam.
struct Row {
    estimate: Array1<f32>,
    target: Array1<f32>,
    hypotheses: Vec<Hypothesis>,
    steps: Vec<String>,
    queries: usize,
}

struct Hypothesis {
    candidate: Continuation,
    text: String,
    vector: Array1<f32>,
    cosine: f32,
}

pub(super) fn invert(
    search: &mut Search<'_, '_>,
    estimates: ArrayView2<'_, f32>,
    targets: ArrayView2<'_, f32>,
) -> Result<Vec<Inversion>, Error> {
    let mut rows = begin(search, estimates, targets)?;
    let steps = if search.attack.corrector.is_some() { search.attack.steps } else { 0 };
    for step in 1..=steps {
        correct(search, &mut rows, step == steps)?;
    }
    Ok(rows.into_iter().map(Row::into_inversion).collect())
}

/// The zero step.
fn begin(
    search: &mut Search<'_, '_>,
    estimates: ArrayView2<'_, f32>,
    targets: ArrayView2<'_, f32>,
) -> Result<Vec<Row>, Error> {
    let pairs = estimates.rows().into_iter().zip(targets.rows());
    let mut rows: Vec<Row> = pairs
        .map(|(estimate, target)| Row {
            estimate: estimate.to_owned(),
            target: target.to_owned(),
            hypotheses: Vec::new(),
            steps: Vec::new(),
            queries: 0,
        })
        .collect();
    let found = likeliest_of_each(search, &rows)?;
    keep_best(search, &mut rows, found, 1)?;
    Ok(rows)
}

/// Runs a step; after the last one, a single hypothesis is left.
fn correct(search: &mut Search<'_, '_>, rows: &mut [Row], last: bool) -> Result<(), Error> {
    let found = corrections(search, rows)?;
    keep_best(search, rows, found, if last { 1 } else { search.attack.beam_width })
}

/// The inverter's likeliest text of each row.
fn likeliest_of_each(search: &Search<'_, '_>, rows: &[Row]) -> Result<Vec<Vec<Continuation>>, Error> {
    let attack = search.attack;
    let all: Vec<usize> = (0..rows.len()).collect();
    let length = Length { min: 1, max: attack.max_length };
    let found = search.attack.in_batches(&attack.inverter.t5, &all, |part| {
        let estimates = stack(part.iter().map(|&row| rows[row].estimate.view()))?;
        likeliest(&attack.inverter.t5, &attack.inverter.encode(&estimates)?, length)
    });
    Ok(found.map_err(model_error)?.into_iter().map(|candidate| vec![candidate]).collect())
}

/// For each row, the beams of all its hypotheses, one hypothesis after the other.
fn corrections(search: &Search<'_, '_>, rows: &[Row]) -> Result<Vec<Vec<Continuation>>, Error> {
    let attack = search.attack;
    let Some(corrector) = &attack.corrector else { return Ok(Vec::new()) };
    let mut jobs: Vec<(usize, usize, &Hypothesis)> = Vec::new();
    for (row, it) in rows.iter().enumerate() {
        jobs.extend(it.hypotheses.iter().enumerate().map(|(place, hypothesis)| (row, place, hypothesis)));
    }
    // hypotheses of one length need no padding
    jobs.sort_by_key(|(.., hypothesis)| hypothesis.candidate.tokens.len());
    let length = Length { min: 1, max: attack.longest };
    let found = search
        .attack
        .in_batches(&corrector.t5, &jobs, |part| {
            let estimates = stack(part.iter().map(|(row, ..)| rows[*row].estimate.view()))?;
            let vectors = stack(part.iter().map(|(.., hypothesis)| hypothesis.vector.view()))?;
            let tokens: Vec<Vec<u32>> =
                part.iter().map(|(.., hypothesis)| fed_back(&hypothesis.candidate)).collect();
            let memory = corrector.encode(&estimates, &vectors, &pad(&tokens)?)?;
            beams(&corrector.t5, &memory, attack.beam_width, length)
        })
        .map_err(model_error)?;
    let mut all: Vec<Vec<Continuation>> = vec![Vec::new(); rows.len()];
    let mut found: Vec<_> = jobs.iter().zip(found).collect();
    found.sort_by_key(|((row, place, _), _)| (*row, *place));
    for ((row, ..), candidates) in found {
        all[*row].extend(candidates);
    }
    Ok(all)
}

/// The tokens as `generate` returns them: with the start token, which is the padding token and so is masked, and with
/// the end token if there is one.
fn fed_back(candidate: &Continuation) -> Vec<u32> {
    let end = candidate.ended.then_some(EOS);
    [PAD].into_iter().chain(candidate.tokens.iter().copied()).chain(end).collect()
}

/// Asks for the vectors of all candidates, and keeps each row's best of distinct tokens.
fn keep_best(
    search: &mut Search<'_, '_>,
    rows: &mut [Row],
    found: Vec<Vec<Continuation>>,
    width: usize,
) -> Result<(), Error> {
    let with_text = |candidate: Continuation| {
        Ok((vocabulary::decode(&search.attack.tokenizer, &candidate.tokens)?, candidate))
    };
    let found: Vec<Vec<(String, Continuation)>> = found
        .into_iter()
        .map(|candidates| candidates.into_iter().map(with_text).collect())
        .collect::<Result<_, Error>>()?;
    search.embed(found.iter().flatten().map(|(text, _)| text.as_str()))?;
    for (row, found) in rows.iter_mut().zip(found) {
        row.queries += found.len();
        row.hypotheses.clear();
        for (text, candidate) in found {
            let known = &search.known[&text];
            let (vector, cosine) = (known.vector.clone(), known.likeness(row.target.view()));
            let same = |other: &Hypothesis| {
                (&other.candidate.tokens, other.candidate.ended) == (&candidate.tokens, candidate.ended)
            };
            if !row.hypotheses.iter().any(same) {
                row.hypotheses.push(Hypothesis { candidate, text, vector, cosine });
            }
        }
        row.hypotheses.sort_by(|a, b| b.cosine.total_cmp(&a.cosine));
        row.hypotheses.truncate(width);
        row.steps.extend(row.hypotheses.first().map(|best| best.text.clone()));
    }
    Ok(())
}

impl Row {
    fn into_inversion(self) -> Inversion {
        let (output, cosine) =
            self.hypotheses.into_iter().next().map_or_else(Default::default, |best| (best.text, best.cosine));
        Inversion { steps: self.steps, output, cosine, queries: self.queries, local_gain: 0.0 }
    }
}

//! The loop around the models: guess, embed the guess, correct, and run the local search.

mod local;
mod paper;
mod row;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use embosk_models::t5::{self, Memory, T5};
use embosk_models::threads::{in_parallel, threads};
use ndarray::{Array1, ArrayView1, ArrayView2, Axis};

use self::row::{Hypothesis, Row};
use super::corrector::Corrector;
use super::generate::{Continuation, Length, beams, likeliest};
use super::{Vec2Text, model_error, pad, to_tensor, vocabulary};
use crate::check::{Compared, ask};
use crate::{Error, Inversion, Oracle, Ranking};

/// How many rows are searched together: enough for full batches, and a bound on what is kept in memory.
const ROWS: usize = 256;

/// With this many beams, decoding takes a thread longer than reading a large model's weights.
const ENOUGH: usize = 32;

/// Inverts `estimates` and ranks hypotheses by `ranking`; both have been checked.
pub(super) fn run(
    attack: &Vec2Text,
    estimates: ArrayView2<'_, f32>,
    ranking: &Ranking<'_>,
    oracle: &dyn Oracle,
) -> Result<Vec<Inversion>, Error> {
    let mut inversions = Vec::with_capacity(estimates.nrows());
    let targets = ranking.targets.axis_chunks_iter(Axis(0), ROWS);
    for (estimates, targets) in estimates.axis_chunks_iter(Axis(0), ROWS).zip(targets) {
        inversions.extend(invert(attack, estimates, &Ranking { targets, ..*ranking }, oracle)?);
    }
    Ok(inversions)
}

fn invert(
    attack: &Vec2Text,
    estimates: ArrayView2<'_, f32>,
    ranking: &Ranking<'_>,
    oracle: &dyn Oracle,
) -> Result<Vec<Inversion>, Error> {
    let targets = ranking.targets;
    let mut search = Search { attack, oracle, ranking, known: HashMap::new() };
    if attack.paper {
        return paper::invert(&mut search, estimates, targets);
    }
    let pairs = estimates.rows().into_iter().zip(targets.rows());
    let mut rows: Vec<Row> = pairs.map(|(estimate, target)| Row::new(estimate, target)).collect();
    search.zero_step(&mut rows)?;
    if attack.corrector.is_some() {
        for _ in 0..attack.steps {
            if !search.correct(&mut rows)? {
                break;
            }
        }
    }
    if attack.local_queries > 0 {
        local::search(&mut search, &mut rows)?;
    }
    Ok(rows.into_iter().map(Row::into_inversion).collect())
}

/// Returns the corrector's beam for each hypothesis; nothing without a corrector.
pub(super) fn refine(
    attack: &Vec2Text,
    estimates: ArrayView2<'_, f32>,
    hypotheses: &[&str],
    vectors: ArrayView2<'_, f32>,
) -> Result<Vec<Vec<String>>, Error> {
    let Some(corrector) = &attack.corrector else { return Ok(Vec::new()) };
    let encode = |text: &&str| vocabulary::encode(&attack.tokenizer, text, attack.max_length);
    let tokens: Vec<Vec<u32>> = hypotheses.iter().map(encode).collect::<Result<_, _>>()?;
    let jobs: Vec<usize> = (0..hypotheses.len()).collect();
    let corrected = attack.in_batches(&corrector.t5, &jobs, |part| {
        let estimates = stack(part.iter().map(|&job| estimates.row(job)))?;
        let vectors = stack(part.iter().map(|&job| vectors.row(job)))?;
        let tokens: Vec<&[u32]> = part.iter().map(|&job| tokens[job].as_slice()).collect();
        let memory = corrector.encode(&estimates, &vectors, &pad(&tokens)?)?;
        beams(&corrector.t5, &memory, attack.beam_width, Length::tokens(attack.max_length))
    });
    let decode = |found: Vec<Continuation>| {
        found.iter().map(|found| vocabulary::decode(&attack.tokenizer, &found.tokens)).collect()
    };
    corrected.map_err(model_error)?.into_iter().map(decode).collect()
}

struct Search<'a, 'r> {
    attack: &'a Vec2Text,
    oracle: &'a dyn Oracle,
    ranking: &'a Ranking<'r>,
    /// Vectors of the texts that were embedded before, for any row.
    known: HashMap<String, Embedded>,
}

/// A text's vector, and what of it is compared with targets.
struct Embedded {
    vector: Array1<f32>,
    compared: Compared,
}

impl Embedded {
    fn likeness(&self, target: ArrayView1<'_, f32>) -> f32 {
        self.compared.likeness(target)
    }
}

impl Search<'_, '_> {
    /// The inverter's likeliest hypothesis, then its beam's.
    fn zero_step(&mut self, rows: &mut [Row]) -> Result<(), Error> {
        let attack = self.attack;
        let (inverter, width) = (&attack.inverter, attack.beam_width);
        let all: Vec<usize> = (0..rows.len()).collect();
        let length = Length::tokens(attack.max_length);
        let shared: &[Row] = rows;
        let decoded = attack
            .in_batches(&inverter.t5, &all, |part| {
                let memory = inverter.encode(&stack(part.iter().map(|&row| shared[row].estimate.view()))?)?;
                let likeliest = likeliest(&inverter.t5, &memory, length)?;
                let beams = match width {
                    1 => vec![Vec::new(); part.len()],
                    _ => beams(&inverter.t5, &memory, width, length)?,
                };
                Ok(likeliest.into_iter().zip(beams).collect())
            })
            .map_err(model_error)?;
        let (mut first, mut more) = (Vec::new(), Vec::new());
        for (likeliest, beam) in decoded {
            first.push(vec![likeliest.tokens]);
            more.push(beam.into_iter().map(|candidate| candidate.tokens).collect());
        }
        self.consider(rows, first, 1)?;
        rows.iter_mut().for_each(Row::end_step);
        if width > 1 {
            self.consider(rows, more, width)?;
        }
        Ok(())
    }

    /// Corrects every hypothesis that was not corrected yet, once. Returns whether any row continues.
    fn correct(&mut self, rows: &mut [Row]) -> Result<bool, Error> {
        let open = rows.iter().enumerate().filter(|(_, row)| !row.stopped());
        let mut jobs: Vec<(usize, usize)> = open
            .flat_map(|(index, row)| row.to_correct().into_iter().map(move |place| (index, place)))
            .collect();
        if jobs.is_empty() {
            return Ok(false);
        }
        // hypotheses of one length need no padding
        jobs.sort_by_key(|&(row, place)| rows[row].pool[place].tokens.len());
        let mut candidates: Vec<Vec<Vec<u32>>> = vec![Vec::new(); rows.len()];
        for ((index, place), found) in jobs.iter().zip(self.corrections(rows, &jobs)?) {
            candidates[*index].extend(found.into_iter().map(|candidate| candidate.tokens));
            rows[*index].pool[*place].corrected = true;
        }
        self.consider(rows, candidates, self.attack.beam_width)?;
        rows.iter_mut().for_each(Row::end_step);
        Ok(true)
    }

    /// Token beams of the corrector for hypotheses, named by row and place in its pool.
    fn corrections(&self, rows: &[Row], jobs: &[(usize, usize)]) -> Result<Vec<Vec<Continuation>>, Error> {
        let attack = self.attack;
        let Some(corrector) = &attack.corrector else { return Ok(Vec::new()) };
        let length = Length::tokens(attack.max_length);
        attack
            .in_batches(&corrector.t5, jobs, |part| {
                let memory = corrector_memory(corrector, rows, part)?;
                beams(&corrector.t5, &memory, attack.beam_width, length)
            })
            .map_err(model_error)
    }

    /// Embeds each row's candidates that are new to it, and keeps the row's best `width`.
    fn consider(
        &mut self,
        rows: &mut [Row],
        candidates: Vec<Vec<Vec<u32>>>,
        width: usize,
    ) -> Result<(), Error> {
        let found = self.measure(rows, candidates)?;
        for (row, found) in rows.iter_mut().zip(found) {
            row.keep_best(found, width);
        }
        Ok(())
    }

    /// The candidates that are new to their rows, as hypotheses with vectors and cosines.
    fn measure(
        &mut self,
        rows: &mut [Row],
        candidates: Vec<Vec<Vec<u32>>>,
    ) -> Result<Vec<Vec<Hypothesis>>, Error> {
        let mut texts: Vec<Vec<(Vec<u32>, String)>> = Vec::with_capacity(rows.len());
        for (row, candidates) in rows.iter_mut().zip(candidates) {
            let mut own = Vec::new();
            for tokens in candidates {
                let text = vocabulary::decode(&self.attack.tokenizer, &tokens)?;
                if row.seen.insert(text.clone()) {
                    own.push((tokens, text));
                }
            }
            row.queries += own.len();
            texts.push(own);
        }
        self.embed(texts.iter().flatten().map(|(_, text)| text.as_str()))?;
        let hypothesis = |row: &Row, (tokens, text): (Vec<u32>, String)| {
            let known = &self.known[&text];
            let (vector, cosine) = (known.vector.clone(), known.likeness(row.target.view()));
            Hypothesis { tokens, text, vector, cosine, corrected: false }
        };
        Ok(rows
            .iter()
            .zip(texts)
            .map(|(row, texts)| texts.into_iter().map(|text| hypothesis(row, text)).collect())
            .collect())
    }

    /// Asks the oracle for the vectors of texts that are not known yet, all at once.
    fn embed<'t>(&mut self, texts: impl Iterator<Item = &'t str>) -> Result<(), Error> {
        let mut missing: Vec<&str> = texts.filter(|text| !self.known.contains_key(*text)).collect();
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() {
            return Ok(());
        }
        let asked = ask(self.oracle, self.ranking, &missing, self.attack.dimension)?;
        for (row, text) in missing.into_iter().enumerate() {
            let vector = asked.vectors.row(row).to_owned();
            self.known.insert(text.to_owned(), Embedded { vector, compared: asked.compared(row) });
        }
        Ok(())
    }
}

impl Vec2Text {
    /// Runs `work` on the jobs in batches, with a result for each job. Batches run in parallel, unless a large model
    /// has so little to do that reading its weights takes longer than using them. Then the threads share one batch.
    fn in_batches<J: Sync, T: Send>(
        &self,
        t5: &T5,
        jobs: &[J],
        work: impl Fn(&[J]) -> candle_core::Result<Vec<T>> + Sync,
    ) -> candle_core::Result<Vec<T>> {
        let beams = jobs.len() * self.beam_width;
        let batches = if t5.is_large() && beams < ENOUGH * threads() { 1 } else { threads() };
        let size = jobs.len().div_ceil(batches).clamp(1, self.batch_size);
        let parts: Vec<&[J]> = jobs.chunks(size).collect();
        let found = in_parallel(&parts, |part| work(part))?;
        Ok(found.into_iter().flatten().collect())
    }
}

/// What the corrector's decoder reads for hypotheses, named by row and place in its pool.
fn corrector_memory(
    corrector: &Corrector,
    rows: &[Row],
    jobs: &[(usize, usize)],
) -> candle_core::Result<Memory> {
    let estimates = stack(jobs.iter().map(|&(row, _)| rows[row].estimate.view()))?;
    let vectors = stack(jobs.iter().map(|&(row, place)| rows[row].pool[place].vector.view()))?;
    let tokens: Vec<Vec<u32>> =
        jobs.iter().map(|&(row, place)| with_end(&rows[row].pool[place].tokens)).collect();
    corrector.encode(&estimates, &vectors, &pad(&tokens)?)
}

fn with_end(tokens: &[u32]) -> Vec<u32> {
    tokens.iter().copied().chain([t5::EOS]).collect()
}

fn stack<'v>(vectors: impl Iterator<Item = ArrayView1<'v, f32>>) -> candle_core::Result<Tensor> {
    let vectors: Vec<ArrayView1<'_, f32>> = vectors.collect();
    match ndarray::stack(Axis(0), &vectors) {
        Ok(stacked) => to_tensor(stacked.view()),
        Err(_) => Tensor::zeros((0, 0), DType::F32, &Device::Cpu),
    }
}

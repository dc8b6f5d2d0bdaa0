//! The local search: single tokens of the best hypothesis are exchanged, then pairs of tokens.
//!
//! Correction leaves names and figures that are a piece off. The models say which other tokens are
//! likely at each position, the embedder which of them fit.

use candle_core::D;

use super::super::generate::top;
use super::super::t5::{EOS, Memory, PAD, T5};
use super::super::threads::in_parallel;
use super::super::{model_error, pad};
use super::{CHUNK, Hypothesis, Row, Search, corrector_memory, stack, with_end};
use crate::Error;

/// Substitutions that are tried in a round.
const SINGLES: usize = 48;
/// Other tokens that a model may name for a position.
const A_POSITION: usize = 8;
/// The best single substitutions that are combined when none helps alone.
const COMBINED: usize = 10;

/// Exchanges tokens of every unsolved row's best hypothesis until nothing improves or the row's
/// budget of queries is used up.
pub(super) fn search(search: &mut Search<'_>, rows: &mut [Row]) -> Result<(), Error> {
    let budget = search.attack.local_queries;
    let mut states: Vec<State> = rows.iter().map(|row| State::new(row, budget)).collect();
    loop {
        let open: Vec<usize> =
            (0..rows.len()).filter(|&row| states[row].stage != Stage::Done && !rows[row].solved()).collect();
        if open.is_empty() {
            return Ok(());
        }
        let likely = likely_substitutions(search, rows, &open)?;
        let mut candidates: Vec<Vec<Vec<u32>>> = vec![Vec::new(); rows.len()];
        for (&row, likely) in open.iter().zip(likely) {
            candidates[row] = states[row].candidates(&rows[row], likely);
        }
        let before: Vec<usize> = rows.iter().map(|row| row.queries).collect();
        let found = search.measure(rows, candidates)?;
        for (row, found) in found.into_iter().enumerate() {
            states[row].budget = states[row].budget.saturating_sub(rows[row].queries - before[row]);
            if open.contains(&row) {
                states[row].advance(&mut rows[row], found);
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Singles,
    Pairs,
    Done,
}

/// A token at a position in place of the hypothesis' own, and how likely the models find it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Substitution {
    position: usize,
    token: u32,
    score: f32,
}

struct State {
    stage: Stage,
    budget: usize,
    /// Single substitutions of the best hypothesis that were measured, with their cosines.
    measured: Vec<(Substitution, f32)>,
}

impl State {
    fn new(row: &Row, budget: usize) -> Self {
        let stage = if row.beam.is_empty() { Stage::Done } else { Stage::Singles };
        Self { stage, budget, measured: Vec::new() }
    }

    fn candidates(&self, row: &Row, mut likely: Vec<Substitution>) -> Vec<Vec<u32>> {
        let best = &row.beam[0].tokens;
        match self.stage {
            Stage::Singles => {
                likely.sort_by(|a, b| b.score.total_cmp(&a.score));
                likely.truncate(SINGLES.min(self.budget));
                likely.iter().map(|it| substituted(best, &[*it])).collect()
            }
            Stage::Pairs => {
                let mut pairs = Vec::new();
                for (index, (first, _)) in self.measured.iter().enumerate() {
                    for (second, _) in &self.measured[..index] {
                        if first.position != second.position {
                            pairs.push(substituted(best, &[*first, *second]));
                        }
                    }
                }
                pairs.truncate(self.budget);
                pairs
            }
            Stage::Done => Vec::new(),
        }
    }

    /// Takes the best of what was found when it is better than the best so far; else tries pairs,
    /// else gives up.
    fn advance(&mut self, row: &mut Row, found: Vec<Hypothesis>) {
        let old = row.beam[0].clone();
        let measured: Vec<(Substitution, f32)> =
            found.iter().filter_map(|it| Some((difference(&old.tokens, &it.tokens)?, it.cosine))).collect();
        let width = row.beam.len().max(1);
        row.keep_best(found, width);
        let improved = row.beam[0].cosine > old.cosine;
        self.stage = match self.stage {
            _ if self.budget == 0 => Stage::Done,
            _ if improved => Stage::Singles,
            Stage::Singles => Stage::Pairs,
            Stage::Pairs | Stage::Done => Stage::Done,
        };
        self.measured = measured;
        self.measured.sort_by(|a, b| b.1.total_cmp(&a.1));
        self.measured.truncate(COMBINED);
    }
}

fn substituted(tokens: &[u32], substitutions: &[Substitution]) -> Vec<u32> {
    let mut tokens = tokens.to_vec();
    for it in substitutions {
        tokens[it.position] = it.token;
    }
    tokens
}

/// The one position where two sequences of a length differ.
fn difference(old: &[u32], new: &[u32]) -> Option<Substitution> {
    let mut positions = old.iter().zip(new).enumerate().filter(|(_, (old, new))| old != new);
    let (position, (_, &token)) = positions.next()?;
    (old.len() == new.len() && positions.next().is_none()).then_some(Substitution {
        position,
        token,
        score: 0.0,
    })
}

/// For each open row, what the inverter, the corrector and the row's other hypotheses would have
/// in place of the best hypothesis' tokens.
fn likely_substitutions(
    search: &Search<'_>,
    rows: &[Row],
    open: &[usize],
) -> Result<Vec<Vec<Substitution>>, Error> {
    let parts: Vec<&[usize]> = open.chunks(CHUNK).collect();
    let attack = search.attack;
    let found = in_parallel(&parts, |part| {
        let targets = stack(part.iter().map(|&row| rows[row].target.view()))?;
        let tokens: Vec<&[u32]> = part.iter().map(|&row| rows[row].beam[0].tokens.as_slice()).collect();
        let inverter = &attack.inverter;
        let mut all = of_model(&inverter.t5, &inverter.encode(&targets)?, &tokens)?;
        if let Some(corrector) = &attack.corrector {
            let jobs: Vec<(usize, usize)> = part.iter().map(|&row| (row, 0)).collect();
            let memory = corrector_memory(corrector, rows, &jobs)?;
            for (all, more) in all.iter_mut().zip(of_model(&corrector.t5, &memory, &tokens)?) {
                all.extend(more);
            }
        }
        for (all, &row) in all.iter_mut().zip(part.iter()) {
            all.extend(of_beam(&rows[row]));
        }
        Ok::<_, candle_core::Error>(all)
    })
    .map_err(model_error)?;
    Ok(found.into_iter().flatten().map(distinct).collect())
}

/// The model's likeliest other tokens at each position, the text before it given.
fn of_model(t5: &T5, memory: &Memory, tokens: &[&[u32]]) -> candle_core::Result<Vec<Vec<Substitution>>> {
    let inputs: Vec<Vec<u32>> = tokens
        .iter()
        .map(|tokens| {
            let with_end = with_end(tokens);
            std::iter::once(PAD).chain(with_end[..tokens.len()].iter().copied()).collect()
        })
        .collect();
    let logits = t5.decode(&pad(&inputs)?, memory)?;
    let scores = candle_nn::ops::log_softmax(&logits, D::Minus1)?;
    let mut all = Vec::with_capacity(tokens.len());
    for (row, tokens) in tokens.iter().enumerate() {
        let scores = scores.get(row)?.to_vec2::<f32>()?;
        let at = |(position, &own): (usize, &u32)| {
            top(&scores[position], A_POSITION)
                .into_iter()
                .filter(move |&(token, _)| token != own && token != PAD && token != EOS)
                .map(move |(token, score)| Substitution { position, token, score })
        };
        all.push(tokens.iter().enumerate().flat_map(at).collect());
    }
    Ok(all)
}

/// What the row's other hypotheses of the same length have elsewhere; tried before all else.
fn of_beam(row: &Row) -> Vec<Substitution> {
    let best = &row.beam[0].tokens;
    let others = row.beam[1..].iter().filter(|other| other.tokens.len() == best.len());
    others
        .flat_map(|other| {
            let pairs = best.iter().zip(&other.tokens).enumerate();
            pairs.filter(|(_, (own, token))| own != token).map(|(position, (_, &token))| Substitution {
                position,
                token,
                score: 0.0,
            })
        })
        .collect()
}

/// Each substitution once, with its best score.
fn distinct(mut all: Vec<Substitution>) -> Vec<Substitution> {
    all.sort_by(|a, b| (a.position, a.token).cmp(&(b.position, b.token)).then(b.score.total_cmp(&a.score)));
    all.dedup_by_key(|it| (it.position, it.token));
    all
}

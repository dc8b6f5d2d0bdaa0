//! The local search: tries edits of single tokens of the best hypothesis and swaps of words, then pairs of these.
//!
//! Correction leaves names and figures that are a piece off, and names that are swapped. The models say what else is
//! likely at each position, and the embedder says which of it fits.

use std::ops::Range;

use embosk_models::kernels::log_softmax;
use embosk_models::t5::{EOS, Memory, PAD, T5};

use super::super::generate::top;
use super::super::{model_error, pad, vocabulary};
use super::{Hypothesis, Row, Search, corrector_memory, stack};
use crate::Error;

/// How many single edits are tried in a round.
const SINGLES: usize = 48;
/// How many other tokens a model may propose for a position.
const A_POSITION: usize = 16;
/// How many of the best single edits are combined if none helps alone.
const COMBINED: usize = 10;

/// Edits every unsolved row's best hypothesis until nothing improves or the row's budget of queries
/// is used up.
pub(super) fn search(search: &mut Search<'_, '_>, rows: &mut [Row]) -> Result<(), Error> {
    let continuing = vocabulary::continuing(&search.attack.tokenizer);
    let budget = search.attack.local_queries;
    let mut states: Vec<State> = rows.iter().map(|row| State::new(row, budget)).collect();
    rows.iter_mut().for_each(Row::begin_local);
    loop {
        let open: Vec<usize> =
            (0..rows.len()).filter(|&row| states[row].stage != Stage::Done && !rows[row].solved()).collect();
        if open.is_empty() {
            return Ok(());
        }
        let stale: Vec<usize> = open.iter().copied().filter(|&row| states[row].edits.is_none()).collect();
        for (&row, edits) in stale.iter().zip(likely_edits(search, rows, &stale, &continuing)?) {
            states[row].edits = Some(edits);
        }
        let mut candidates: Vec<Vec<Vec<u32>>> = vec![Vec::new(); rows.len()];
        for &row in &open {
            candidates[row] = states[row].candidates(&rows[row]);
        }
        let before: Vec<usize> = rows.iter().map(|row| row.queries).collect();
        let found = search.measure(rows, candidates)?;
        for (row, found) in found.into_iter().enumerate().filter(|(row, _)| open.contains(row)) {
            states[row].budget = states[row].budget.saturating_sub(rows[row].queries - before[row]);
            states[row].advance(&mut rows[row], found);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Singles,
    Pairs,
    Done,
}

/// A change of the hypothesis at one position, and how likely the models find it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Edit {
    position: usize,
    kind: Kind,
    score: f32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Replace(u32),
    /// Inserts a piece before the position. Only pieces that continue a word are inserted, because figures differ in
    /// their number of pieces.
    Insert(u32),
    Delete,
    /// Swaps the words from the position to `first` with the same number of words from `second` to `last`.
    Swap {
        first: usize,
        second: usize,
        last: usize,
    },
}

impl Edit {
    /// The positions that no other edit may touch.
    fn reach(&self) -> Range<usize> {
        match self.kind {
            Kind::Swap { last, .. } => self.position..last,
            _ => self.position..self.position + 1,
        }
    }
}

struct State {
    stage: Stage,
    budget: usize,
    /// Untried edits of the best hypothesis, the likeliest last; `None` until they are asked for.
    edits: Option<Vec<Edit>>,
    /// Single edits of the best hypothesis that were tried, and the texts that they led to.
    tried: Vec<(Edit, Vec<u32>)>,
    /// The best of them.
    promising: Vec<(Edit, f32)>,
}

impl State {
    fn new(row: &Row, budget: usize) -> Self {
        let stage = if row.pool.is_empty() { Stage::Done } else { Stage::Singles };
        Self { stage, budget, edits: None, tried: Vec::new(), promising: Vec::new() }
    }

    fn candidates(&mut self, row: &Row) -> Vec<Vec<u32>> {
        let best = &row.pool[0].tokens;
        match self.stage {
            Stage::Singles => {
                let edits = self.edits.get_or_insert_default();
                let page = edits.split_off(edits.len().saturating_sub(SINGLES.min(self.budget)));
                self.tried = page.into_iter().map(|edit| (edit, edited(best, &[edit]))).collect();
                self.tried.iter().map(|(_, tokens)| tokens.clone()).collect()
            }
            Stage::Pairs => {
                let mut pairs = Vec::new();
                for (index, (first, _)) in self.promising.iter().enumerate() {
                    for (second, _) in &self.promising[..index] {
                        let (a, b) = (first.reach(), second.reach());
                        if a.end <= b.start || b.end <= a.start {
                            pairs.push(edited(best, &[*first, *second]));
                        }
                    }
                }
                pairs.truncate(self.budget);
                pairs
            }
            Stage::Done => Vec::new(),
        }
    }

    /// Takes the best of what was found if it is better than the best so far. Otherwise tries pairs, then less likely
    /// edits, until none are left.
    fn advance(&mut self, row: &mut Row, found: Vec<Hypothesis>) {
        let old = row.pool[0].cosine;
        for (edit, tokens) in self.tried.drain(..) {
            if let Some(it) = found.iter().find(|it| it.tokens == tokens) {
                self.promising.push((edit, it.cosine));
            }
        }
        self.promising.sort_by(|a, b| b.1.total_cmp(&a.1));
        self.promising.truncate(COMBINED);
        let width = row.beam().len().max(1);
        row.keep_best(found, width);
        if row.pool[0].cosine > old {
            self.edits = None;
            self.promising.clear();
            self.stage = Stage::Singles;
        } else {
            let left = self.edits.as_ref().is_some_and(|edits| !edits.is_empty());
            self.stage = match self.stage {
                Stage::Singles => Stage::Pairs,
                Stage::Pairs if left => Stage::Singles,
                Stage::Pairs | Stage::Done => Stage::Done,
            };
        }
        if self.budget == 0 {
            self.stage = Stage::Done;
        }
    }
}

/// Applies edits that do not overlap to `tokens`.
fn edited(tokens: &[u32], edits: &[Edit]) -> Vec<u32> {
    let mut edits = edits.to_vec();
    edits.sort_by_key(|edit| std::cmp::Reverse(edit.position));
    let mut tokens = tokens.to_vec();
    for edit in edits {
        match edit.kind {
            Kind::Replace(token) => tokens[edit.position] = token,
            Kind::Insert(token) => tokens.insert(edit.position, token),
            Kind::Delete => {
                tokens.remove(edit.position);
            }
            Kind::Swap { first, second, last } => {
                tokens[edit.position..last].rotate_left(second - edit.position);
                // the later words are in front now, the earlier ones before what stood between
                let start = edit.position + last - second;
                tokens[start..last].rotate_left(first - edit.position);
            }
        }
    }
    tokens
}

/// For each named row, what the inverter, the corrector and the row's other hypotheses would change in the best
/// hypothesis, the likeliest last.
fn likely_edits(
    search: &Search<'_, '_>,
    rows: &[Row],
    open: &[usize],
    continuing: &[bool],
) -> Result<Vec<Vec<Edit>>, Error> {
    let attack = search.attack;
    let found = search.attack.in_batches(&attack.inverter.t5, open, |part| {
        let estimates = stack(part.iter().map(|&row| rows[row].estimate.view()))?;
        let tokens: Vec<&[u32]> = part.iter().map(|&row| rows[row].pool[0].tokens.as_slice()).collect();
        let inverter = &attack.inverter;
        let mut all = of_model(&inverter.t5, &inverter.encode(&estimates)?, &tokens, continuing)?;
        if let Some(corrector) = &attack.corrector {
            let jobs: Vec<(usize, usize)> = part.iter().map(|&row| (row, 0)).collect();
            let memory = corrector_memory(corrector, rows, &jobs)?;
            for (all, more) in all.iter_mut().zip(of_model(&corrector.t5, &memory, &tokens, continuing)?) {
                all.extend(more);
            }
        }
        for (all, &row) in all.iter_mut().zip(part.iter()) {
            all.extend(of_beam(&rows[row]));
        }
        Ok(all)
    });
    Ok(found.map_err(model_error)?.into_iter().map(distinct).collect())
}

/// What the model finds likely at each position, given the text before it.
fn of_model(
    t5: &T5,
    memory: &Memory,
    tokens: &[&[u32]],
    continuing: &[bool],
) -> candle_core::Result<Vec<Vec<Edit>>> {
    let inputs: Vec<Vec<u32>> =
        tokens.iter().map(|tokens| std::iter::once(PAD).chain(tokens.iter().copied()).collect()).collect();
    let logits = t5.decode(&pad(&inputs)?, memory)?;
    let scores = log_softmax(&logits)?;
    tokens
        .iter()
        .enumerate()
        .map(|(row, tokens)| Ok(of_scores(tokens, &scores.get(row)?.to_vec2::<f32>()?, continuing)))
        .collect()
}

fn of_scores(tokens: &[u32], scores: &[Vec<f32>], continuing: &[bool]) -> Vec<Edit> {
    let continues = |token: u32| continuing.get(token as usize).copied().unwrap_or(false);
    let mut edits = Vec::new();
    for (position, scores) in scores.iter().enumerate().take(tokens.len() + 1) {
        let own = tokens.get(position).copied().unwrap_or(EOS);
        for (token, score) in top(scores, A_POSITION) {
            if token == own || token == PAD {
                continue;
            }
            if token != EOS && own != EOS {
                edits.push(Edit { position, kind: Kind::Replace(token), score });
            }
            if continues(token) && position > 0 {
                edits.push(Edit { position, kind: Kind::Insert(token), score });
            }
        }
        if continues(own) {
            // as likely as what comes next is in its place
            let next = tokens.get(position + 1).copied().unwrap_or(EOS);
            edits.push(Edit { position, kind: Kind::Delete, score: scores[next as usize] });
        }
    }
    edits.extend(swaps(tokens, scores, continuing));
    edits
}

/// Swaps of a word with a word, and of two words with two. A swap is as likely as the later words are at the earlier
/// place. The later place says less, because the model predicts it given the earlier one.
fn swaps(tokens: &[u32], scores: &[Vec<f32>], continuing: &[bool]) -> Vec<Edit> {
    let begins = |&place: &usize| !continuing.get(tokens[place] as usize).copied().unwrap_or(false);
    let mut bounds: Vec<usize> = (0..tokens.len()).filter(begins).collect();
    bounds.push(tokens.len());
    let mut edits = Vec::new();
    for words in [1, 2] {
        let spans: Vec<(usize, usize)> =
            bounds.iter().copied().zip(bounds.iter().skip(words).copied()).collect();
        for (place, &(position, first)) in spans.iter().enumerate() {
            for &(second, last) in spans.iter().skip(place + words) {
                if tokens[position..first] != tokens[second..last] {
                    let score = scores[position][tokens[second] as usize];
                    edits.push(Edit { position, kind: Kind::Swap { first, second, last }, score });
                }
            }
        }
    }
    edits
}

/// Where the row's other hypotheses of the same length differ; tried before everything else.
fn of_beam(row: &Row) -> Vec<Edit> {
    let best = &row.pool[0].tokens;
    let others = row.beam()[1..].iter().filter(|other| other.tokens.len() == best.len());
    others
        .flat_map(|other| {
            let pairs = best.iter().zip(&other.tokens).enumerate();
            pairs.filter(|(_, (own, token))| own != token).map(|(position, (_, &token))| Edit {
                position,
                kind: Kind::Replace(token),
                score: 0.0,
            })
        })
        .collect()
}

/// Each edit once, with its best score, in the order of the scores.
fn distinct(mut all: Vec<Edit>) -> Vec<Edit> {
    all.sort_by(|a, b| (a.position, a.kind).cmp(&(b.position, b.kind)).then(b.score.total_cmp(&a.score)));
    all.dedup_by_key(|it| (it.position, it.kind));
    all.sort_by(|a, b| a.score.total_cmp(&b.score));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_of_several_positions_do_not_shift_each_other() {
        let edit = |position, kind| Edit { position, kind, score: 0.0 };
        let swap = |position, first, second, last| edit(position, Kind::Swap { first, second, last });
        let cases: [(&[Edit], &[u32]); 9] = [
            (&[swap(0, 1, 3, 4)], &[8, 6, 7, 5]),
            (&[swap(0, 2, 3, 4)], &[8, 7, 5, 6]),
            (&[swap(0, 1, 1, 3), edit(3, Kind::Replace(9))], &[6, 7, 5, 9]),
            (&[edit(1, Kind::Replace(9))], &[5, 9, 7, 8]),
            (&[edit(1, Kind::Insert(9))], &[5, 9, 6, 7, 8]),
            (&[edit(4, Kind::Insert(9))], &[5, 6, 7, 8, 9]),
            (&[edit(0, Kind::Delete)], &[6, 7, 8]),
            (&[edit(0, Kind::Delete), edit(3, Kind::Replace(9))], &[6, 7, 9]),
            (&[edit(3, Kind::Delete), edit(1, Kind::Insert(9))], &[5, 9, 6, 7]),
        ];
        for (edits, expected) in cases {
            assert_eq!(edited(&[5, 6, 7, 8], edits), expected, "{edits:?}");
        }
    }

    #[test]
    fn likely_tokens_become_edits_and_only_pieces_are_inserted_or_removed() {
        // tokens: 0 pads, 1 ends, 2 and 3 begin words, 4 continues one
        let continuing = [false, false, false, false, true];
        let scores = vec![
            vec![-9.0, -9.0, -0.1, -2.0, -9.0],
            vec![-9.0, -1.0, -9.0, -3.0, -0.5],
            vec![-9.0, -0.2, -9.0, -9.0, -4.0],
        ];
        let edits = of_scores(&[2, 4], &scores, &continuing);
        let found = |kind, position| edits.iter().find(|it| it.kind == kind && it.position == position);
        assert_eq!(found(Kind::Replace(3), 0).map(|it| it.score), Some(-2.0));
        assert_eq!(found(Kind::Replace(2), 0), None, "it stands there already");
        assert_eq!(found(Kind::Insert(4), 0), None, "no text begins within a word");
        assert_eq!(found(Kind::Insert(4), 2).map(|it| it.score), Some(-4.0));
        assert_eq!(found(Kind::Insert(3), 1), None);
        assert_eq!(
            found(Kind::Delete, 1).map(|it| it.score),
            Some(-1.0),
            "as likely as the end in its place"
        );
        assert_eq!(found(Kind::Delete, 0), None);
        assert!(
            edits.iter().all(|it| !matches!(it.kind, Kind::Replace(PAD | EOS) | Kind::Insert(PAD | EOS)))
        );
    }

    #[test]
    fn words_change_places_whole_and_as_likely_as_the_later_is_in_the_place_of_the_earlier() {
        // 2 and 3 begin words, 4 continues one
        let continuing = [false, false, false, false, true];
        let mut scores = vec![vec![-9.0; 5]; 6];
        scores[0][3] = -1.0;
        // the words 2 4, 3, 3 and 2
        let edits = swaps(&[2, 4, 3, 3, 2], &scores, &continuing);
        let swap = |position, first, second, last| (position, Kind::Swap { first, second, last });
        let found: Vec<_> = edits.iter().map(|edit| (edit.position, edit.kind)).collect();
        let ones = [swap(0, 2, 2, 3), swap(0, 2, 3, 4), swap(0, 2, 4, 5), swap(2, 3, 4, 5), swap(3, 4, 4, 5)];
        assert_eq!(found, [ones.as_slice(), &[swap(0, 3, 3, 5)]].concat(), "3 and 3 are the same");
        let likely: Vec<_> = edits.iter().filter(|edit| edit.score > -2.0).map(|edit| edit.kind).collect();
        assert_eq!(likely.len(), 3, "{likely:?}");
        let reach: Vec<_> = edits.iter().map(Edit::reach).collect();
        assert_eq!((reach[2].clone(), reach[5].clone()), (0..5, 0..5));
    }

    #[test]
    fn an_edit_named_twice_keeps_its_best_score_and_the_likeliest_is_last() {
        let edit = |position, score| Edit { position, kind: Kind::Delete, score };
        let kept = distinct(vec![edit(1, -3.0), edit(2, -0.5), edit(1, -1.0)]);
        assert_eq!(kept, [edit(1, -1.0), edit(2, -0.5)]);
    }
}

//! The search: hypotheses are edited, embedded and ranked, round by round, for all vectors at once.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;

use super::edits::Edit;
use super::gradient::Split;
use super::prepared::Prepared;
use super::proposals::largest;
use super::row::{Candidate, Noise, Row};
use super::words::Vocabulary;
use super::{Guided, Start};
use crate::check::{ask, taken};
use crate::matmul::nearest;
use crate::rows::normalized;
use crate::{Error, Inversion, Oracle, Ranking};

/// New texts that a row gets in a round, before combinations.
const A_ROUND: usize = 64;
/// Own texts that a search starts from, the nearest.
const NEAREST: usize = 8;
/// High-scoring words that are kept in mind for a vector.
const WORDS: usize = 40;
/// High-scoring words that the output lists for a text too long to be searched.
const LISTED: usize = 200;
/// Numbers of high-scoring words that a search starts from.
const TOP_WORDS: [usize; 6] = [4, 6, 8, 12, 24, 40];
/// Units of the longest hypothesis.
pub(super) const LONGEST: usize = 48;

pub(super) struct Search<'a> {
    settings: &'a Guided,
    prepared: &'a Prepared,
    oracle: &'a dyn Oracle,
    ranking: &'a Ranking<'a>,
    /// That of the embedder.
    dimension: usize,
    /// That of the own texts, and the units of the texts to start from.
    vocabulary: Vocabulary,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        settings: &'a Guided,
        prepared: &'a Prepared,
        oracle: &'a dyn Oracle,
        (ranking, dimension): (&'a Ranking<'a>, usize),
    ) -> Self {
        Self { settings, prepared, oracle, ranking, dimension, vocabulary: prepared.vocabulary.clone() }
    }

    /// Searches a text for each estimate. `starts` has the texts to start from, for each.
    pub(super) fn run(
        mut self,
        estimates: ArrayView2<'_, f32>,
        starts: &[Start],
    ) -> Result<Vec<Inversion>, Error> {
        let scaled = normalized(estimates);
        let mut rows = self.rows(&estimates, &scaled, starts)?;
        let given = self.given(starts);
        let first = self.first(&scaled, &mut rows, given);
        self.consider(&mut rows, first)?;
        self.settle(rows.iter_mut());
        while self.improve(&mut rows)? {}
        Ok(rows.into_iter().map(|row| row.into_inversion(&self.vocabulary)).collect())
    }

    fn rows<'r>(
        &self,
        given: &'r ArrayView2<'_, f32>,
        scaled: &'r Array2<f32>,
        starts: &[Start],
    ) -> Result<Vec<Row<'r>>, Error>
    where
        'a: 'r,
    {
        let &Ranking { targets, image, space, expected } = self.ranking;
        // estimates are as long as clean vectors only if those have norm 1; so in a space of its own, as they are
        let seen = space.map(|space| taken(space, given.view(), targets.ncols())).transpose()?;
        let row = |at: usize| {
            let (estimate, target) = (scaled.row(at), self.ranking.targets.row(at));
            let noise = match (&seen, expected) {
                _ if image.is_some() => Noise::none(),
                (None, Some(cosine)) => Noise::of_cosine(cosine.mean, estimate.len()).up_to(cosine),
                (None, None) => Noise::by_angle(estimate, target),
                (Some(_), Some(likeness)) => Noise::of_likeness(likeness.mean, target.len()).up_to(likeness),
                (Some(seen), None) => Noise::by_distance(seen.row(at), target),
            };
            let length = self.prepared.scores.length_of(estimate);
            let used = starts.get(at).map_or(0, |start| start.queries);
            Row::new(given.row(at), (estimate, target), length, (self.settings.queries, used), &noise)
        };
        let rows: Vec<_> = (0..scaled.nrows()).map(row).collect();
        Ok(rows)
    }

    /// The texts that were given to start from, as units.
    fn given(&mut self, starts: &[Start]) -> Vec<Vec<Vec<u32>>> {
        let case = self.prepared.case;
        let vocabulary = &mut self.vocabulary;
        let mut units = |text: &String| vocabulary.numbers(&case.apply(text));
        starts.iter().map(|start| start.texts.iter().map(&mut units).collect()).collect()
    }

    /// Adds to the given texts the nearest own texts, and the words that score highest.
    fn first(
        &self,
        estimates: &Array2<f32>,
        rows: &mut [Row<'_>],
        mut given: Vec<Vec<Vec<u32>>>,
    ) -> Vec<Vec<Candidate>> {
        given.resize(rows.len(), Vec::new());
        let scores = self.prepared.scores.of(estimates.view());
        let nearest = nearest(estimates.view(), self.prepared.directions.view(), NEAREST);
        let found = rows.iter_mut().zip(&mut given).zip(scores.rows()).zip(nearest);
        for (((row, texts), scores), nearest) in found {
            row.words = largest(scores.iter().copied(), WORDS);
            if row.is_long {
                row.listed = largest(scores.iter().copied(), LISTED);
            }
            let own = nearest.into_iter().map(|(text, _)| &self.prepared.texts[text]);
            texts.extend(own.map(|text| text.iter().copied().take(LONGEST).collect()));
            let counts = TOP_WORDS.map(|count| count.min(LONGEST).min(row.words.len()));
            texts.extend(counts.map(|count| self.arranged(&row.words[..count])));
        }
        let candidate = |units| Candidate { units, origin: None };
        given.into_iter().map(|texts| texts.into_iter().map(candidate).collect()).collect()
    }

    /// Words in the order that reads best, one after the other put where it reads best.
    fn arranged(&self, words: &[u32]) -> Vec<u32> {
        let language = &self.prepared.language;
        words.iter().fold(Vec::new(), |text: Vec<u32>, &unit| {
            let texts = (0..=text.len()).map(|at| Edit::Insert { at, unit }.apply(&text));
            let best = texts.max_by(|a, b| language.fluency(a).total_cmp(&language.fluency(b)));
            best.unwrap_or_default()
        })
    }

    /// One round for all rows; whether any row goes on.
    fn improve(&mut self, rows: &mut [Row<'_>]) -> Result<bool, Error> {
        let kicked = rows.iter_mut().map(|row| row.kicked(&self.prepared.language)).collect();
        self.consider(rows, kicked)?;
        self.settle(rows.iter_mut().filter(|row| row.beam.is_empty()));
        let chosen: Vec<(usize, usize)> = rows
            .iter_mut()
            .enumerate()
            .filter(|(_, row)| row.is_open())
            .flat_map(|(index, row)| row.choose().into_iter().map(move |place| (index, place)))
            .collect();
        if chosen.is_empty() {
            return Ok(false);
        }
        let edited = self.edited(rows, &chosen)?;
        self.consider(rows, edited)?;
        let refined = self.refined(rows)?;
        self.consider(rows, refined)?;
        let combined = rows.iter_mut().map(Row::combined).collect();
        self.consider(rows, combined)?;
        self.settle(rows.iter_mut());
        Ok(true)
    }

    fn settle<'r, 'v: 'r>(&self, rows: impl Iterator<Item = &'r mut Row<'v>>) {
        for row in rows {
            row.settle(self.settings.beam_width, &self.vocabulary);
        }
    }

    /// Edits of the chosen hypotheses, named by row and place in its beam.
    fn edited(&self, rows: &mut [Row<'_>], chosen: &[(usize, usize)]) -> Result<Vec<Vec<Candidate>>, Error> {
        let views: Vec<_> = chosen.iter().map(|&(row, place)| rows[row].residual(place)).collect();
        let views: Vec<_> = views.iter().map(|view| view.view()).collect();
        let residuals = stacked(&views)?;
        let missing = self.prepared.scores.of_differences(residuals.view());
        let swaps = self.swaps(rows, chosen)?;
        let mut jobs: Vec<Vec<(usize, usize)>> = vec![Vec::new(); rows.len()];
        for (job, &(row, place)) in chosen.iter().enumerate() {
            jobs[row].push((job, place));
        }
        let of_row = |(row, jobs): (&mut Row<'_>, Vec<(usize, usize)>)| {
            let share = A_ROUND.min(row.left()) / jobs.len().max(1);
            let mut candidates = Vec::new();
            for (job, place) in jobs {
                let swaps = swaps[job].as_ref().map(|swaps| swaps.view());
                candidates.extend(row.expand(self.prepared, place, missing.row(job), swaps, share));
            }
            candidates
        };
        Ok(rows.par_iter_mut().zip(jobs).map(of_row).collect())
    }

    /// What the attack before this one makes of each open row's best hypotheses that it did not see yet.
    fn refined(&mut self, rows: &mut [Row<'_>]) -> Result<Vec<Vec<Candidate>>, Error> {
        let mut candidates: Vec<Vec<Candidate>> = rows.iter().map(|_| Vec::new()).collect();
        let Some(attack) = &self.settings.start else { return Ok(candidates) };
        let open = rows.iter_mut().enumerate().filter(|(_, row)| row.is_open());
        let jobs: Vec<(usize, usize)> =
            open.filter_map(|(index, row)| Some((index, row.take_unrefined()?))).collect();
        if jobs.is_empty() {
            return Ok(candidates);
        }
        let of = |&(row, place): &(usize, usize)| &rows[row].beam[place];
        let texts: Vec<String> = jobs.iter().map(|job| self.vocabulary.text(&of(job).units)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let estimates: Vec<_> = jobs.iter().map(|&(row, _)| rows[row].given).collect();
        let vectors: Vec<_> = jobs.iter().map(|job| of(job).vector.view()).collect();
        let refined = attack.refine(stacked(&estimates)?.view(), &texts, stacked(&vectors)?.view())?;
        let case = self.prepared.case;
        for ((row, _), texts) in jobs.into_iter().zip(refined) {
            let room = rows[row].left();
            for text in texts.into_iter().take(room) {
                let mut units = self.vocabulary.numbers(&case.apply(&text));
                units.truncate(LONGEST);
                candidates[row].push(Candidate { units, origin: None });
            }
        }
        Ok(candidates)
    }

    /// The gradient's estimates for the chosen hypotheses, if the attacker has the embedder's weights.
    fn swaps(&self, rows: &[Row<'_>], chosen: &[(usize, usize)]) -> Result<Vec<Option<Array2<f32>>>, Error> {
        let mut found = vec![None; chosen.len()];
        let (Some(white_box), Some(pieces)) = (self.oracle.white_box(), &self.prepared.pieces) else {
            return Ok(found);
        };
        let mut splits = Vec::new();
        let mut jobs = Vec::new();
        for (job, &(row, place)) in chosen.iter().enumerate() {
            let units = &rows[row].beam[place].units;
            if let Some(split) = Split::of(white_box, &self.vocabulary, units).map_err(Error::Oracle)? {
                splits.push(split);
                jobs.push(job);
            }
        }
        // a target in another space is not one of the embedder's
        let is_elsewhere = self.ranking.space.is_some();
        let of_jobs = jobs.iter().map(|&job| &rows[chosen[job].0]);
        let targets: Vec<_> =
            of_jobs.map(|row| if is_elsewhere { row.estimate } else { row.target }).collect();
        let swaps = pieces.swaps(white_box, &splits, stacked(&targets)?.view()).map_err(Error::Oracle)?;
        for (job, swaps) in jobs.into_iter().zip(swaps) {
            found[job] = Some(swaps);
        }
        Ok(found)
    }

    /// Embeds each row's new candidates, and keeps the best in its beam.
    fn consider(&mut self, rows: &mut [Row<'_>], candidates: Vec<Vec<Candidate>>) -> Result<(), Error> {
        let mut fresh: Vec<Vec<(Candidate, String)>> = Vec::with_capacity(rows.len());
        for (row, candidates) in rows.iter_mut().zip(candidates) {
            let left = row.left();
            let new = candidates.into_iter().filter(|candidate| row.seen.insert(candidate.units.clone()));
            let new = new.take(left);
            let new: Vec<_> =
                new.map(|candidate| (self.vocabulary.text(&candidate.units), candidate)).collect();
            row.queries += new.len();
            fresh.push(new.into_iter().map(|(text, candidate)| (candidate, text)).collect());
        }
        let texts: Vec<&str> = fresh.iter().flatten().map(|(_, text)| text.as_str()).collect();
        if texts.is_empty() {
            return Ok(());
        }
        let asked = ask(self.oracle, self.ranking, &texts, self.dimension)?;
        let mut at = 0;
        for (row, fresh) in rows.iter_mut().zip(fresh) {
            let mut found = Vec::with_capacity(fresh.len());
            for (candidate, _) in fresh {
                let likeness = asked.compared(at).likeness(row.target);
                found.push((candidate, asked.vectors.row(at), likeness));
                at += 1;
            }
            row.keep(found, &self.prepared.language);
        }
        Ok(())
    }
}

fn stacked(rows: &[ArrayView1<'_, f32>]) -> Result<Array2<f32>, Error> {
    if rows.is_empty() {
        return Ok(Array2::zeros((0, 0)));
    }
    ndarray::stack(Axis(0), rows).map_err(|error| Error::Setting(error.to_string()))
}

//! Guessing a fact: the attacker knows a text but for one fact, has candidates for it, and takes the likeliest.
//!
//! No generator is needed, so it says something on any embedder and on texts of any length. The candidates are
//! embedded once for all defenses and adversaries.

mod by_kind;
mod file;
mod invented;
mod likeness;
mod noise;
mod pool;
mod shape;
mod sources;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::collections::BTreeMap;
use std::ops::Range;

use ndarray::{Array2, s};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Map, Value, json};

pub use by_kind::KindScore;
pub(super) use by_kind::by_kind;
pub(super) use file::{Guesses, write};
pub(super) use likeness::{Likeness, Prepared};
pub(super) use noise::{Noise, Residuals};

use self::pool::Pool;
use self::sources::Sources;
use super::Evaluation;
use super::clean::{Clean, embed};
use super::corpus::Corpus;
use super::draws::index_below;
use super::facts::Fact;
use super::shortfalls::GIVE;
use crate::{Embedder, Error, Role};

/// How many candidates there are for a fact by default, the true one among them.
pub const CANDIDATES: usize = 64;

/// The kind of a fact that is a text's rarest word, as nothing else was found in it.
pub(super) const WORD: &str = "word";

/// If fewer of the candidates are of the facts' kind and shape, a report warns.
const LEAST_OF_KIND: f64 = 0.5;

/// Vectors that differ by less than this are those of one text.
const SAME: f32 = 1e-6;

/// What the attacker wants to know of each attacked text.
pub(super) struct Questions {
    /// In the order of the attacked texts; `None` for a text without a fact.
    pub(super) of_texts: Vec<Option<Question>>,
    /// The candidate texts' clean vectors, one question after the other, `[questions × candidates, dim]`.
    vectors: Array2<f32>,
    pub(super) candidates: usize,
    /// How many facts of the attacked texts the embedder does not read.
    pub(super) outside_window: usize,
}

/// A fact and its candidates.
pub(super) struct Question {
    /// The position of the document.
    pub(super) document: usize,
    pub(super) fact: Fact,
    pub(super) candidates: Vec<String>,
    /// The position of the truth among the candidates.
    pub(super) answer: usize,
    /// How many of the others are of its kind and shape.
    of_kind: usize,
}

impl Questions {
    /// Draws a fact of each attacked document and its candidates, and embeds the candidate texts. `None` if nothing is
    /// to be guessed.
    pub(super) fn ask<E: Embedder>(
        evaluation: &Evaluation<E>,
        (corpus, clean): (&Corpus, &Clean),
        attacked: &[usize],
    ) -> Result<Option<Self>, Error> {
        let candidates = evaluation.guess_candidates;
        if candidates == 0 {
            return Ok(None);
        }
        let sources = Sources::of(evaluation, corpus);
        let mut drawn = Drawn::default();
        let facts = attacked.iter().enumerate().map(|(at, &document)| {
            let (inside, outside) = facts_of(evaluation, corpus, &sources, document);
            drawn.outside_window += outside;
            drawn.fact(inside, &mut rng(evaluation.seed, 2 * at as u64))
        });
        let facts: Vec<Option<Fact>> = facts.collect();
        let normalizer = evaluation.comparison();
        let mut pool = Pool::new(&sources.vocabulary, &normalizer);
        sources.fill(&mut pool);
        let question = |((at, fact), &document): ((usize, Option<Fact>), &usize)| {
            let fact = fact?;
            let mut rng = rng(evaluation.seed, 2 * at as u64 + 1);
            Question::draw(document, fact, &corpus.texts()[document], &pool, candidates, &mut rng)
        };
        let of_texts = facts.into_iter().enumerate().zip(attacked).map(question).collect();
        let mut questions = Self {
            of_texts,
            vectors: Array2::zeros((0, 0)),
            candidates,
            outside_window: drawn.outside_window,
        };
        questions.embed(evaluation, corpus, clean)?;
        Ok(Some(questions))
    }

    /// Embeds the candidate texts. A fact that changes no vector is outside of what the embedder reads.
    fn embed<E: Embedder>(
        &mut self,
        evaluation: &Evaluation<E>,
        corpus: &Corpus,
        clean: &Clean,
    ) -> Result<(), Error> {
        let texts: Vec<String> = self.asked().flat_map(|question| question.texts(corpus)).collect();
        let dim = clean.documents.attackable().ncols();
        let vectors = match texts.as_slice() {
            [] => Array2::zeros((0, dim)),
            texts => embed(evaluation, evaluation.attacked(), Role::Document, "candidates", texts)?,
        };
        let mut read = Vec::new();
        for (at, question) in self.of_texts.iter_mut().filter(|question| question.is_some()).enumerate() {
            let rows = vectors.slice(s![at * self.candidates..(at + 1) * self.candidates, ..]);
            let first = rows.row(0);
            let differs =
                |row: ndarray::ArrayView1<'_, f32>| row.iter().zip(first).any(|(a, b)| (a - b).abs() > SAME);
            if rows.rows().into_iter().any(differs) {
                read.extend(at * self.candidates..(at + 1) * self.candidates);
            } else {
                *question = None;
                self.outside_window += 1;
            }
        }
        self.vectors =
            if read.len() == vectors.nrows() { vectors } else { vectors.select(ndarray::Axis(0), &read) };
        Ok(())
    }

    /// What a report's signature says of them.
    pub(super) fn settings(&self) -> Map<String, Value> {
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for question in self.asked() {
            *kinds.entry(&question.fact.kind).or_insert(0) += 1;
        }
        let settings = [
            ("guess_candidates", json!(self.candidates)),
            ("facts", json!(self.asked().count())),
            ("facts_by_kind", json!(kinds)),
            ("fact_outside_window", json!(self.outside_window)),
        ];
        settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// What a reader of the report should know.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        let outside = self.outside_window;
        let unread = (outside > 0).then(|| {
            format!(
                "{outside} facts of the attacked texts lie beyond the embedder's window, where nothing can be recovered; \
                 they are not guessed"
            )
        });
        self.of_other_kinds().into_iter().chain(unread)
    }

    /// Says that most candidates are of another kind or shape than the facts, if they are.
    fn of_other_kinds(&self) -> Option<String> {
        let (of_kind, asked) =
            self.asked().fold((0, 0), |(sum, n), question| (sum + question.of_kind, n + 1));
        let others = asked * (self.candidates - 1);
        let share = of_kind as f64 / others as f64;
        (asked > 0 && share < LEAST_OF_KIND).then(|| {
            format!(
                "only {share:.2} of the candidates for guesses are of their facts' kind and form; others are easier to rule \
                 out, so `guess` may be too high: {GIVE}"
            )
        })
    }

    /// The questions, in the order of their vectors.
    fn asked(&self) -> impl Iterator<Item = &Question> {
        self.of_texts.iter().flatten()
    }

    /// Guesses each fact: the position of the candidate that explains best what was `observed`, `[attacked, dim]`. Of
    /// equally good ones it is the first; their order was drawn, so a constant embedder is right once in as many as
    /// there are.
    pub(super) fn guess(
        &self,
        observed: &Array2<f32>,
        likeness: &Likeness<'_>,
    ) -> Result<Vec<Option<usize>>, Error> {
        let (seen, known) = (likeness.observed(observed.view())?, likeness.candidates(self.vectors.view())?);
        let mut first = 0;
        let guess = |(at, question): (usize, &Option<Question>)| {
            question.as_ref()?;
            let rows = first..first + self.candidates;
            first = rows.end;
            Some(best(&seen, at, &known, rows))
        };
        Ok(self.of_texts.iter().enumerate().map(guess).collect())
    }

    /// Whether each guess is right.
    pub(super) fn right(&self, guesses: &[Option<usize>]) -> Vec<Option<bool>> {
        let right = |(question, guess): (&Option<Question>, &Option<usize>)| {
            Some(question.as_ref()?.answer == (*guess)?)
        };
        self.of_texts.iter().zip(guesses).map(right).collect()
    }
}

/// The best of these candidates for one observed vector, as a position among them.
fn best(seen: &Prepared<'_>, at: usize, known: &Prepared<'_>, rows: Range<usize>) -> usize {
    let exact = rows.clone().position(|row| seen.is_image(at, known, row));
    exact.unwrap_or_else(|| {
        let scores = rows.map(|row| seen.score(at, known, row)).enumerate();
        let best = scores.fold(
            (0, f64::NEG_INFINITY),
            |best, (at, score)| if score > best.1 { (at, score) } else { best },
        );
        best.0
    })
}

impl Question {
    /// `None` if there are not enough candidates, so that chance would be another.
    fn draw(
        document: usize,
        fact: Fact,
        text: &str,
        pool: &Pool<'_>,
        candidates: usize,
        rng: &mut ChaCha8Rng,
    ) -> Option<Self> {
        let truth = &text[fact.span.clone()];
        let (mut drawn, of_kind) = pool.draw((text, truth, &fact.kind), candidates - 1, rng);
        if drawn.len() + 1 < candidates {
            return None;
        }
        let answer = index_below(candidates, rng);
        drawn.insert(answer, truth.to_owned());
        Some(Self { document, fact, candidates: drawn, answer, of_kind })
    }

    /// The text before the fact, and the text behind it.
    pub(super) fn template<'c>(&self, corpus: &'c Corpus) -> (&'c str, &'c str) {
        let text = &corpus.texts()[self.document];
        (&text[..self.fact.span.start], &text[self.fact.span.end..])
    }

    fn texts(&self, corpus: &Corpus) -> Vec<String> {
        let (before, after) = self.template(corpus);
        self.candidates.iter().map(|candidate| format!("{before}{candidate}{after}")).collect()
    }
}

/// Which facts were drawn so far.
#[derive(Default)]
struct Drawn {
    by_kind: std::collections::HashMap<String, usize>,
    outside_window: usize,
}

impl Drawn {
    /// Draws a kind among those that were drawn least often, and a fact of it.
    fn fact(&mut self, mut facts: Vec<Fact>, rng: &mut ChaCha8Rng) -> Option<Fact> {
        let count = |fact: &Fact| self.by_kind.get(&fact.kind).copied().unwrap_or(0);
        let least = facts.iter().map(count).min()?;
        let mut kinds: Vec<String> =
            facts.iter().filter(|fact| count(fact) == least).map(|fact| fact.kind.clone()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let kind = kinds.swap_remove(index_below(kinds.len(), rng));
        facts.retain(|fact| fact.kind == kind);
        *self.by_kind.entry(kind).or_insert(0) += 1;
        Some(facts.swap_remove(index_below(facts.len(), rng)))
    }
}

/// The facts of a document that its vector can hold, and how many it cannot.
fn facts_of<E: Embedder>(
    evaluation: &Evaluation<E>,
    corpus: &Corpus,
    sources: &Sources<'_>,
    document: usize,
) -> (Vec<Fact>, usize) {
    let text = &corpus.texts()[document];
    let embedders: [Option<&dyn Embedder>; 2] = [Some(&evaluation.embedder), evaluation.surrogate.as_deref()];
    let windows: Vec<Range<usize>> =
        embedders.into_iter().flatten().filter_map(|embedder| embedder.window(text)).collect();
    let is_inside = |span: &Range<usize>| {
        windows.iter().all(|window| window.start <= span.start && span.end <= window.end)
    };
    let facts = sources.facts_of(document);
    let all = facts.len();
    let inside: Vec<Fact> = facts.into_iter().filter(|fact| is_inside(&fact.span)).collect();
    let outside = all - inside.len();
    if inside.is_empty() && corpus.facts().is_none() {
        let word = sources.vocabulary.rarest(text, is_inside).map(|span| Fact::new(WORD, span));
        return (word.into_iter().collect(), outside);
    }
    (inside, outside)
}

/// A stream of draws that no other part of an evaluation reads.
fn rng(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6775_6573_7320_7631);
    rng.set_stream(stream);
    rng
}

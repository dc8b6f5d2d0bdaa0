//! Measures what a defense is worth, with an attack and a retrieval task on the same protected vectors.
//!
//! [`Evaluation`] embeds a [`Corpus`] once. Under each defense it protects all documents and queries,
//! searches the protected documents, and lets each [`Adversary`] attack a sample *of those very
//! vectors*. The attack on the undefended vectors gives the ceiling. Each row has its own floor: its outputs,
//! compared with other texts. A defense's `leak` says where the attack on it lies between floor and ceiling.

pub mod adversaries;
mod assumed;
mod baseline;
mod budget;
mod chosen;
mod clean;
mod conclusion;
mod contamination;
pub mod corpus;
mod draws;
mod english;
pub mod facts;
mod given;
mod guess;
mod journal;
pub(crate) mod keys;
mod linkage;
mod membership;
pub mod metrics;
mod oracle;
mod privacy;
pub mod records;
mod recovery;
mod repeats;
mod report;
pub mod retrieval;
mod run;
mod second_stage;
mod shortfalls;
mod signature;
mod stages;
pub mod statistics;
mod steady;
pub mod sweep;
pub mod text;
mod threat;
mod trec_files;
mod utility;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use embosk_attacks::Attack;
use embosk_defenses::Stack;
use ndarray::Array2;
use serde_json::{Map, Value};

pub use adversaries::Adversary;
#[cfg_attr(
    not(feature = "cli"),
    allow(unused_imports, reason = "the command line alone uses it from here")
)]
pub(crate) use adversaries::widened;
pub use baseline::Baseline;
pub use budget::{Budget, CONFIDENCE, Finding, FindingKind, Outcome, TOLERANCES, Verdict};
#[cfg_attr(
    not(feature = "cli"),
    allow(unused_imports, reason = "the command line alone uses it from here")
)]
pub(crate) use conclusion::NO_SCORE;
pub use conclusion::{Advice, AttackStrength, Shortfall};
pub use corpus::Corpus;
pub use english::english;
pub use guess::{CANDIDATES as GUESS_CANDIDATES, KindScore};
pub use journal::Journal;
pub use metrics::Metric;
pub use privacy::training_imitation;
pub use repeats::DistinctRow;
pub use report::{Example, Report, Row, Undefended};
#[cfg_attr(
    not(feature = "cli"),
    allow(unused_imports, reason = "the command line alone uses it from here")
)]
pub(crate) use second_stage::Exact;
pub use second_stage::Reranked;
pub use stages::Stage;
pub use sweep::Sweep;
pub use threat::Threat;

use self::adversaries::Registry;
use self::given::Given;
use self::stages::Meter;
use self::steady::Steady;
use crate::embedder::{EmbeddingCache, Normalizer};
use crate::{Embedder, Error};

/// How many texts are attacked by default.
pub const SAMPLES: usize = 200;

/// Measures defenses on an embedder: what an attack still recovers, and what is left of retrieval.
///
/// The embedder says how texts are compared, which embedder it is, and whether its vectors have norm 1; see
/// [`Embedder`]. A closure says none of this. Texts are then compared without regard to case: most embedders
/// ignore case, so a case-sensitive comparison would count recovered texts as missed. The signature and
/// [`Report::warnings`] say what was assumed.
///
/// Without an attack, only retrieval is measured:
///
/// ```
/// use embosk::evaluate::{Corpus, Evaluation};
/// use embosk::{Embedder, Stack};
/// use ndarray::Array2;
///
/// let letters = |texts: &[&str]| -> Result<Array2<f32>, embosk::BoxError> {
///     let count = |text: &str, letter| text.bytes().filter(|&byte| byte == letter).count() as f32;
///     Ok(Array2::from_shape_fn((texts.len(), 26), |(row, letter)| count(texts[row], b'a' + letter as u8)))
/// };
/// let report = Evaluation::new(letters)
///     .corpus(Corpus::records(500, 0))
///     .defense(Stack::new())
///     .defense("gaussian(sigma=0.5)".parse()?)
///     .run()?;
/// let ndcg = |row: usize| report.rows[row].score("ndcg_at_10").map(|score| score.value);
/// assert!(ndcg(0) > ndcg(1));
/// # Ok::<(), embosk::Error>(())
/// ```
pub struct Evaluation<E> {
    embedder: Steady<E>,
    corpus: Option<Corpus>,
    attack: Option<Box<dyn Attack>>,
    stacks: Vec<Stack>,
    adversaries: Attackers,
    /// Whether the usual adversaries run without an attack too.
    guesses_alone: bool,
    registry: Registry,
    retrained: Option<Box<dyn Attack>>,
    surrogate: Option<Box<dyn Embedder>>,
    /// The name of the texts, and the texts.
    attacker_texts: Option<(String, Vec<String>)>,
    cache: Option<EmbeddingCache>,
    /// Existing vectors, in place of embedding the corpus.
    given: Option<Given>,
    samples: usize,
    /// Whether fewer may be attacked.
    fewer_samples: bool,
    keep_contaminated: bool,
    guess_candidates: usize,
    /// The file for the guesses.
    guesses: Option<PathBuf>,
    seed: u64,
    metrics: Vec<Metric>,
    /// Replaces what the embedder says.
    normalizer: Option<Normalizer>,
    notes: Map<String, Value>,
    caveats: Vec<String>,
    trec_runs: Option<PathBuf>,
    examples: usize,
    journal: Box<dyn Journal + Send>,
    progress: Box<dyn Fn(&str) + Send>,
    meter: Meter,
}

impl<E: Embedder> Evaluation<E> {
    /// Creates an evaluation on `embedder`, which is also the attacker's oracle.
    pub fn new(embedder: E) -> Self {
        Self {
            embedder: Steady::new(embedder),
            corpus: None,
            attack: None,
            stacks: Vec::new(),
            adversaries: Attackers::Named(Vec::new()),
            guesses_alone: false,
            registry: Registry::default(),
            retrained: None,
            surrogate: None,
            attacker_texts: None,
            cache: None,
            given: None,
            samples: SAMPLES,
            fewer_samples: false,
            keep_contaminated: false,
            guess_candidates: guess::CANDIDATES,
            guesses: None,
            seed: 0,
            metrics: metrics::built_in().to_vec(),
            normalizer: None,
            notes: Map::new(),
            caveats: Vec::new(),
            trec_runs: None,
            examples: 0,
            journal: Box::new(journal::Nothing),
            progress: Box::new(|_| ()),
            meter: Meter::new(),
        }
    }

    /// Sets the corpus to measure on. Default: 2,000 held-out records, [`Corpus::records`].
    pub fn corpus(self, corpus: Corpus) -> Self {
        Self { corpus: Some(corpus), ..self }
    }

    /// Sets the attack. Default: none, so that only retrieval is measured, unless an
    /// [adversary](Self::adversary) is named: without an attack, adversaries guess facts and tell what is stored, but
    /// recover no text.
    pub fn attack(self, attack: impl Attack + 'static) -> Self {
        Self { attack: Some(Box::new(attack)), ..self }
    }

    /// Adds a defense. If none is added, the undefended vectors are measured.
    pub fn defense(mut self, stack: Stack) -> Self {
        self.stacks.push(stack);
        self
    }

    /// Adds an adversary, ours or your own. If none is added, the defaults are `naive`, `informed` with up to
    /// 10,000 pairs, and `leaked` with twice as many pairs as the vectors have dimensions, or fewer if there
    /// are not enough texts. Of two with the same name, the first is used.
    ///
    /// [`adversaries::parse`] reads a name as on the command line.
    pub fn adversary(mut self, adversary: impl Adversary + 'static) -> Self {
        let name = adversary.to_string();
        match &mut self.adversaries {
            Attackers::Named(named) if named.iter().any(|it| it.to_string() == name) => {}
            Attackers::Named(named) => named.push(Arc::new(adversary)),
            Attackers::All => self.adversaries = Attackers::Named(vec![Arc::new(adversary)]),
        }
        self
    }

    /// Adds every adversary of the [registry](Self::registry), at each strength for which the corpus is large
    /// enough. `unpaired` runs only on defenses with a key, and `averaging` only if releases differ.
    pub fn every_adversary(self) -> Self {
        Self { adversaries: Attackers::All, ..self }
    }

    /// Runs the default adversaries even without an attack: they then guess facts and tell what is stored, but recover
    /// no text.
    pub fn usual_adversaries(self) -> Self {
        Self { guesses_alone: true, ..self }
    }

    /// Sets the registry from which the defaults and [`every_adversary`](Self::every_adversary) take their
    /// adversaries. Default: ours.
    pub fn registry(self, registry: Registry) -> Self {
        Self { registry, ..self }
    }

    /// Sets the attack of [`Retrained`](adversaries::Retrained). It was trained on vectors that the attacker
    /// protected (`embosk train attack --defense`).
    pub fn retrained(self, attack: impl Attack + 'static) -> Self {
        Self { retrained: Some(Box::new(attack)), ..self }
    }

    /// Sets the embedder that the attack was trained for, if it is not the one that is defended.
    ///
    /// Adversaries with pairs fit a map from the protected vectors to the surrogate's (Chen, Xu and Bjerva
    /// 2025, arXiv 2502.11308). The attack's oracle, its ceiling, its floor and the normalizer are the
    /// surrogate's.
    pub fn surrogate(self, embedder: impl Embedder + 'static) -> Self {
        Self { surrogate: Some(Box::new(Steady::new(embedder))), ..self }
    }

    /// Sets the attacker's own texts, which are of the same kind as the stored ones, and a name for them.
    /// Texts that are also stored are left out. Default: records of the training split if the corpus is
    /// [`Corpus::records`], otherwise documents that are not attacked.
    pub fn attacker_texts(self, name: &str, texts: Vec<String>) -> Self {
        Self { attacker_texts: Some((name.to_owned(), texts)), ..self }
    }

    /// Caches the vectors of documents, queries, the attacker's texts and the attack's hypotheses on disk, so that
    /// another evaluation, perhaps of another defense, embeds only what is new. The embedder, and a surrogate, must have an identity. Default: no cache.
    pub fn cache(self, cache: EmbeddingCache) -> Self {
        Self { cache: Some(cache), ..self }
    }

    /// Takes vectors that exist already, in place of embedding the corpus: `documents` has a row for each document,
    /// `[documents, dim]`, and `queries` one for each query of the corpus's file, in their order.
    ///
    /// A few documents are embedded to see whether the vectors are the embedder's. With
    /// [`NoEmbedder`](crate::embedder::NoEmbedder) as the embedder, retrieval is measured, and whatever an
    /// [adversary](Self::adversary) can tell without an embedder. Everything else is refused by name. Default: no
    /// vectors.
    pub fn vectors(self, documents: Array2<f32>, queries: Option<Array2<f32>>) -> Self {
        Self { given: Some(Given { documents, queries }), ..self }
    }

    /// Sets how many documents are attacked, 2 or more. Default: 200.
    pub fn samples(self, samples: usize) -> Self {
        Self { samples, fewer_samples: false, ..self }
    }

    /// Sets how many documents are attacked at most. Of a smaller corpus, half of the documents are attacked, and the
    /// others are the attackers' own texts and pairs.
    pub fn samples_at_most(self, samples: usize) -> Self {
        Self { samples, fewer_samples: true, ..self }
    }

    /// Sets whether texts that an attack was [trained on](Attack::trained_on) may be attacked. Otherwise, others are
    /// drawn in their place. The report says how many there were. Default: no.
    pub fn keep_contaminated(self, keep: bool) -> Self {
        Self { keep_contaminated: keep, ..self }
    }

    /// Sets how many candidates the attacker has for a fact, including the true one; 1 or 0 for no guessing. Default:
    /// 64.
    ///
    /// The attacker knows each attacked text except for one fact. The seed draws it from those that the corpus labels
    /// or, without labels, [`facts::by_rule`] finds; if there is none, it is the text's rarest word. The other
    /// candidates are facts of the same kind: from the attacker's own texts, otherwise from other documents,
    /// otherwise made up.
    pub fn guess_candidates(self, candidates: usize) -> Self {
        Self { guess_candidates: if candidates > 1 { candidates } else { 0 }, ..self }
    }

    /// Writes the guesses to a file of JSON lines: each attacked text around its fact, the candidates, and what each
    /// adversary picked. The file holds the texts, so only its owner may read it. Default: no file.
    pub fn guesses(self, file: impl Into<PathBuf>) -> Self {
        Self { guesses: Some(file.into()), ..self }
    }

    /// Sets the seed for the default corpus, the sample, the defenses' randomness and the intervals. Default:
    /// 0.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Adds your own metric to the built-in ones. Reports, tables and files show it, and a budget may limit
    /// it.
    ///
    /// ```
    /// # use embosk::evaluate::{Corpus, Evaluation, Metric};
    /// # use embosk::Embedder;
    /// # let letters = |texts: &[&str]| -> Result<ndarray::Array2<f32>, embosk::BoxError> {
    /// #     let count = |text: &str, letter| text.bytes().filter(|&byte| byte == letter).count() as f32;
    /// #     Ok(ndarray::Array2::from_shape_fn((texts.len(), 26), |(row, at)| count(texts[row], b'a' + at as u8)))
    /// # };
    /// use embosk::evaluate::retrieval::average_precision;
    ///
    /// let map = Metric::retrieval("map_at_100", |found| average_precision(found, 100)).depth(100);
    /// let report = Evaluation::new(letters).corpus(Corpus::records(500, 0)).metric(map).run()?;
    /// assert!(report.rows[0].score("map_at_100").is_some());
    /// # Ok::<(), embosk::Error>(())
    /// ```
    pub fn metric(mut self, metric: Metric) -> Self {
        self.metrics.push(metric);
        self
    }

    /// Sets the normalizer, which is applied to both sides of a comparison. Case or accents that the embedder
    /// drops cannot be recovered, so they should not count. Default: the [embedder's](Embedder::normalizer),
    /// or the surrogate's if there is one; if that is unknown, lower case, with a warning.
    pub fn normalizer(self, normalizer: Normalizer) -> Self {
        Self { normalizer: Some(normalizer), ..self }
    }

    /// Adds to the report's signature what the evaluation cannot know, such as the attack's hash. A note
    /// named `embedder` replaces the name in the embedder's identity.
    pub fn note(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.notes.insert(name.to_owned(), value.into());
        self
    }

    /// Adds to the report's warnings what the evaluation cannot know.
    pub fn caveat(mut self, text: impl Into<String>) -> Self {
        self.caveats.push(text.into());
        self
    }

    /// Writes the documents that each stack finds, 100 for each query, to run files of trec_eval in `folder`:
    /// `1-none.run`, `2-gaussian-sigma-0.01.run`. Default: no files.
    pub fn trec_runs(self, folder: impl Into<PathBuf>) -> Self {
        Self { trec_runs: Some(folder.into()), ..self }
    }

    /// Sets how many of the attacked texts each row shows, with what was recovered of them:
    /// [`Row::examples`]. Anyone who can read the report can read these texts. Default: none.
    pub fn examples(self, examples: usize) -> Self {
        Self { examples, ..self }
    }

    /// Sets a journal that follows the evaluation row by row. It keeps finished rows, and knows which rows
    /// need not be measured again.
    pub fn journal(self, journal: impl Journal + Send + 'static) -> Self {
        Self { journal: Box::new(journal), ..self }
    }

    /// Calls `progress` with messages about the current step, for a waiting user.
    pub fn progress(self, progress: impl Fn(&str) + Send + 'static) -> Self {
        Self { progress: Box::new(progress), ..self }
    }

    /// Whether an adversary reads the protected vectors.
    fn is_attacked(&self) -> bool {
        let is_named = match &self.adversaries {
            Attackers::Named(named) => !named.is_empty(),
            Attackers::All => true,
        };
        self.attack.is_some() || is_named || self.guesses_alone
    }

    /// Runs everything. Equal settings give an equal report.
    ///
    /// # Errors
    /// When the corpus has fewer documents than are attacked and known to the attacker together, or the embedder,
    /// a defense or the attack fails.
    pub fn run(self) -> Result<Report, Error> {
        run::run(self)
    }
}

impl<E> fmt::Debug for Evaluation<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evaluation")
            .field("attack", &self.attack)
            .field("stacks", &self.stacks)
            .field("adversaries", &self.adversaries)
            .field("samples", &self.samples)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// Which adversaries attack.
#[derive(Debug)]
enum Attackers {
    /// These, or the registry's defaults if there are none.
    Named(Vec<Arc<dyn Adversary>>),
    /// All adversaries of the registry.
    All,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn an_evaluation_may_move_to_another_thread() {
        fn is_send<T: Send>() {}
        is_send::<Evaluation<Arc<dyn Embedder>>>();
        is_send::<Evaluation<Box<dyn Embedder>>>();
    }
}

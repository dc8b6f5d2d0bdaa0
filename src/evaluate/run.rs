//! An evaluation from beginning to end.

use embosk_attacks::Attack;
use embosk_defenses::{Defense, Rng, Role, Stack};
use ndarray::{Array2, ArrayView2};
use serde_json::{Map, Value, json};

use super::journal::{Journal, Nothing, Undefended};
use super::oracle::{Oracle, embed_all};
use super::outcome::{Baseline, Outcome};
use super::privacy::{self, Trials};
use super::report::{AttackScores, Report, RetrievalScores, Row};
use super::retrieval::{self, normalize_rows};
use super::statistics::{RESAMPLES, mean};
use super::{Adversary, Corpus, Evaluation};
use crate::{Embedder, Error};

/// The undefended attack must score this many BLEU points above chance, at the lower end of the interval.
const LEAST_GAP: f64 = 10.0;

pub(super) fn run<E: Embedder>(mut evaluation: Evaluation<E>) -> Result<Report, Error> {
    let corpus =
        evaluation.corpus.take().unwrap_or_else(|| Corpus::records(super::corpus::RECORDS, evaluation.seed));
    if evaluation.stacks.is_empty() {
        evaluation.stacks.push(Stack::new());
    }
    let texts = privacy::order(&corpus, &evaluation.normalizer, evaluation.seed).len();
    check(&evaluation, &corpus, texts)?;
    let clean = Vectors::embed(&evaluation, &corpus)?;
    if evaluation.adversaries.is_empty() && evaluation.attack.is_some() {
        let spare = texts - evaluation.samples;
        evaluation.adversaries = Adversary::defaults(clean.documents.ncols(), spare);
    }
    let mut journal = std::mem::replace(&mut evaluation.journal, Box::new(Nothing));
    let settings = settings(&evaluation, &corpus, &clean.documents);
    journal.begin(&settings, evaluation.stacks.len() * evaluation.adversaries.len().max(1))?;
    match &evaluation.attack {
        Some(attack) => attacked(&evaluation, attack.as_ref(), &corpus, &clean, journal.as_mut(), settings),
        None => searched(&evaluation, &corpus, &clean, journal.as_mut(), settings),
    }
}

/// `texts` is how many different ones the corpus holds.
fn check<E>(evaluation: &Evaluation<E>, corpus: &Corpus, texts: usize) -> Result<(), Error> {
    if texts == 0 {
        return Err(Error::Empty("the corpus"));
    }
    if evaluation.attack.is_none() {
        return match (evaluation.adversaries.is_empty(), corpus.queries().is_empty()) {
            (false, _) => Err(Error::Setting("an adversary needs an attack".into())),
            (_, true) => Err(Error::Setting("there is nothing to measure: no attack, and no queries".into())),
            _ => Ok(()),
        };
    }
    let samples = evaluation.samples;
    if samples < 2 {
        return Err(Error::Setting(
            "at least 2 samples are needed: the floor is scored on another one".into(),
        ));
    }
    let pairs = evaluation.adversaries.iter().map(|adversary| adversary.pairs()).max().unwrap_or(0);
    if samples.saturating_add(pairs) > texts {
        return Err(Error::Setting(format!(
            "{samples} samples and {pairs} pairs of an adversary need as many different documents, but the corpus holds \
             {texts}; lower one of the two, or take a larger corpus"
        )));
    }
    Ok(())
}

/// The vectors of all documents and of all queries.
struct Vectors {
    documents: Array2<f32>,
    queries: Array2<f32>,
}

impl Vectors {
    fn embed<E: Embedder>(evaluation: &Evaluation<E>, corpus: &Corpus) -> Result<Self, Error> {
        let embed = |what: &str, texts: &[String]| {
            let tell = |done| (evaluation.progress)(&format!("embedding {what}: {done} of {}", texts.len()));
            embed_all(&evaluation.embedder, texts, tell)
        };
        let documents = embed("documents", corpus.texts())?;
        let queries = match corpus.queries() {
            [] => Array2::zeros((0, documents.ncols())),
            queries => embed("queries", queries)?,
        };
        if queries.ncols() != documents.ncols() {
            return Err(Error::Embedder(
                "the queries' vectors differ in dimension from the documents'".into(),
            ));
        }
        Ok(Self { documents, queries })
    }

    fn protect(&self, stack: &Stack, seed: u64) -> Result<Self, Error> {
        let mut rng = Rng::seeded(seed);
        let (mut documents, mut queries) = (self.documents.clone(), self.queries.clone());
        stack.protect(Role::Document, documents.view_mut(), &mut rng)?;
        stack.protect(Role::Query, queries.view_mut(), &mut rng)?;
        Ok(Self { documents, queries })
    }

    fn retrieval(&self, corpus: &Corpus, seed: u64) -> Result<RetrievalScores, Error> {
        if corpus.queries().is_empty() {
            return Ok(RetrievalScores::default());
        }
        let unit = |vectors: ArrayView2<'_, f32>| {
            let mut vectors = vectors.to_owned();
            normalize_rows(vectors.view_mut());
            vectors
        };
        let (documents, queries) = (unit(self.documents.view()), unit(self.queries.view()));
        let rankings = retrieval::search(documents.view(), queries.view(), 10, corpus.ids())?;
        let judgements = corpus.judgements();
        Ok(RetrievalScores {
            ndcg_at_10: mean(
                &judgements.scores(&rankings, |found, judged| retrieval::ndcg(found, judged, 10)),
                seed,
            ),
            recall_at_10: mean(
                &judgements.scores(&rankings, |found, judged| retrieval::recall(found, judged, 10)),
                seed,
            ),
            mrr_at_10: mean(
                &judgements.scores(&rankings, |found, judged| retrieval::mrr(found, judged, 10)),
                seed,
            ),
        })
    }
}

/// The stacks to measure: those that were given, then those that the journal asks for.
struct Queue<'a> {
    given: std::slice::Iter<'a, Stack>,
    names: Vec<Value>,
}

impl<'a> Queue<'a> {
    fn new(given: &'a [Stack]) -> Self {
        Self { given: given.iter(), names: Vec::new() }
    }

    fn next(&mut self, journal: &mut dyn Journal, rows: &[Row]) -> Result<Option<Stack>, Error> {
        let next = match self.given.next() {
            Some(stack) => Some(stack.clone()),
            None => journal.next(rows)?,
        };
        self.names.extend(next.iter().map(|stack| json!(stack.to_string())));
        Ok(next)
    }
}

/// Retrieval alone.
fn searched<E>(
    evaluation: &Evaluation<E>,
    corpus: &Corpus,
    clean: &Vectors,
    journal: &mut dyn Journal,
    mut signature: Map<String, Value>,
) -> Result<Report, Error> {
    let mut rows = Vec::new();
    let mut queue = Queue::new(&evaluation.stacks);
    while let Some(stack) = queue.next(journal, &rows)? {
        if let Some(row) = journal.known(&stack.to_string(), "none") {
            rows.push(row);
            continue;
        }
        (evaluation.progress)(&format!("{stack}: retrieval"));
        let retrieval = clean.protect(&stack, evaluation.seed)?.retrieval(corpus, evaluation.seed)?;
        let row = Row {
            defense: stack.to_string(),
            adversary: "none".into(),
            n: 0,
            attack: AttackScores::default(),
            leak: None,
            retrieval,
            map: None,
            oracle_queries: None,
            examples: Vec::new(),
        };
        journal.finished(&row)?;
        rows.push(row);
    }
    signature.insert("defenses".into(), queue.names.into());
    Ok(Report { signature, rows, ceiling: None, floor: None, conclusive: true, reason: None })
}

fn attacked<E: Embedder>(
    evaluation: &Evaluation<E>,
    attack: &dyn Attack,
    corpus: &Corpus,
    clean: &Vectors,
    journal: &mut dyn Journal,
    mut signature: Map<String, Value>,
) -> Result<Report, Error> {
    let seed = evaluation.seed;
    let oracle = Oracle::new(&evaluation.embedder, clean.documents.ncols(), evaluation.progress.as_ref());
    let drawn = (evaluation.samples, seed);
    let mut trials = Trials::new(attack, oracle, &evaluation.normalizer, (corpus, &clean.documents), drawn);
    let undefended = undefended(&mut trials, journal, drawn)?;
    let baseline = Baseline { ceiling: &undefended.ceiling_bleu, floor: &undefended.floor_bleu };
    let conclusive = baseline.gap(seed) >= LEAST_GAP;
    let leak = |outcome: &Outcome| if conclusive { baseline.leak(&outcome.bleu, seed) } else { None };
    let mut rows = Vec::new();
    let mut queue = Queue::new(&evaluation.stacks);
    while let Some(stack) = queue.next(journal, &rows)? {
        let mut measured = None;
        for &adversary in &evaluation.adversaries {
            if let Some(row) = journal.known(&stack.to_string(), &adversary.to_string()) {
                rows.push(row);
                continue;
            }
            let (protected, retrieval) = if let Some(measured) = measured.take() {
                measured
            } else {
                let protected = clean.protect(&stack, seed)?;
                let retrieval = protected.retrieval(corpus, seed)?;
                (protected, retrieval)
            };
            let (outcome, map) = trials.run(&stack, adversary, &protected.documents)?;
            let row = Row {
                defense: stack.to_string(),
                adversary: adversary.to_string(),
                n: outcome.recovered.len(),
                attack: outcome.scores(seed),
                leak: leak(&outcome),
                retrieval,
                map,
                oracle_queries: Some(outcome.queries()),
                examples: trials.examples(&outcome, evaluation.examples),
            };
            journal.finished(&row)?;
            rows.push(row);
            measured = Some((protected, retrieval));
        }
    }
    signature.insert("defenses".into(), queue.names.into());
    signature.insert("adversaries".into(), evaluation.adversaries.iter().map(ToString::to_string).collect());
    signature.insert("oracle_queries_undefended".into(), json!(undefended.oracle_queries));
    let reason = (!conclusive).then(|| broken(baseline.gap(seed)));
    let (ceiling, floor) = (Some(undefended.ceiling), Some(undefended.floor));
    Ok(Report { signature, rows, ceiling, floor, conclusive, reason })
}

/// The attack without a defense, as the journal knows it or measured now.
fn undefended(
    trials: &mut Trials<'_>,
    journal: &mut dyn Journal,
    (samples, seed): (usize, u64),
) -> Result<Undefended, Error> {
    if let Some(known) = journal.undefended().filter(|known| known.is_of(samples)) {
        return Ok(known);
    }
    let (ceiling, floor) = trials.ceiling_and_floor()?;
    let undefended = Undefended {
        ceiling: ceiling.scores(seed),
        floor: floor.scores(seed),
        oracle_queries: ceiling.queries(),
        ceiling_bleu: ceiling.bleu.clone(),
        floor_bleu: floor.bleu,
    };
    journal.finished_undefended(&undefended)?;
    Ok(undefended)
}

fn broken(gap: f64) -> String {
    format!(
        "the undefended attack is shown to be only {gap:.1} BLEU points above chance, and {LEAST_GAP} are needed: it \
         does not work on this corpus and embedder, so its failing under a defense says nothing; use an attack that was \
         trained on this embedder and on texts of this kind"
    )
}

/// All settings that every row depends on; the caller's notes with them. A row's own defense and adversary
/// are added to the report's signature at the end.
fn settings<E>(evaluation: &Evaluation<E>, corpus: &Corpus, documents: &Array2<f32>) -> Map<String, Value> {
    let mut signature = evaluation.notes.clone();
    let mut set = |name: &str, value: Value| signature.insert(name.to_owned(), value);
    set("embosk", json!(env!("CARGO_PKG_VERSION")));
    set("corpus", json!(corpus.name()));
    set("corpus_sha256", json!(corpus.hash()));
    set("documents", json!(documents.nrows()));
    set("dimension", json!(documents.ncols()));
    set("queries", json!(corpus.queries().len()));
    set("seed", json!(evaluation.seed));
    set("retrieval", json!("cosine|search:exact|ties:trec_eval|cutoff:10"));
    set(
        "intervals",
        json!(format!("95%|exact_match:clopper-pearson|others:bootstrap-percentile-{RESAMPLES}")),
    );
    if let Some(attack) = &evaluation.attack {
        set("attack", json!(attack.to_string()));
        set("samples", json!(evaluation.samples));
        set("normalizer", json!(format!("{}|sides:both", evaluation.normalizer.name)));
        set("metrics", metrics());
    }
    signature
}

fn metrics() -> Value {
    json!({
        "exact_match": "whitespace:collapsed",
        "bleu": "sentence-mean|tok:13a|smooth:exp|eff:no",
        "token_f1": "word-sets|lowercase",
        "rouge_l": "f-measure|stemmer:no",
        "entity_recall": "whole-words",
        "cosine": "clean-embedding(output)~clean-embedding(text)",
        "floor": "outputs~next-sample",
        "leak": "(bleu-floor)/(ceiling-floor)",
    })
}

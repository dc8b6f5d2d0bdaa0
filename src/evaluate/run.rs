//! An evaluation from beginning to end.

use embosk_attacks::Attack;
use embosk_defenses::{Defense, Rng, Role, Stack};
use ndarray::{Array2, ArrayView2};
use serde_json::{Map, Value, json};

use super::oracle::{Oracle, embed_all};
use super::outcome::{Baseline, Outcome};
use super::privacy::{self, Trials};
use super::report::{AttackScores, QueryScores, Report, RetrievalScores, Row, Undefended};
use super::retrieval::{self, normalize_rows};
use super::statistics::RESAMPLES;
use super::{Adversary, Corpus, Evaluation, runs};
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
    match &evaluation.attack {
        Some(attack) => attacked(&evaluation, attack.as_ref(), &corpus, &clean),
        None => searched(&evaluation, &corpus, &clean),
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

    /// One score for each query that has a relevant document; of the vectors under the stack of this number,
    /// from 1, or of undefended ones, of which no run is written.
    fn retrieval<E>(
        &self,
        evaluation: &Evaluation<E>,
        corpus: &Corpus,
        number: Option<usize>,
    ) -> Result<Vec<QueryScores>, Error> {
        if corpus.queries().is_empty() {
            return Ok(Vec::new());
        }
        let unit = |vectors: ArrayView2<'_, f32>| {
            let mut vectors = vectors.to_owned();
            normalize_rows(vectors.view_mut());
            vectors
        };
        let (documents, queries) = (unit(self.documents.view()), unit(self.queries.view()));
        let depth = if evaluation.runs.is_some() { runs::DEPTH } else { 10 };
        let rankings = retrieval::search(documents.view(), queries.view(), depth, corpus.ids())?;
        if let Some((folder, number)) = evaluation.runs.as_ref().zip(number) {
            runs::write(folder, (number, &evaluation.stacks[number - 1]), corpus, &rankings)?;
        }
        // each leaves out the same queries: those without a relevant document
        let judgements = corpus.judgements();
        let ndcg = judgements.scores(&rankings, |found, judged| retrieval::ndcg(found, judged, 10));
        let recall = judgements.scores(&rankings, |found, judged| retrieval::recall(found, judged, 10));
        let mrr = judgements.scores(&rankings, |found, judged| retrieval::mrr(found, judged, 10));
        let queries = ndcg.into_iter().zip(recall.into_iter().zip(mrr));
        let query =
            |(ndcg_at_10, (recall_at_10, mrr_at_10))| QueryScores { ndcg_at_10, recall_at_10, mrr_at_10 };
        Ok(queries.map(query).collect())
    }
}

/// Retrieval alone.
fn searched<E>(evaluation: &Evaluation<E>, corpus: &Corpus, clean: &Vectors) -> Result<Report, Error> {
    let mut rows = Vec::new();
    for (number, stack) in (1..).zip(&evaluation.stacks) {
        (evaluation.progress)(&format!("{stack}: retrieval"));
        let queries = clean.protect(stack, evaluation.seed)?.retrieval(evaluation, corpus, Some(number))?;
        rows.push(Row {
            defense: stack.to_string(),
            adversary: "none".into(),
            n: 0,
            attack: AttackScores::default(),
            leak: None,
            retrieval: RetrievalScores::of(&queries, evaluation.seed),
            map: None,
            oracle_queries: None,
            texts: Vec::new(),
            queries,
        });
    }
    let signature = signature(evaluation, corpus, &clean.documents);
    let undefended =
        Undefended { queries: clean.retrieval(evaluation, corpus, None)?, ..Undefended::default() };
    Ok(Report { signature, rows, ceiling: None, floor: None, conclusive: true, reason: None, undefended })
}

fn attacked<E: Embedder>(
    evaluation: &Evaluation<E>,
    attack: &dyn Attack,
    corpus: &Corpus,
    clean: &Vectors,
) -> Result<Report, Error> {
    let seed = evaluation.seed;
    let oracle = Oracle::new(&evaluation.embedder, clean.documents.ncols(), evaluation.progress.as_ref());
    let drawn = (evaluation.samples, seed);
    let mut trials = Trials::new(attack, oracle, &evaluation.normalizer, (corpus, &clean.documents), drawn);
    let (ceiling, floor) = trials.ceiling_and_floor()?;
    let baseline = Baseline { ceiling: &ceiling.bleu, floor: &floor.bleu };
    let conclusive = baseline.gap(seed) >= LEAST_GAP;
    let leak = |outcome: &Outcome| if conclusive { baseline.leak(&outcome.bleu, seed) } else { None };
    let mut rows = Vec::new();
    for (number, stack) in (1..).zip(&evaluation.stacks) {
        let protected = clean.protect(stack, seed)?;
        let queries = protected.retrieval(evaluation, corpus, Some(number))?;
        let retrieval = RetrievalScores::of(&queries, seed);
        for &adversary in &evaluation.adversaries {
            let (outcome, map) = trials.run(stack, adversary, &protected.documents)?;
            rows.push(Row {
                defense: stack.to_string(),
                adversary: adversary.to_string(),
                n: outcome.recovered.len(),
                attack: outcome.scores(seed),
                leak: leak(&outcome),
                retrieval,
                map,
                oracle_queries: Some(outcome.queries()),
                texts: outcome.texts(),
                queries: queries.clone(),
            });
        }
    }
    let mut signature = signature(evaluation, corpus, &clean.documents);
    signature.insert("oracle_queries_undefended".into(), json!(ceiling.queries()));
    let reason = (!conclusive).then(|| broken(baseline.gap(seed)));
    let undefended = Undefended {
        texts: ceiling.texts(),
        unrelated: floor.texts(),
        queries: clean.retrieval(evaluation, corpus, None)?,
    };
    let (ceiling, floor) = (Some(ceiling.scores(seed)), Some(floor.scores(seed)));
    Ok(Report { signature, rows, ceiling, floor, conclusive, reason, undefended })
}

fn broken(gap: f64) -> String {
    format!(
        "the undefended attack is shown to be only {gap:.1} BLEU points above chance, and {LEAST_GAP} are needed: it \
         does not work on this corpus and embedder, so its failing under a defense says nothing; use an attack that was \
         trained on this embedder and on texts of this kind"
    )
}

/// All settings that the scores depend on; the caller's notes with them.
fn signature<E>(evaluation: &Evaluation<E>, corpus: &Corpus, documents: &Array2<f32>) -> Map<String, Value> {
    let mut signature = evaluation.notes.clone();
    let mut set = |name: &str, value: Value| signature.insert(name.to_owned(), value);
    set("embosk", json!(env!("CARGO_PKG_VERSION")));
    set("corpus", json!(corpus.name()));
    set("corpus_sha256", json!(corpus.hash()));
    set("documents", json!(documents.nrows()));
    set("dimension", json!(documents.ncols()));
    set("queries", json!(corpus.queries().len()));
    set("defenses", evaluation.stacks.iter().map(ToString::to_string).collect());
    set("seed", json!(evaluation.seed));
    set("retrieval", json!("cosine|search:exact|ties:trec_eval|cutoff:10"));
    set(
        "intervals",
        json!(format!("95%|exact_match:clopper-pearson|others:bootstrap-percentile-{RESAMPLES}")),
    );
    if let Some(attack) = &evaluation.attack {
        set("attack", json!(attack.to_string()));
        set("adversaries", evaluation.adversaries.iter().map(ToString::to_string).collect());
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

//! An evaluation from beginning to end.

use embosk_attacks::Attack;
use embosk_defenses::{Defense, Rng, Role, Stack};
use ndarray::{Array2, ArrayView2};
use serde_json::{Map, Value, json};

use super::adversary::Adversary;
use super::attacker::Attacker;
use super::clean::{Clean, OwnTexts};
use super::linkage::linkage;
use super::oracle::Oracle;
use super::outcome::{Baseline, Outcome};
use super::privacy::{self, Trials};
use super::report::{AttackScores, QueryScores, Report, RetrievalScores, Row, Undefended};
use super::retrieval::{self, Ranking, normalize_rows};
use super::statistics::RESAMPLES;
use super::{Adversaries, Corpus, Evaluation, runs};
use crate::{Embedder, Error};

/// The undefended attack must score this many BLEU points above chance, at the lower end of the interval.
const LEAST_GAP: f64 = 10.0;

pub(super) fn run<E: Embedder>(mut evaluation: Evaluation<E>) -> Result<Report, Error> {
    let corpus =
        evaluation.corpus.take().unwrap_or_else(|| Corpus::records(super::corpus::RECORDS, evaluation.seed));
    if evaluation.stacks.is_empty() {
        evaluation.stacks.push(Stack::new());
    }
    let mut attacked = privacy::order(&corpus, &evaluation.normalizer, evaluation.seed);
    let texts = attacked.len();
    check(&evaluation, &corpus, texts)?;
    let clean = Clean::embed(&evaluation, &corpus)?;
    let Some(attack) = evaluation.attack.take() else { return searched(&evaluation, &corpus, &clean) };
    let spare = attacked.split_off(evaluation.samples);
    let (adversaries, own) = adversaries(&evaluation, &corpus, &clean, &attacked, texts)?;
    let clean = clean.embed_own(&evaluation, &own, &spare)?;
    let attacker = Attacker { clean: &clean, attacked, spare, seed: evaluation.seed };
    let report = self::attacked(&evaluation, attack.as_ref(), &corpus, attacker, &adversaries)?;
    Ok(Report {
        signature: attack_signature(report.signature, &evaluation, attack.as_ref(), &adversaries, &own),
        ..report
    })
}

/// `texts` is how many different ones the corpus holds.
fn check<E>(evaluation: &Evaluation<E>, corpus: &Corpus, texts: usize) -> Result<(), Error> {
    let named = match &evaluation.adversaries {
        Adversaries::Named(named) => named.as_slice(),
        Adversaries::Every => &[Adversary::Naive],
    };
    if texts == 0 {
        return Err(Error::Empty("the corpus"));
    }
    if evaluation.attack.is_none() {
        return match (named.is_empty(), corpus.queries().is_empty()) {
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
    let pairs = named.iter().map(|adversary| adversary.documents()).max().unwrap_or(0);
    if samples.saturating_add(pairs) > texts {
        return Err(Error::Setting(format!(
            "{samples} samples and {pairs} pairs of an adversary need as many different documents, but the corpus holds \
             {texts}; lower one of the two, or take a larger corpus"
        )));
    }
    Ok(())
}

/// The adversaries to run, and the texts that they have themselves.
fn adversaries<E: Embedder>(
    evaluation: &Evaluation<E>,
    corpus: &Corpus,
    clean: &Clean,
    attacked: &[usize],
    texts: usize,
) -> Result<(Vec<Adversary>, OwnTexts), Error> {
    let dimension = clean.documents.stored.ncols();
    let another_space = clean.documents.attackable().ncols() != dimension;
    let spare = texts - attacked.len();
    let fits = |adversary: &Adversary| !(another_space && adversary.stays_in_the_space());
    let gather = |adversaries: &[Adversary]| OwnTexts::gather(evaluation, corpus, attacked, adversaries);
    let all_own = || gather(&[Adversary::Averaging(1)]).len(spare);
    let chosen: Vec<Adversary> = match &evaluation.adversaries {
        Adversaries::Named(named) if named.is_empty() => Adversary::defaults(dimension, spare, all_own()),
        Adversaries::Named(named) => named.clone(),
        Adversaries::Every => {
            let documents = if gather(&[]).is_spare() { texts / 2 } else { texts };
            Adversary::every(documents, spare, all_own(), evaluation.retrained.is_some())
        }
    };
    let named = matches!(&evaluation.adversaries, Adversaries::Named(named) if !named.is_empty());
    let chosen: Vec<Adversary> = chosen.into_iter().filter(|adversary| named || fits(adversary)).collect();
    let own = gather(&chosen);
    for &adversary in &chosen {
        possible(evaluation, adversary, &own, texts, spare)?;
        if !fits(&adversary) {
            return Err(Error::Setting(format!(
                "`{adversary}` needs the surrogate's vectors to have as many dimensions as the embedder's; use \
                 leaked(k) or informed(n)"
            )));
        }
    }
    Ok((chosen, own))
}

fn possible<E>(
    evaluation: &Evaluation<E>,
    adversary: Adversary,
    own: &OwnTexts,
    texts: usize,
    spare: usize,
) -> Result<(), Error> {
    let refuse = |message: String| Err(Error::Setting(message));
    let (needed, available) = (adversary.own_texts_needed(), own.len(spare));
    if needed > available {
        return refuse(format!(
            "`{adversary}` needs {needed} texts of the attacker's own, and there are {available}; name more of them, or \
             lower the number"
        ));
    }
    match adversary {
        Adversary::Retrained if evaluation.retrained.is_none() || evaluation.surrogate.is_some() => refuse(
            "`retrained` needs an attack that was trained on protected vectors of the embedder itself".into(),
        ),
        Adversary::Unpaired(vectors) => {
            // a spare document is either stored or the attacker's own
            let room = if own.is_spare() { texts / 2 } else { texts };
            match vectors <= room {
                true => Ok(()),
                false => refuse(format!(
                    "`{adversary}` reads {vectors} stored vectors, and {room} different documents are there for it; lower \
                     the number, or take a larger corpus"
                )),
            }
        }
        _ => Ok(()),
    }
}

/// The protected vectors of all documents and of all queries.
struct Vectors {
    documents: Array2<f32>,
    queries: Array2<f32>,
}

impl Vectors {
    fn clean(clean: &Clean) -> Self {
        Self { documents: clean.documents.stored.clone(), queries: clean.queries.clone() }
    }

    fn protect(clean: &Clean, stack: &Stack, seed: u64) -> Result<Self, Error> {
        let mut rng = Rng::seeded(seed);
        let Self { mut documents, mut queries } = Self::clean(clean);
        stack.protect(Role::Document, documents.view_mut(), &mut rng)?;
        stack.protect(Role::Query, queries.view_mut(), &mut rng)?;
        Ok(Self { documents, queries })
    }

    /// One score for each query that has a relevant document.
    fn retrieval(&self, corpus: &Corpus) -> Result<Vec<QueryScores>, Error> {
        Ok(query_scores(corpus, &self.rankings(corpus, 10)?))
    }

    /// The same of the vectors under the stack of this number, from 1; its run file is written where
    /// that is asked for.
    fn retrieval_run<E>(
        &self,
        evaluation: &Evaluation<E>,
        corpus: &Corpus,
        number: usize,
    ) -> Result<Vec<QueryScores>, Error> {
        let Some(folder) = &evaluation.runs else { return self.retrieval(corpus) };
        let rankings = self.rankings(corpus, runs::DEPTH)?;
        runs::write(folder, (number, &evaluation.stacks[number - 1]), corpus, &rankings)?;
        Ok(query_scores(corpus, &rankings))
    }

    /// For each query its `depth` best documents; none where nothing is asked.
    fn rankings(&self, corpus: &Corpus, depth: usize) -> Result<Vec<Ranking>, Error> {
        if corpus.queries().is_empty() {
            return Ok(Vec::new());
        }
        let unit = |vectors: ArrayView2<'_, f32>| {
            let mut vectors = vectors.to_owned();
            normalize_rows(vectors.view_mut());
            vectors
        };
        let (documents, queries) = (unit(self.documents.view()), unit(self.queries.view()));
        retrieval::search(documents.view(), queries.view(), depth, corpus.ids())
    }
}

/// Of each query that has a relevant document. Each metric leaves out the same queries.
fn query_scores(corpus: &Corpus, rankings: &[Ranking]) -> Vec<QueryScores> {
    let judgements = corpus.judgements();
    let ndcg = judgements.scores(rankings, |found, judged| retrieval::ndcg(found, judged, 10));
    let recall = judgements.scores(rankings, |found, judged| retrieval::recall(found, judged, 10));
    let mrr = judgements.scores(rankings, |found, judged| retrieval::mrr(found, judged, 10));
    let queries = ndcg.into_iter().zip(recall.into_iter().zip(mrr));
    let query = |(ndcg_at_10, (recall_at_10, mrr_at_10))| QueryScores { ndcg_at_10, recall_at_10, mrr_at_10 };
    queries.map(query).collect()
}

/// Retrieval alone.
fn searched<E>(evaluation: &Evaluation<E>, corpus: &Corpus, clean: &Clean) -> Result<Report, Error> {
    let mut rows = Vec::new();
    for (number, stack) in (1..).zip(&evaluation.stacks) {
        (evaluation.progress)(&format!("{stack}: retrieval"));
        let queries =
            Vectors::protect(clean, stack, evaluation.seed)?.retrieval_run(evaluation, corpus, number)?;
        rows.push(Row {
            defense: stack.to_string(),
            adversary: "none".into(),
            n: 0,
            attack: AttackScores::default(),
            leak: None,
            retrieval: RetrievalScores::of(&queries, evaluation.seed),
            linkage: linkage(&clean.documents.stored, stack, evaluation.seed)?,
            map: None,
            oracle_queries: None,
            texts: Vec::new(),
            queries,
        });
    }
    let signature = signature(evaluation, corpus, clean);
    let undefended =
        Undefended { queries: Vectors::clean(clean).retrieval(corpus)?, ..Undefended::default() };
    Ok(Report { signature, rows, ceiling: None, floor: None, conclusive: true, reason: None, undefended })
}

fn attacked<E: Embedder>(
    evaluation: &Evaluation<E>,
    attack: &dyn Attack,
    corpus: &Corpus,
    attacker: Attacker<'_>,
    adversaries: &[Adversary],
) -> Result<Report, Error> {
    let (seed, clean) = (evaluation.seed, attacker.clean);
    let embedder: &dyn Embedder = match &evaluation.surrogate {
        Some(surrogate) => surrogate.embedder.as_ref(),
        None => &evaluation.embedder,
    };
    let dimension = clean.documents.attackable().ncols();
    let oracle = Oracle::new(embedder, dimension, evaluation.progress.as_ref());
    let attacks = (attack, evaluation.retrained.as_deref());
    let mut trials = Trials::new(attacks, oracle, &evaluation.normalizer, corpus, attacker);
    let (ceiling, floor) = trials.ceiling_and_floor()?;
    let baseline = Baseline { ceiling: &ceiling.bleu, floor: &floor.bleu };
    let conclusive = baseline.gap(seed) >= LEAST_GAP;
    let leak = |outcome: &Outcome| if conclusive { baseline.leak(&outcome.bleu, seed) } else { None };
    let every = matches!(evaluation.adversaries, Adversaries::Every);
    let mut rows = Vec::new();
    for (number, stack) in (1..).zip(&evaluation.stacks) {
        let protected = Vectors::protect(clean, stack, seed)?;
        let queries = protected.retrieval_run(evaluation, corpus, number)?;
        let retrieval = RetrievalScores::of(&queries, seed);
        let linkage = linkage(&clean.documents.stored, stack, seed)?;
        for &adversary in adversaries {
            if every && !trials.can_gain(stack, adversary)? {
                continue;
            }
            let (outcome, map) = trials.run(stack, adversary, &protected.documents)?;
            rows.push(Row {
                defense: stack.to_string(),
                adversary: adversary.to_string(),
                n: outcome.recovered.len(),
                attack: outcome.scores(seed),
                leak: leak(&outcome),
                retrieval,
                linkage,
                map,
                oracle_queries: Some(outcome.queries()),
                texts: outcome.texts(),
                queries: queries.clone(),
            });
        }
    }
    let mut signature = signature(evaluation, corpus, clean);
    signature.insert("oracle_queries_undefended".into(), json!(ceiling.queries()));
    let reason = (!conclusive).then(|| broken(baseline.gap(seed)));
    let undefended = Undefended {
        texts: ceiling.texts(),
        unrelated: floor.texts(),
        queries: Vectors::clean(clean).retrieval(corpus)?,
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
fn signature<E>(evaluation: &Evaluation<E>, corpus: &Corpus, clean: &Clean) -> Map<String, Value> {
    let mut signature = evaluation.notes.clone();
    let mut set = |name: &str, value: Value| signature.insert(name.to_owned(), value);
    set("embosk", json!(env!("CARGO_PKG_VERSION")));
    set("corpus", json!(corpus.name()));
    set("corpus_sha256", json!(corpus.hash()));
    set("documents", json!(clean.documents.stored.nrows()));
    set("dimension", json!(clean.documents.stored.ncols()));
    set("queries", json!(corpus.queries().len()));
    set("defenses", evaluation.stacks.iter().map(ToString::to_string).collect());
    set("seed", json!(evaluation.seed));
    set("retrieval", json!("cosine|search:exact|ties:trec_eval|cutoff:10"));
    set(
        "intervals",
        json!(format!("95%|exact_match:clopper-pearson|others:bootstrap-percentile-{RESAMPLES}")),
    );
    signature
}

/// The signature with the settings of an attack.
fn attack_signature<E>(
    mut signature: Map<String, Value>,
    evaluation: &Evaluation<E>,
    attack: &dyn Attack,
    adversaries: &[Adversary],
    own: &OwnTexts,
) -> Map<String, Value> {
    let mut set = |name: &str, value: Value| signature.insert(name.to_owned(), value);
    set("attack", json!(attack.to_string()));
    if let Some(retrained) = &evaluation.retrained {
        set("retrained", json!(retrained.to_string()));
    }
    set("adversaries", adversaries.iter().map(ToString::to_string).collect());
    set("attacker_texts", json!(own.name(evaluation)));
    set("attacker_texts_sha256", json!(own.hash()));
    set("samples", json!(evaluation.samples));
    set("normalizer", json!(format!("{}|sides:both", evaluation.normalizer.name)));
    set("metrics", metrics());
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
        "linkage_recall_at_1": "two-keys|documents:first-1000",
        "leak": "(bleu-floor)/(ceiling-floor)",
    })
}

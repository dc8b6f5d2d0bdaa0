//! An evaluation from beginning to end.

use std::sync::Arc;

use embosk_attacks::Attack;
use embosk_defenses::Stack;
use serde_json::{Map, Value, json};

use super::adversaries::{Adversary, Material};
use super::chosen::adversaries;
use super::clean::{Clean, OwnTextSource};
use super::journal::{Journal, Nothing};
use super::linkage::linkage;
use super::metrics::{self, Columns, LINKAGE, Measured, STRENGTH};
use super::oracle::CachedOracle;
use super::privacy::{self, Trial, Trials};
use super::report::{Report, Row, Undefended};
use super::statistics::{RESAMPLES, Score, mean};
use super::utility::Vectors;
use super::{Attackers, Corpus, Evaluation};
use crate::{Embedder, Error};

/// The undefended attack must score this many BLEU points above chance, at the lower end of the interval.
const LEAST_GAP: f64 = 10.0;

pub(super) fn run<E: Embedder>(mut evaluation: Evaluation<E>) -> Result<Report, Error> {
    let corpus =
        evaluation.corpus.take().unwrap_or_else(|| Corpus::records(super::corpus::RECORDS, evaluation.seed));
    if evaluation.stacks.is_empty() {
        evaluation.stacks.push(Stack::new());
    }
    let mut attacked = privacy::order(&corpus, &evaluation.comparison(), evaluation.seed);
    let texts = attacked.len();
    check(&evaluation, &corpus, texts)?;
    metrics::check(&evaluation.metrics)?;
    let mut journal = std::mem::replace(&mut evaluation.journal, Box::new(Nothing));
    let clean = Clean::embed(&evaluation, &corpus)?;
    let settings = settings(&evaluation, &corpus, &clean);
    let warnings = evaluation.warnings(&clean);
    let Some(attack) = evaluation.attack.as_deref() else {
        journal.begin(&settings, evaluation.stacks.len())?;
        let report = searched(&evaluation, &corpus, &clean, journal.as_mut(), settings)?;
        return Ok(Report { warnings, ..report });
    };
    let spare = attacked.split_off(evaluation.samples);
    let (adversaries, own) = adversaries(&evaluation, &corpus, &clean, (evaluation.samples, texts))?;
    let clean = clean.embed_own(&evaluation, &own, (&corpus, &spare))?;
    let settings = attack_settings(settings, &evaluation, attack, &own);
    journal.begin(&settings, evaluation.stacks.len() * adversaries.len())?;
    let material = Material { clean: &clean, attacked, spare, seed: evaluation.seed };
    let trials = trials(&evaluation, attack, &corpus, material);
    let report = self::attacked(&evaluation, &corpus, trials, &adversaries, journal.as_mut(), settings)?;
    Ok(Report { warnings, ..report })
}

/// `texts` is how many different ones the corpus holds.
fn check<E>(evaluation: &Evaluation<E>, corpus: &Corpus, texts: usize) -> Result<(), Error> {
    let (named, is_named) = match &evaluation.adversaries {
        Attackers::Named(named) => (named.as_slice(), !named.is_empty()),
        Attackers::All => (&[][..], true),
    };
    if texts == 0 {
        return Err(Error::Empty("the corpus"));
    }
    if evaluation.attack.is_none() {
        return match (is_named, corpus.queries().is_empty()) {
            (true, _) => Err(Error::Setting("an adversary needs an attack".into())),
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
    let pairs = named.iter().map(|adversary| adversary.needs().leaked_pairs).max().unwrap_or(0);
    if samples.saturating_add(pairs) > texts {
        return Err(Error::Setting(format!(
            "{samples} samples and {pairs} pairs of an adversary need as many different documents, but the corpus holds \
             {texts}; lower one of the two, or take a larger corpus"
        )));
    }
    Ok(())
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

    /// The next one and its number, from 1.
    fn next(&mut self, journal: &mut dyn Journal, rows: &[Row]) -> Result<Option<(usize, Stack)>, Error> {
        let next = match self.given.next() {
            Some(stack) => Some(stack.clone()),
            None => journal.next(rows)?,
        };
        self.names.extend(next.iter().map(|stack| json!(stack.to_string())));
        Ok(next.map(|stack| (self.names.len(), stack)))
    }
}

/// Retrieval alone.
fn searched<E>(
    evaluation: &Evaluation<E>,
    corpus: &Corpus,
    clean: &Clean,
    journal: &mut dyn Journal,
    mut signature: Map<String, Value>,
) -> Result<Report, Error> {
    let mut rows = Vec::new();
    let mut queue = Queue::new(&evaluation.stacks);
    while let Some((number, stack)) = queue.next(journal, &rows)? {
        if let Some(row) = journal.known(&stack.to_string(), "none") {
            rows.push(row);
            continue;
        }
        (evaluation.progress)(&format!("{stack}: retrieval"));
        let protected = Vectors::protect(clean, &stack, evaluation.seed)?;
        let queries = protected.retrieval_run(evaluation, corpus, (number, &stack))?;
        let linkage = linkage(&clean.documents.stored, &stack, evaluation.seed)?;
        let scores = Measured {
            queries: &queries,
            given: &[(LINKAGE, linkage)],
            ..Measured::nothing(evaluation.seed)
        };
        let row = Row {
            defense: stack.to_string(),
            adversary: "none".into(),
            n: 0,
            scores: scores.scores(&evaluation.metrics)?,
            map: None,
            oracle_queries: None,
            examples: Vec::new(),
            texts: Columns::default(),
            unrelated: Columns::default(),
            queries,
        };
        journal.finished(&row)?;
        rows.push(row);
    }
    signature.insert("defenses".into(), queue.names.into());
    let undefended =
        Undefended { queries: Vectors::clean(clean).retrieval(evaluation, corpus)?, ..Undefended::default() };
    Ok(Report {
        signature,
        rows,
        ceiling: None,
        floor: None,
        conclusive: true,
        reason: None,
        warnings: Vec::new(),
        metrics: evaluation.metrics.clone(),
        undefended,
    })
}

fn trials<'a, E: Embedder>(
    evaluation: &'a Evaluation<E>,
    attack: &'a dyn Attack,
    corpus: &Corpus,
    material: Material<'a>,
) -> Trials<'a> {
    let dimension = material.clean.documents.attackable().ncols();
    let oracle = CachedOracle::new(evaluation.attacked(), dimension, evaluation.progress.as_ref());
    let attacks = (attack, evaluation.retrained.as_deref());
    Trials::new(attacks, oracle, evaluation.comparison(), corpus, material, &evaluation.metrics)
}

fn attacked<E: Embedder>(
    evaluation: &Evaluation<E>,
    corpus: &Corpus,
    mut trials: Trials<'_>,
    adversaries: &[Arc<dyn Adversary>],
    journal: &mut dyn Journal,
    mut signature: Map<String, Value>,
) -> Result<Report, Error> {
    let (seed, clean) = (evaluation.seed, trials.clean());
    let undefended = undefended(evaluation, corpus, &mut trials, adversaries, journal)?;
    let [ceiling, floor] = [&undefended.texts, &undefended.unrelated];
    let gap = metrics::gap(ceiling, floor, seed);
    let conclusive = gap >= LEAST_GAP;
    let nothing = Columns::default();
    let every = matches!(evaluation.adversaries, Attackers::All);
    let (mut rows, mut stacks) = (Vec::new(), Vec::new());
    let mut queue = Queue::new(&evaluation.stacks);
    while let Some((number, stack)) = queue.next(journal, &rows)? {
        let mut measured = None;
        stacks.push(stack.clone());
        for adversary in adversaries {
            if every && !trials.can_gain(&stack, adversary)? {
                continue;
            }
            if let Some(row) = journal.known(&stack.to_string(), &adversary.to_string()) {
                rows.push(row);
                continue;
            }
            if measured.is_none() {
                let protected = Vectors::protect(clean, &stack, seed)?;
                let queries = protected.retrieval_run(evaluation, corpus, (number, &stack))?;
                let linkage = linkage(&clean.documents.stored, &stack, seed)?;
                measured = Some((protected, queries, linkage));
            }
            let Some((protected, queries, linkage)) = &measured else { continue };
            let Trial { recovery, unrelated, map } = trials.run(&stack, adversary, &protected.documents)?;
            let scores = Measured {
                texts: &recovery.texts,
                unrelated: &unrelated,
                ceiling: if conclusive { ceiling } else { &nothing },
                queries,
                given: &[(LINKAGE, *linkage)],
                seed,
            };
            let row = Row {
                defense: stack.to_string(),
                adversary: adversary.to_string(),
                n: recovery.texts.len(),
                scores: scores.scores(&evaluation.metrics)?,
                map,
                oracle_queries: Some(recovery.queries()),
                examples: trials.examples(&recovery, evaluation.examples),
                texts: recovery.texts.clone(),
                unrelated,
                queries: queries.clone(),
            };
            journal.finished(&row)?;
            rows.push(row);
        }
    }
    signature.insert("defenses".into(), queue.names.into());
    signature.insert("adversaries".into(), adversaries.iter().map(ToString::to_string).collect());
    signature.insert("oracle_queries_undefended".into(), json!(undefended.oracle_queries));
    let reason = if conclusive {
        retrained_in_vain(&rows, (&stacks, adversaries), floor, &mut trials, seed)?
    } else {
        Some(broken(gap))
    };
    let conclusive = reason.is_none();
    let [ceiling, floor] =
        [ceiling, floor].map(|texts| Some(metrics::attack_scores(&evaluation.metrics, texts, seed)));
    let metrics = evaluation.metrics.clone();
    let warnings = Vec::new();
    Ok(Report { signature, rows, ceiling, floor, conclusive, reason, warnings, metrics, undefended })
}

/// The attack and retrieval without a defense, as the journal knows it or measured now.
fn undefended<E>(
    evaluation: &Evaluation<E>,
    corpus: &Corpus,
    trials: &mut Trials<'_>,
    adversaries: &[Arc<dyn Adversary>],
    journal: &mut dyn Journal,
) -> Result<Undefended, Error> {
    let samples = evaluation.samples;
    let whole = |known: &Undefended| known.texts.len() == samples && known.unrelated.len() == samples;
    if let Some(known) = journal.undefended().filter(whole) {
        return Ok(known);
    }
    let (ceiling, floor) = trials.ceiling_and_floor(adversaries)?;
    let undefended = Undefended {
        oracle_queries: Some(ceiling.queries()),
        texts: ceiling.texts.clone(),
        unrelated: floor,
        queries: Vectors::clean(trials.clean()).retrieval(evaluation, corpus)?,
    };
    journal.finished_undefended(&undefended)?;
    Ok(undefended)
}

/// Why rows of the retrained attack say nothing: it is near chance on protected vectors, and also on undefended
/// ones and under the key that it was trained under.
fn retrained_in_vain(
    rows: &[Row],
    (stacks, adversaries): (&[Stack], &[Arc<dyn Adversary>]),
    floor: &Columns,
    trials: &mut Trials<'_>,
    seed: u64,
) -> Result<Option<String>, Error> {
    let strength = |texts: &Columns| mean(&texts.values(STRENGTH), seed);
    let low = |score: Option<Score>| score.map_or(0.0, |score| score.low);
    let least = strength(floor).map_or(0.0, |score| score.value) + LEAST_GAP;
    let retrained = adversaries.iter().filter(|adversary| adversary.needs().attack.is_retrained());
    let retrained: Vec<String> = retrained.map(ToString::to_string).collect();
    let is_retrained = |row: &Row| retrained.contains(&row.adversary);
    for stack in stacks {
        let name = stack.to_string();
        let failed = |row: &Row| row.defense == name && is_retrained(row) && low(row.score(STRENGTH)) < least;
        if !rows.iter().any(failed) {
            continue;
        }
        let best = strength(&trials.retrained_at_its_best(stack)?.texts);
        if low(best) < least {
            return Ok(Some(format!(
                "the retrained attack is not shown to be {LEAST_GAP} BLEU points above chance under {name}, nor on \
                 undefended vectors, nor under a key of its own: it is damaged, or was not trained for this defense, \
                 and its failing says nothing"
            )));
        }
    }
    Ok(None)
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
fn settings<E: Embedder>(evaluation: &Evaluation<E>, corpus: &Corpus, clean: &Clean) -> Map<String, Value> {
    let mut settings = evaluation.identities();
    settings.extend(evaluation.notes.clone());
    let mut set = |name: &str, value: Value| settings.insert(name.to_owned(), value);
    set("embosk", json!(env!("CARGO_PKG_VERSION")));
    set("corpus", json!(corpus.name()));
    set("corpus_sha256", json!(corpus.hash()));
    set("documents", json!(clean.documents.stored.nrows()));
    set("dimension", json!(clean.documents.stored.ncols()));
    if clean.documents.has_surrogate() {
        set("surrogate_dimension", json!(clean.documents.attackable().ncols()));
    }
    set("queries", json!(corpus.queries().len()));
    let dangling = corpus.dangling();
    if !dangling.is_empty() {
        let counts = json!({"documents": dangling.documents, "queries": dangling.queries});
        set("dangling_judgements", counts);
    }
    set("seed", json!(evaluation.seed));
    set("retrieval", json!("cosine|search:exact|ties:trec_eval|cutoff:10"));
    set(
        "intervals",
        json!(format!(
            "95%|{}:clopper-pearson|others:bootstrap-percentile-{RESAMPLES}",
            metrics::shares(&evaluation.metrics).join(",")
        )),
    );
    settings
}

/// The settings with those of an attack.
fn attack_settings<E: Embedder>(
    mut settings: Map<String, Value>,
    evaluation: &Evaluation<E>,
    attack: &dyn Attack,
    own: &OwnTextSource,
) -> Map<String, Value> {
    let mut set = |name: &str, value: Value| settings.insert(name.to_owned(), value);
    set("attack", json!(attack.to_string()));
    if let Some(retrained) = &evaluation.retrained {
        set("retrained", json!(retrained.to_string()));
    }
    set("attacker_texts", json!(own.name(evaluation)));
    set("attacker_texts_sha256", json!(own.hash()));
    set("samples", json!(evaluation.samples));
    set("normalizer", json!(format!("{}|sides:both", evaluation.comparison().name())));
    set("metrics", metrics::signatures(&evaluation.metrics).into());
    settings
}

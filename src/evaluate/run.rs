//! An evaluation from beginning to end.

use std::collections::BTreeMap;
use std::sync::Arc;

use embosk_defenses::Stack;
use serde_json::{Map, Value, json};

use super::adversaries::{Adversary, Material};
use super::assumed::norm_warning;
use super::chosen::{Chosen, choose};
use super::clean::Clean;
use super::conclusion::{self, AttackStrength, Means, advice, for_others, strengths};
use super::contamination::Sample;
use super::guess::{self, Guesses, Questions, by_kind};
use super::journal::{Journal, Nothing};
use super::keys;
use super::linkage::linkage;
use super::metrics::{self, Columns, LINKAGE, Measured};
use super::oracle::CachedOracle;
use super::privacy::{Trial, Trials};
use super::report::{Report, Row, Undefended};
use super::signature::{attack_settings, settings};
use super::stages::Stage;
use super::threat::Threat;
use super::utility::{Retrieval, Vectors};
use super::{Attackers, Corpus, Evaluation};
use crate::{Embedder, Error};

/// The adversary's name in a row of [`Report::key_stolen`].
const KEY_STOLEN: &str = "key stolen";

pub(super) fn run<E: Embedder>(mut evaluation: Evaluation<E>) -> Result<Report, Error> {
    let mut corpus =
        evaluation.corpus.take().unwrap_or_else(|| Corpus::records(super::corpus::RECORDS, evaluation.seed));
    if evaluation.stacks.is_empty() {
        evaluation.stacks.push(Stack::new());
    }
    evaluation.check_oracle()?;
    let mut warnings = evaluation.unmeasured(evaluation.is_attacked(), !corpus.queries().is_empty());
    if !evaluation.embedder.can_embed() {
        evaluation.guess_candidates = 0;
        if evaluation.given.as_ref().is_some_and(|given| given.queries.is_none()) {
            corpus = corpus.without_queries();
        }
    }
    metrics::set_candidates(&mut evaluation.metrics, evaluation.guess_candidates);
    let pairs = most_pairs(&evaluation.adversaries);
    let Sample { attacked, spare, contamination } = Sample::draw(&evaluation, &corpus, pairs)?;
    let texts = attacked.len() + spare.len();
    if evaluation.fewer_samples {
        evaluation.samples = attacked.len();
    }
    check(&evaluation, &corpus, (texts, pairs))?;
    metrics::check(&evaluation.metrics)?;
    let mut journal = std::mem::replace(&mut evaluation.journal, Box::new(Nothing));
    let meter = &evaluation.meter;
    let clean = meter.of(Stage::Embedding, || Clean::embed(&evaluation, &corpus))?;
    let settings = settings(&evaluation, &corpus, &clean);
    if !evaluation.is_attacked() {
        journal.begin(&settings, evaluation.stacks.len())?;
        let mut report = searched(&evaluation, &corpus, &clean, journal.as_mut(), settings)?;
        journal.spent(&meter.spent());
        warnings.splice(..0, evaluation.warnings(&clean));
        report.warnings.splice(..0, warnings);
        return Ok(report);
    }
    warnings.extend(contamination.warnings());
    let chosen = choose(&evaluation, &corpus, &clean, (evaluation.samples, texts))?;
    warnings.extend(chosen.shortfalls(clean.documents.stored.ncols()));
    let Chosen { adversaries, own, means, .. } = chosen;
    let clean = meter.of(Stage::Embedding, || clean.embed_own(&evaluation, &own, (&corpus, &spare)))?;
    let questions =
        meter.of(Stage::Embedding, || Questions::ask(&evaluation, (&corpus, &clean), &attacked))?;
    warnings.extend(questions.iter().flat_map(Questions::warnings));
    warnings.extend(evaluation.window_warning(&corpus, &attacked));
    let mut settings = attack_settings(settings, &evaluation, &own);
    settings.extend(contamination.setting());
    settings.extend(questions.iter().flat_map(Questions::settings));
    journal.begin(&settings, evaluation.stacks.len() * adversaries.len())?;
    let material = Material { clean: &clean, attacked, spare, seed: evaluation.seed };
    let trials = trials(&evaluation, &corpus, material).guessing(questions);
    let attackers = (adversaries.as_slice(), means);
    let mut report = self::attacked(&evaluation, &corpus, trials, attackers, journal.as_mut(), settings)?;
    journal.spent(&meter.spent());
    // the embedder may have been asked by the attack alone
    warnings.splice(..0, evaluation.warnings(&clean));
    report.warnings.splice(..0, warnings);
    Ok(report)
}

/// Checks the evaluation's settings. `texts` is how many different texts the corpus holds, and `pairs` how many of them a
/// named adversary has.
fn check<E: Embedder>(
    evaluation: &Evaluation<E>,
    corpus: &Corpus,
    (texts, pairs): (usize, usize),
) -> Result<(), Error> {
    if texts == 0 {
        return Err(Error::Empty("the corpus"));
    }
    if !evaluation.is_attacked() {
        let nothing = "there is nothing to measure: no attack, no adversary, and no queries";
        let is_searched = !corpus.queries().is_empty();
        return if is_searched { Ok(()) } else { Err(Error::Setting(nothing.into())) };
    }
    if texts < 2 && corpus.texts().iter().all(|text| text.trim().is_empty()) {
        return Err(Error::Empty("the corpus"));
    }
    if texts < 2 {
        let passages = match corpus.texts().len() {
            1 => "1 passage".to_owned(),
            several => format!("{several} equal passages"),
        };
        let name = corpus.name();
        return Err(Error::Setting(format!("{name} has {passages}; at least 2 different ones are needed")));
    }
    let samples = evaluation.samples;
    if samples < 2 {
        return Err(Error::Setting(
            "`samples` must be at least 2: the floor is scored on another text".into(),
        ));
    }
    if samples.saturating_add(pairs) > texts {
        let and_pairs =
            if pairs == 0 { String::new() } else { format!(" and {pairs} pairs of an adversary") };
        return Err(Error::Setting(format!(
            "{samples} samples{and_pairs} need as many different documents, but the corpus holds {texts}; lower the \
             samples (`samples`, or --samples on the command line){}, or take a larger corpus",
            if pairs == 0 { "" } else { " or the pairs" }
        )));
    }
    Ok(())
}

/// The most pairs that a named adversary has. Others take what is left.
fn most_pairs(adversaries: &Attackers) -> usize {
    match adversaries {
        Attackers::Named(named) => named.iter().map(|named| named.needs().leaked_pairs).max().unwrap_or(0),
        Attackers::All => 0,
    }
}

/// The stacks to measure: those that were given, then those that the journal asks for.
struct Queue<'a> {
    given: std::slice::Iter<'a, Stack>,
    taken: Vec<Stack>,
}

impl<'a> Queue<'a> {
    fn new(given: &'a [Stack]) -> Self {
        Self { given: given.iter(), taken: Vec::new() }
    }

    /// The next one and its number, from 1.
    fn next(&mut self, journal: &mut dyn Journal, rows: &[Row]) -> Result<Option<(usize, Stack)>, Error> {
        let next = match self.given.next() {
            Some(stack) => Some(stack.clone()),
            None => journal.next(rows)?,
        };
        self.taken.extend(next.clone());
        Ok(next.map(|stack| (self.taken.len(), stack)))
    }

    /// What a signature calls those that were taken.
    fn names(&self) -> Value {
        self.taken.iter().map(ToString::to_string).collect()
    }
}

/// Measures retrieval alone.
fn searched<E: Embedder>(
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
        let (_, Retrieval { queries, given, reranked }) =
            searched_under(evaluation, corpus, clean, (number, &stack))?;
        let scores = Measured { queries: &queries, given: &given, ..Measured::nothing(evaluation.seed) };
        let row = Row {
            defense: stack.to_string(),
            adversary: "none".into(),
            n: 0,
            recovered: 0,
            conclusive: Vec::new(),
            scores: scores.scores(&evaluation.metrics)?,
            threat: Threat::of(&stack),
            key_attacked: None,
            guess_candidates: None,
            guess_by_kind: BTreeMap::new(),
            map: None,
            oracle_queries: None,
            reranked,
            examples: Vec::new(),
            texts: Columns::default(),
            unrelated: Columns::default(),
            queries,
        };
        journal.finished(&row)?;
        rows.push(row);
    }
    signature.insert("defenses".into(), queue.names());
    let undefended =
        Undefended { queries: Vectors::clean(clean).retrieval(evaluation, corpus)?, ..Undefended::default() };
    Ok(Report {
        signature,
        rows,
        key_stolen: Vec::new(),
        ceiling: None,
        floor: None,
        conclusive: Vec::new(),
        reason: None,
        strengths: Vec::new(),
        advice: Vec::new(),
        warnings: norm_warning(clean, &queue.taken).into_iter().collect(),
        metrics: evaluation.metrics.clone(),
        undefended,
    })
}

/// The vectors under the stack with this number, and the scores of a search in them, with how well they are linked to
/// those under another key.
fn searched_under<E: Embedder>(
    evaluation: &Evaluation<E>,
    corpus: &Corpus,
    clean: &Clean,
    (number, stack): (usize, &Stack),
) -> Result<(Vectors, Retrieval), Error> {
    evaluation.meter.of(Stage::Retrieval, || {
        let similarity = evaluation.embedder.similarity().unwrap_or_default();
        let protected = Vectors::protect(clean, stack, (similarity, evaluation.seed))?;
        let mut retrieval = protected.retrieval_run(evaluation, (corpus, clean), (number, stack))?;
        retrieval.given.push((LINKAGE, linkage(&clean.documents.stored, stack, evaluation.seed)?));
        Ok((protected, retrieval))
    })
}

fn trials<'a, E: Embedder>(
    evaluation: &'a Evaluation<E>,
    corpus: &Corpus,
    material: Material<'a>,
) -> Trials<'a> {
    let dimension = material.clean.documents.attackable().ncols();
    let oracle = CachedOracle::new(evaluation.attacked(), dimension, evaluation.progress.as_ref());
    let oracle = oracle.on_disk(evaluation.cache.as_ref());
    let attacks = (evaluation.attack.as_deref(), evaluation.retrained.as_deref());
    let metrics = &evaluation.metrics;
    Trials::new(attacks, oracle, evaluation.comparison(), corpus, material, (metrics, &evaluation.meter))
}

fn attacked<E: Embedder>(
    evaluation: &Evaluation<E>,
    corpus: &Corpus,
    mut trials: Trials<'_>,
    (adversaries, means): (&[Arc<dyn Adversary>], Means),
    journal: &mut dyn Journal,
    mut signature: Map<String, Value>,
) -> Result<Report, Error> {
    let (seed, clean) = (evaluation.seed, trials.clean());
    let undefended = undefended(evaluation, corpus, &mut trials, adversaries, journal)?;
    let [ceiling, floor] = [&undefended.texts, &undefended.unrelated];
    let mut strengths = strengths(&evaluation.metrics, ceiling, floor, seed);
    let conclusive = conclusion::conclusive(&strengths);
    let advised = if conclusive.is_empty() { advice } else { for_others };
    journal.judged(&strengths, &advised(&strengths, means))?;
    let every = matches!(evaluation.adversaries, Attackers::All);
    let (mut rows, mut guesses) = (Vec::new(), Vec::new());
    let mut queue = Queue::new(&evaluation.stacks);
    while let Some((number, stack)) = queue.next(journal, &rows)? {
        let mut measured = None;
        for adversary in adversaries {
            if every && !trials.can_gain(&stack, adversary)? {
                continue;
            }
            if let Some(row) = journal.known(&stack.to_string(), &adversary.to_string()) {
                rows.push(row);
                continue;
            }
            if measured.is_none() {
                measured = Some(searched_under(evaluation, corpus, clean, (number, &stack))?);
            }
            let Some((protected, retrieval)) = &measured else { continue };
            let Retrieval { queries, reranked, .. } = retrieval;
            let trial = trials.run(&stack, adversary, &protected.documents)?;
            let Trial { recovery, unrelated, map, guesses: of_texts, restoration } = trial;
            let means = (protected.documents.ncols(), restoration);
            let mut given = trials.of_store(&stack, adversary, &protected.documents)?;
            given.extend(retrieval.given.iter().copied());
            let scores = Measured {
                texts: &recovery.texts,
                unrelated: &unrelated,
                ceiling,
                conclusive: &conclusive,
                queries,
                given: &given,
                seed,
            };
            let questions = trials.questions();
            let right = questions.map(|questions| by_kind(questions, &questions.right(&of_texts)));
            let row = Row {
                defense: stack.to_string(),
                adversary: adversary.to_string(),
                n: recovery.texts.len(),
                recovered: metrics::recovered(&recovery.texts),
                conclusive: conclusive.clone(),
                scores: evaluation.meter.of(Stage::Scoring, || scores.scores(&evaluation.metrics))?,
                threat: Threat::of(&stack),
                key_attacked: trials.attacks_key(&stack, adversary, means)?,
                guess_candidates: questions.map(|questions| questions.candidates),
                guess_by_kind: right.unwrap_or_default(),
                map,
                oracle_queries: recovery.queries(),
                reranked: *reranked,
                examples: trials.examples(&recovery, evaluation.examples),
                texts: recovery.texts.clone(),
                unrelated,
                queries: queries.clone(),
            };
            journal.finished(&row)?;
            let Row { defense, adversary, .. } = row.clone();
            guesses.push(Guesses { defense, adversary, of_texts });
            rows.push(row);
        }
    }
    if let (Some(path), Some(questions)) = (&evaluation.guesses, trials.questions()) {
        guess::write(path, questions, corpus, &guesses)?;
    }
    signature.insert("defenses".into(), queue.names());
    signature.insert("adversaries".into(), adversaries.iter().map(ToString::to_string).collect());
    signature.insert("oracle_queries_undefended".into(), json!(undefended.oracle_queries));
    let unattacked = keys::unattacked(&rows).map(|key| key.to_string());
    let foreign = evaluation.attacker_texts.as_ref().and_then(|_| trials.membership_warning());
    let warnings = norm_warning(clean, &queue.taken).into_iter().chain(foreign).chain(unattacked).collect();
    let key_stolen = key_stolen(evaluation, &rows, &undefended, &conclusive)?;
    retrained_in_vain(&mut strengths, &mut rows, (&queue.taken, adversaries), (floor, seed), &mut trials)?;
    let [ceiling, floor] =
        [ceiling, floor].map(|texts| Some(metrics::attack_scores(&evaluation.metrics, texts, seed)));
    Ok(Report {
        signature,
        rows,
        key_stolen,
        ceiling,
        floor,
        conclusive: conclusion::conclusive(&strengths),
        reason: conclusion::reason(&strengths),
        advice: advice(&strengths, means),
        strengths,
        warnings,
        metrics: evaluation.metrics.clone(),
        undefended,
    })
}

/// For each stack that re-ranks, what an attacker recovers who has stolen its key and opens the exact vectors. It is
/// what the attack recovers from undefended vectors; the rounding of sealed vectors is negligible.
fn key_stolen<E>(
    evaluation: &Evaluation<E>,
    rows: &[Row],
    undefended: &Undefended,
    conclusive: &[String],
) -> Result<Vec<Row>, Error> {
    let mut stolen: Vec<Row> = Vec::new();
    for row in rows.iter().filter(|row| row.reranked.is_some()) {
        if stolen.iter().any(|other| other.defense == row.defense) {
            continue;
        }
        let Undefended { texts, unrelated, oracle_queries, .. } = undefended;
        let scores = Measured {
            texts,
            unrelated,
            ceiling: texts,
            conclusive,
            queries: &row.queries,
            ..Measured::nothing(evaluation.seed)
        };
        stolen.push(Row {
            adversary: KEY_STOLEN.into(),
            n: texts.len(),
            recovered: metrics::recovered(texts),
            conclusive: conclusive.to_vec(),
            scores: scores.scores(&evaluation.metrics)?,
            guess_by_kind: BTreeMap::new(),
            map: None,
            oracle_queries: *oracle_queries,
            examples: Vec::new(),
            texts: texts.clone(),
            unrelated: unrelated.clone(),
            ..row.clone()
        });
    }
    Ok(stolen)
}

/// The attack and retrieval without a defense, from the journal or measured now.
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
        oracle_queries: ceiling.queries(),
        texts: ceiling.texts.clone(),
        unrelated: floor,
        queries: Vectors::clean(trials.clean()).retrieval(evaluation, corpus)?,
    };
    journal.finished_undefended(&undefended)?;
    Ok(undefended)
}

/// Marks what rows of a retrained attack say nothing about, because the attack fails by itself.
fn retrained_in_vain(
    strengths: &mut [AttackStrength],
    rows: &mut [Row],
    (stacks, adversaries): (&[Stack], &[Arc<dyn Adversary>]),
    floor: (&Columns, u64),
    trials: &mut Trials<'_>,
) -> Result<(), Error> {
    let retrained = adversaries.iter().filter(|adversary| adversary.needs().attack.is_retrained());
    let retrained: Vec<String> = retrained.map(ToString::to_string).collect();
    for stack in stacks {
        let defense = stack.to_string();
        let runs_it = |row: &&mut Row| row.defense == defense && retrained.contains(&row.adversary);
        let mut of_stack: Vec<&mut Row> = rows.iter_mut().filter(runs_it).collect();
        let best = || Ok(trials.retrained_at_its_best(stack)?.texts.clone());
        conclusion::in_vain(strengths, &defense, &mut of_stack, floor, best)?;
    }
    Ok(())
}

//! The settings of an evaluation, and the evaluation that they prepare. Arguments and budget files give them.

mod attack;
mod existing;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Command;
use rand_chacha::rand_core::Rng as _;
use serde::Deserialize;
use serde_json::json;

pub(crate) use self::attack::NamedAttack;
use self::existing::ExistingVectors;
use super::error::CliError;
use super::loaded::Loaded;
use super::models::{self, Cache, Opening, Search, Stages, title};
use super::names::{AdversaryName, Names};
use super::service::ServiceOptions;
use super::session::Session;
use super::terminal::{Terminal, warn};
use super::{rehearsal, retrained};
use crate::embedder::{NoEmbedder, Volume};
use crate::evaluate::adversaries::Retrained;
use crate::evaluate::records::{Split, generate};
use crate::evaluate::{self, Adversary, Corpus, Evaluation};
use crate::{GaussianNoise, Key, Quantization, Rng, Rotation, Stack};

/// Few enough that an evaluation without arguments takes less than three minutes on two cores.
pub(crate) const SAMPLES: usize = 50;

/// The settings of an evaluation, as names; nothing is read or loaded yet.
///
/// A budget file has the fields under their names, except for the defenses: its stacks have their own limits.
#[derive(Debug, Clone, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EvaluationSettings {
    /// The embedder: `reference` (the shipped one), a sentence-transformers folder, a model on the Hugging Face hub
    /// (owner/model), or an address (http(s)://host[:port]/v1#model). Default: the shipped embedder, or none with --vectors.
    #[arg(long, value_name = "E")]
    pub(crate) embedder: Option<String>,
    #[command(flatten)]
    pub(crate) attack: NamedAttack,
    /// The corpus: `records` or `records:N` (built in), a BEIR folder, or a text file with one passage per line
    /// (without retrieval, unless --query-texts and --qrels are given).
    #[arg(long, default_value = "records", value_name = "C")]
    pub(crate) corpus: String,
    /// Which judgments of a BEIR folder count: those of qrels/NAME.tsv, such as dev or train. Default: test.
    #[arg(long, value_name = "NAME")]
    pub(crate) split: Option<String>,
    /// A defense, such as "gaussian(sigma=0.01) | quantization(bits=8)"; may be repeated. Default: no defense,
    /// quantization, two levels of noise, and a rotation under a key drawn from the seed.
    #[arg(long = "defense", value_name = "SPEC")]
    #[serde(skip)]
    pub(crate) defenses: Vec<String>,
    /// An adversary, named by what the attacker has besides the protected vectors; may be repeated.
    #[arg(long = "adversary", value_name = "A")]
    pub(crate) adversaries: Vec<String>,
    /// The attacker's own texts: `records[:N]` (of the training split), a BEIR folder or a text file. Default:
    /// records if the corpus is records, otherwise documents that are not attacked. If these are fewer than 2,000, guided
    /// search and the adversaries use built-in sentences.
    #[arg(long, value_name = "C")]
    pub(crate) attacker_corpus: Option<String>,
    /// The folder of an attack trained with `embosk train attack --defense`, for the adversary `retrained`.
    #[arg(long, value_name = "DIR")]
    pub(crate) retrained: Option<String>,
    /// The embedder that the attack was trained for, if it is not --embedder: attackers with pairs map vectors of
    /// --embedder to it.
    #[arg(long, value_name = "E")]
    pub(crate) surrogate: Option<String>,
    /// How many documents are attacked: a few show what a defense does, and 200 or more give reliable numbers.
    /// Default: 50, or half of the documents if there are fewer than 100; in a budget, 200.
    #[arg(long, value_name = "N")]
    pub(crate) samples: Option<usize>,
    /// Attack texts even if the attack was trained on them. Default: other texts are drawn in their place.
    #[arg(long)]
    pub(crate) keep_contaminated: bool,
    /// How many candidates the attacker has when they guess the fact of a text; 0 for no guessing.
    #[arg(long, default_value_t = evaluate::GUESS_CANDIDATES, value_name = "N")]
    pub(crate) guess_candidates: usize,
    /// A file of the facts in the corpus, one JSON object per line: {"_id": "7", "start": 0, "end": 3, "kind":
    /// "person"}, in characters; "line": 7 in place of "_id" is the seventh document. Default: the facts of records,
    /// and otherwise numbers, dates, amounts and names found by rule.
    #[arg(long, value_name = "FILE")]
    pub(crate) entities: Option<String>,
    /// The seed of records, samples, noise and intervals.
    #[arg(long, default_value_t = 0, value_name = "S")]
    pub(crate) seed: u64,
    #[command(flatten)]
    #[serde(rename = "existing")]
    pub(crate) existing: ExistingVectors,
    #[command(flatten)]
    pub(crate) address: ServiceOptions,
    /// Whether the usual adversaries attack if none is named, even without an attack.
    #[arg(skip)]
    #[serde(skip)]
    pub(crate) usual_adversaries: bool,
}

/// The settings of a budget file that names none.
impl Default for EvaluationSettings {
    fn default() -> Self {
        Self {
            embedder: None,
            existing: ExistingVectors::default(),
            attack: NamedAttack::default(),
            corpus: "records".into(),
            split: None,
            defenses: Vec::new(),
            adversaries: Vec::new(),
            attacker_corpus: None,
            retrained: None,
            surrogate: None,
            samples: Some(evaluate::SAMPLES),
            keep_contaminated: false,
            guess_candidates: evaluate::GUESS_CANDIDATES,
            entities: None,
            seed: 0,
            address: ServiceOptions::default(),
            usual_adversaries: false,
        }
    }
}

/// The defenses and adversaries that settings name.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The stacks; if empty, the usual ones are measured.
    pub(crate) stacks: Vec<Stack>,
    /// The adversaries; if empty, the evaluation's defaults attack.
    pub(crate) adversaries: Vec<AdversaryName>,
}

/// An evaluation on an embedder that was named.
pub(crate) type Prepared = Evaluation<Arc<Loaded>>;

/// Adds the list of adversaries to the help of a verb with [`EvaluationSettings`].
pub(crate) fn with_adversaries(verb: Command, names: &Names) -> Command {
    let help = format!(
        "An adversary, named by what the attacker has besides the protected vectors; may be repeated. Default: naive, \
         informed(10000), and leaked with twice as many pairs as dimensions\n{}\n  `all` stands for all of them, at \
         several strengths",
        names.adversaries.help()
    );
    verb.mut_arg("adversaries", |argument| argument.help(help))
}

impl EvaluationSettings {
    /// Returns how many documents are attacked, if the corpus has as many.
    pub(crate) fn samples(&self) -> usize {
        self.samples.unwrap_or(SAMPLES)
    }

    /// Reads the defenses and adversaries.
    ///
    /// clap must not read them: its errors repeat what was written, which may hold a key.
    pub(crate) fn resolve(&self, names: &Names) -> Result<Resolved, CliError> {
        let stacks = self.defenses.iter().map(|spec| names.stack(spec)).collect::<Result<_, _>>()?;
        self.resolve_with(names, stacks)
    }

    /// Reads the adversaries.
    pub(crate) fn resolve_with(&self, names: &Names, stacks: Vec<Stack>) -> Result<Resolved, CliError> {
        let adversaries = self.adversaries.iter().map(|name| names.adversary(name));
        let adversaries: Vec<_> = adversaries.collect::<Result<_, _>>()?;
        self.check(&adversaries)?;
        Ok(Resolved { stacks, adversaries })
    }

    /// Loads the corpus, and warns if judgements name documents that it does not hold.
    pub(crate) fn corpus(&self) -> Result<Corpus, CliError> {
        self.existing.check(&self.corpus)?;
        let name = self.corpus_name();
        let mut corpus = match &self.split {
            None => self.existing.judged(Corpus::load(name, self.seed)?)?,
            Some(split) if Path::new(name).is_dir() => Corpus::beir_split(name, split)?,
            Some(_) => {
                return Err(CliError::new(
                    "a split is named, but the corpus is not a BEIR folder; name one, or leave the split out",
                ));
            }
        };
        if let Some(entities) = &self.entities {
            corpus = corpus.with_entities(entities)?;
        }
        if !corpus.dangling().is_empty() {
            warn(&format!("warning: {}: {}", corpus.name(), corpus.dangling()));
        }
        Ok(corpus)
    }

    /// Returns whether the corpus is one of made-up records.
    pub(crate) fn is_of_records(&self) -> Result<bool, CliError> {
        Ok(models::records(self.corpus_name())?.is_some())
    }

    /// Returns what attacks this embedder.
    fn stages(&self, attacked: &Loaded) -> Result<Stages, CliError> {
        Ok(self.attack.stages(attacked.hash(), self.is_of_records()?))
    }

    /// What the corpus is read from.
    pub(crate) fn corpus_name(&self) -> &str {
        self.existing.texts.as_deref().unwrap_or(&self.corpus)
    }

    /// The embedder's name; `None` if there are only vectors.
    pub(crate) fn embedder_name(&self) -> Option<&str> {
        match (self.embedder.as_deref(), self.existing.is_there()) {
            (None, true) => None,
            (name, _) => Some(name.unwrap_or(models::REFERENCE)),
        }
    }

    /// Loads everything.
    pub(crate) fn prepare(
        &self,
        session: &Session,
        resolved: &Resolved,
        cache: &Cache,
    ) -> Result<Prepared, CliError> {
        Ok(self.prepare_on((self.corpus()?, None), session, resolved, cache)?.0)
    }

    /// Says what the evaluation would send, if nothing else is asked for.
    pub(crate) fn rehearse(
        &self,
        session: &Session,
        resolved: &Resolved,
        cache: &Cache,
    ) -> Result<Option<ExitCode>, CliError> {
        if !self.address.is_rehearsal() {
            return Ok(None);
        }
        let corpus = self.corpus()?;
        let length = Volume::of(corpus.texts().iter().map(String::as_str), "");
        let (evaluation, embedders) = self.prepare_on((corpus, None), session, resolved, cache)?;
        let attacked = embedders.last().filter(|_| !self.attack.is_none());
        let stages = attacked.map(|attacked| self.stages(attacked)).transpose()?;
        let queries = stages.map(|stages| self.attack.most_queries(stages));
        let attack = (self.samples(), queries, stages.map_or(0, Stages::most_words));
        rehearsal::evaluation(evaluation, &embedders, length, attack).map(Some)
    }

    /// Loads everything but the corpus, and the embedder if it is already open. Returns the embedders too, the
    /// attacked one last.
    pub(crate) fn prepare_on(
        &self,
        (corpus, opened): (Corpus, Option<Arc<Loaded>>),
        session: &Session,
        Resolved { stacks, adversaries }: &Resolved,
        cache: &Cache,
    ) -> Result<(Prepared, Vec<Arc<Loaded>>), CliError> {
        let Session { names, terminal, .. } = session;
        let embedder_names: Vec<&str> =
            self.embedder_name().into_iter().chain(self.surrogate.as_deref()).collect();
        self.address.check(&embedder_names)?;
        let vectors = self.existing.read()?;
        let opening = Opening { services: &self.address, cache, terminal: *terminal };
        let load = |name: &str| opening.embedder(name).map(Arc::new);
        let embedder = match (opened, self.embedder_name(), &vectors) {
            (Some(opened), ..) => opened,
            (None, None, Some(vectors)) => Arc::new(Loaded::None(NoEmbedder::of(vectors.documents.ncols()))),
            (None, name, _) => load(name.unwrap_or(models::REFERENCE))?,
        };
        let surrogate = self.surrogate.as_deref().map(load).transpose()?;
        let attacked = Arc::clone(surrogate.as_ref().unwrap_or(&embedder));
        let embedders = std::iter::once(&embedder).chain(&surrogate).map(Arc::clone).collect();
        let usual = || usual_stacks(self.seed, embedder.dimension());
        let stacks = if stacks.is_empty() { usual()? } else { stacks.clone() };
        let mut evaluation = Evaluation::new(Arc::clone(&embedder))
            .corpus(corpus)
            .keep_contaminated(self.keep_contaminated)
            .guess_candidates(self.guess_candidates)
            .seed(self.seed)
            .registry(names.adversaries.clone());
        evaluation = match self.samples {
            Some(samples) => evaluation.samples(samples),
            None => evaluation.samples_at_most(SAMPLES),
        };
        // vectors are kept by the embedder that they are of
        if embedder.has_identity() || self.embedder_name().is_none() {
            evaluation = evaluation.cache(cache.embeddings()?);
        }
        evaluation = stacks.iter().cloned().fold(evaluation, Evaluation::defense);
        evaluation = names.own_metrics.iter().cloned().fold(evaluation, Evaluation::metric);
        if let Some(vectors) = vectors {
            evaluation = evaluation.vectors(vectors.documents, vectors.queries);
        }
        if let Some(surrogate) = surrogate {
            evaluation = evaluation.surrogate(surrogate);
        }
        evaluation = self.attackers(evaluation, adversaries)?;
        let stages = self.stages(&attacked)?;
        let trained = stages.trained || self.retrained.is_some();
        self.attack.search.warn_of_idle(Stages { trained, ..stages });
        if self.attack.is_none() {
            return Ok((evaluation, embedders));
        }
        if let Some(name) = &self.retrained {
            let attack = self.attack.search.apply(models::attack(name, *terminal)?);
            models::fit(&attack, &embedder)?;
            let trained_on = retrained::trained_on(name, *terminal)?;
            if let Some(warning) = retrained::warning(&trained_on, &retrained_of(adversaries), &stacks) {
                warn(&warning);
            }
            evaluation = evaluation
                .note("retrained_sha256", attack.hash())
                .note("retrained_on", json!(trained_on))
                .retrained(attack);
        }
        self.tell_of_sending(&attacked, stages, *terminal);
        Ok((self.attack(evaluation, (&attacked, stages), *terminal)?, embedders))
    }

    /// Says what an attack on an embedder behind an address will send.
    fn tell_of_sending(&self, attacked: &Loaded, stages: Stages, terminal: Terminal) {
        if let Some(host) = attacked.host().filter(|_| !self.address.is_rehearsal()) {
            let most = self.attack.most_queries(stages);
            let words = match stages.most_words() {
                0 => String::new(),
                words => format!("up to {words} single words, and "),
            };
            terminal.remark(&format!(
                "{host}: besides the corpus, the attack sends {words}up to {most} hypotheses for each of {} texts in each \
                 row (--queries); --dry-run counts what is sent, --max-queries bounds it",
                self.samples()
            ));
        }
    }

    /// Adds the adversaries and their own texts.
    fn attackers(
        &self,
        mut evaluation: Prepared,
        adversaries: &[AdversaryName],
    ) -> Result<Prepared, CliError> {
        if adversaries.is_empty() && self.usual_adversaries {
            evaluation = evaluation.usual_adversaries();
        }
        for name in adversaries {
            evaluation = match name {
                AdversaryName::All => evaluation.every_adversary(),
                AdversaryName::One(adversary) => evaluation.adversary(Arc::clone(adversary)),
            };
        }
        if let Some(name) = &self.attacker_corpus {
            let (title, texts) = own_texts(name, self.seed)?;
            evaluation = evaluation.attacker_texts(&title, texts);
        }
        Ok(evaluation)
    }

    /// Adds the attack.
    fn attack(
        &self,
        evaluation: Prepared,
        (attacked, Stages { guided, .. }): (&Loaded, Stages),
        terminal: Terminal,
    ) -> Result<Prepared, CliError> {
        let NamedAttack { model, search } = &self.attack;
        let search = &Search { queries: Some(self.attack.queries()), ..*search };
        let name = model.as_deref().unwrap_or(models::AUTO);
        let Some((trained_name, trained)) = models::trained(name, attacked, terminal)? else {
            let attack = models::searching(None, guided, search);
            return Ok(evaluation.note("attack_name", models::GUIDED).attack(attack));
        };
        let trained = search.apply(trained);
        let evaluation = evaluation
            .note("attack_name", title(trained_name))
            .note("attack_sha256", trained.hash())
            .note("steps", search.steps)
            .note("beam_width", search.beam_width);
        Ok(evaluation.attack(models::searching(Some(trained), guided, search)))
    }

    /// Refuses settings that contradict each other, or name what would be loaded for nothing.
    pub(crate) fn check(&self, adversaries: &[AdversaryName]) -> Result<(), CliError> {
        let all = adversaries.iter().any(|name| matches!(name, AdversaryName::All));
        if all && adversaries.len() > 1 {
            return Err(CliError::new("`all` already includes every adversary; name no other with it"));
        }
        if self.retrained.is_some() && !all && retrained_of(adversaries).is_empty() {
            return Err(CliError::new(
                "a retrained attack is named, but no adversary who runs it; add the adversary `retrained`, or leave the \
                 attack out",
            ));
        }
        let nobody = adversaries.is_empty() && !self.usual_adversaries;
        let idle = [
            ("a retrained attack", self.retrained.is_some()),
            ("an attacker's corpus", self.attacker_corpus.is_some() && nobody),
            ("a surrogate", self.surrogate.is_some()),
            ("a file of facts", self.entities.is_some() && nobody),
        ];
        match idle.iter().find(|(_, named)| *named && self.attack.is_none()) {
            Some((what, _)) => Err(CliError::new(format!(
                "{what} is named, but no attack would use it; name an attack, or leave that option out"
            ))),
            None => Ok(()),
        }
    }
}

/// The named adversaries who run the retrained attack; for `all`, the one who runs it on unchanged vectors.
fn retrained_of(adversaries: &[AdversaryName]) -> Vec<Arc<dyn Adversary>> {
    let one = |name: &AdversaryName| match name {
        AdversaryName::All => Arc::new(Retrained::new()),
        AdversaryName::One(adversary) => Arc::clone(adversary),
    };
    adversaries.iter().map(one).filter(|adversary| adversary.needs().attack.is_retrained()).collect()
}

/// The attacker's own texts, and what a report calls them.
pub(crate) fn own_texts(name: &str, seed: u64) -> Result<(String, Vec<String>), CliError> {
    let records = |n| generate(Split::Train, !seed).take(n).map(|record| record.text).collect();
    Ok(match models::records(name)? {
        Some(n) => (name.to_owned(), records(n)),
        None => (title(name), Corpus::load(name, seed)?.texts().to_vec()),
    })
}

/// The stacks that are measured by default. The rotation's key is for this evaluation only: anyone can draw it again
/// from the seed, so no vector under it is kept.
pub(crate) fn usual_stacks(seed: u64, dimension: usize) -> Result<Vec<Stack>, CliError> {
    let mut key = [0; 32];
    Rng::seeded(seed).fill_bytes(&mut key);
    let mut stacks = vec![Stack::new(), Stack::new().with(Quantization::new(8)?)];
    for sigma in [0.03, 0.1] {
        stacks.push(Stack::new().with(GaussianNoise::new(sigma)?));
    }
    stacks.push(Stack::new().with(Rotation::new(&Key::from_bytes(key), dimension)?));
    Ok(stacks)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn settings(attack: &str, adversaries: &[&str]) -> EvaluationSettings {
        EvaluationSettings {
            attack: NamedAttack { model: Some(attack.into()), ..NamedAttack::default() },
            adversaries: adversaries.iter().map(|&name| name.to_owned()).collect(),
            ..EvaluationSettings::default()
        }
    }

    #[test]
    fn what_would_be_loaded_for_nothing_is_refused() {
        let named = || Some("folder".to_owned());
        let resolve = |settings: EvaluationSettings| settings.resolve(&Names::default());
        for (settings, part) in [
            (settings("minilm", &["all", "naive"]), "name no other"),
            (settings("minilm", &["nobody"]), "no such adversary"),
            (
                EvaluationSettings { retrained: named(), ..settings("minilm", &[]) },
                "add the adversary `retrained`",
            ),
            (
                EvaluationSettings { retrained: named(), ..settings("minilm", &["naive"]) },
                "add the adversary",
            ),
            (
                EvaluationSettings { retrained: named(), ..settings("none", &["retrained"]) },
                "a retrained attack is named, but no attack",
            ),
            (EvaluationSettings { entities: named(), ..settings("none", &[]) }, "a file of facts is named"),
            (
                EvaluationSettings { attacker_corpus: named(), ..settings("none", &[]) },
                "an attacker's corpus is named",
            ),
            (EvaluationSettings { surrogate: named(), ..settings("none", &[]) }, "a surrogate is named"),
        ] {
            let message = resolve(settings).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        for adversaries in [&["all"][..], &["naive", "retrained"]] {
            resolve(EvaluationSettings { retrained: named(), ..settings("minilm", adversaries) }).unwrap();
        }
        resolve(settings("none", &[])).unwrap();
        resolve(settings("none", &["naive"])).unwrap();
        resolve(settings("minilm", &[])).unwrap();
    }
}

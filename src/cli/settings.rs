//! The settings of an evaluation, and the evaluation that they prepare. Arguments and budget files give them.

mod attack;

use std::sync::Arc;

use clap::Command;
use rand_chacha::rand_core::Rng as _;
use serde::Deserialize;
use serde_json::json;

pub(crate) use self::attack::NamedAttack;
use super::error::CliError;
use super::models::{self, Cache, title};
use super::names::{AdversaryName, Names};
use super::retrained;
use super::session::Session;
use super::terminal::{Terminal, warn};
use crate::embedder::SentenceTransformer;
use crate::evaluate::adversaries::Retrained;
use crate::evaluate::records::{Split, generate};
use crate::evaluate::{self, Adversary, Corpus, Evaluation};
use crate::{GaussianNoise, Key, Quantization, Rng, Rotation, Stack};

/// So few that an evaluation without arguments takes less than three minutes on two cores.
const SAMPLES: usize = 50;

/// The settings of an evaluation, as they are named; nothing is read or loaded yet.
///
/// A budget file has the fields under their names, but for the defenses: its stacks have limits of their own.
#[derive(Debug, Clone, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EvaluationSettings {
    /// A sentence-transformers folder, its name on the hub, or the embedder that is shipped.
    #[arg(long, default_value = models::REFERENCE, value_name = "E")]
    pub(crate) embedder: String,
    #[command(flatten)]
    pub(crate) attack: NamedAttack,
    /// The corpus: `records` or `records:N` (built in), a BEIR folder, or a text file of one passage a
    /// line (attack only).
    #[arg(long, default_value = "records", value_name = "C")]
    pub(crate) corpus: String,
    /// A defense, such as "gaussian(sigma=0.01) | quantization(bits=8)"; may be given again. Without
    /// any: none, quantization, three levels of noise, and a rotation by a key drawn from the seed.
    #[arg(long = "defense", value_name = "SPEC")]
    #[serde(skip)]
    pub(crate) defenses: Vec<String>,
    /// Who attacks, by what they have beside the protected vectors; may be given again.
    #[arg(long = "adversary", value_name = "A")]
    pub(crate) adversaries: Vec<String>,
    /// The attacker's own texts: `records[:N]` (of the training split), a BEIR folder or a text file.
    /// Without: records where the corpus is records, and otherwise documents that are not attacked.
    #[arg(long, value_name = "C")]
    pub(crate) attacker_corpus: Option<String>,
    /// The attack of `retrained`: a folder that was trained with `embosk train --defense`.
    #[arg(long, value_name = "DIR")]
    pub(crate) retrained: Option<String>,
    /// The embedder that the attack was trained for, where it is another one than --embedder: attackers
    /// with pairs map the one's vectors to the other's.
    #[arg(long, value_name = "E")]
    pub(crate) surrogate: Option<String>,
    /// How many documents are attacked: few show what a defense does, 200 or more give numbers to rely on.
    #[arg(long, default_value_t = SAMPLES, value_name = "N")]
    pub(crate) samples: usize,
    /// What records, samples, noise and intervals are drawn from.
    #[arg(long, default_value_t = 0, value_name = "S")]
    pub(crate) seed: u64,
}

/// Those of a budget file that names none.
impl Default for EvaluationSettings {
    fn default() -> Self {
        Self {
            embedder: models::REFERENCE.into(),
            attack: NamedAttack::default(),
            corpus: "records".into(),
            defenses: Vec::new(),
            adversaries: Vec::new(),
            attacker_corpus: None,
            retrained: None,
            surrogate: None,
            samples: evaluate::SAMPLES,
            seed: 0,
        }
    }
}

/// The defenses and adversaries that settings name.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// Where there are none, the usual ones are measured.
    pub(crate) stacks: Vec<Stack>,
    /// Where there are none, the evaluation's defaults attack.
    pub(crate) adversaries: Vec<AdversaryName>,
}

/// An evaluation on an embedder from disk.
pub(crate) type Prepared = Evaluation<Arc<SentenceTransformer>>;

/// Adds to a verb with [`EvaluationSettings`] which adversaries there are.
pub(crate) fn with_adversaries(verb: Command, names: &Names) -> Command {
    let help = format!(
        "Who attacks, by what they have beside the protected vectors; may be given again. Without any: naive, \
         informed(10000), and leaked with twice as many pairs as dimensions\n{}\n  `all` stands for all of them, at \
         several strengths",
        names.adversaries.help()
    );
    verb.mut_arg("adversaries", |argument| argument.help(help))
}

impl EvaluationSettings {
    /// Reads the defenses and adversaries.
    ///
    /// Not clap's to read: its errors repeat what was written, and that may hold a key.
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

    /// Loads the corpus.
    pub(crate) fn corpus(&self) -> Result<Corpus, CliError> {
        Ok(Corpus::load(&self.corpus, self.seed)?)
    }

    /// Returns whether the corpus is one of made-up records.
    pub(crate) fn is_of_records(&self) -> Result<bool, CliError> {
        Ok(models::records(&self.corpus)?.is_some())
    }

    /// Loads everything.
    pub(crate) fn prepare(
        &self,
        session: &Session,
        resolved: &Resolved,
        cache: &Cache,
    ) -> Result<Prepared, CliError> {
        self.prepare_on(self.corpus()?, session, resolved, cache)
    }

    /// Loads everything but the corpus.
    pub(crate) fn prepare_on(
        &self,
        corpus: Corpus,
        session: &Session,
        Resolved { stacks, adversaries }: &Resolved,
        cache: &Cache,
    ) -> Result<Prepared, CliError> {
        let Session { names, terminal, .. } = session;
        let load = |name: &str| models::embedder(name, *terminal).map(Arc::new);
        let embedder = load(&self.embedder)?;
        let surrogate = self.surrogate.as_deref().map(load).transpose()?;
        let attacked = Arc::clone(surrogate.as_ref().unwrap_or(&embedder));
        let usual = || usual_stacks(self.seed, embedder.dimension());
        let stacks = if stacks.is_empty() { usual()? } else { stacks.clone() };
        let mut evaluation = Evaluation::new(Arc::clone(&embedder))
            .corpus(corpus)
            .samples(self.samples)
            .seed(self.seed)
            .registry(names.adversaries.clone())
            .cache(cache.embeddings()?);
        evaluation = stacks.iter().cloned().fold(evaluation, Evaluation::defense);
        evaluation = names.own_metrics.iter().cloned().fold(evaluation, Evaluation::metric);
        if let Some(surrogate) = surrogate {
            evaluation = evaluation.surrogate(surrogate);
        }
        if self.attack.is_none() {
            return Ok(evaluation);
        }
        evaluation = self.attackers(evaluation, adversaries)?;
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
        self.attack(evaluation, &attacked, *terminal)
    }

    /// Adds the adversaries and their own texts.
    fn attackers(
        &self,
        mut evaluation: Prepared,
        adversaries: &[AdversaryName],
    ) -> Result<Prepared, CliError> {
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
        attacked: &SentenceTransformer,
        terminal: Terminal,
    ) -> Result<Prepared, CliError> {
        let NamedAttack { model, search } = &self.attack;
        let name = model.as_deref().unwrap_or_else(|| models::usual_attack(attacked));
        let attack = search.apply(models::attack(name, terminal)?);
        models::fit(&attack, attacked)?;
        Ok(evaluation
            .note("attack_name", title(name))
            .note("attack_sha256", attack.hash())
            .note("steps", search.steps)
            .note("beam_width", search.beam_width)
            .attack(attack))
    }

    /// Refuses what contradicts itself, or would be loaded for nothing.
    pub(crate) fn check(&self, adversaries: &[AdversaryName]) -> Result<(), CliError> {
        let all = adversaries.iter().any(|name| matches!(name, AdversaryName::All));
        if all && adversaries.len() > 1 {
            return Err(CliError::new("`all` has all adversaries; name no other beside it"));
        }
        if self.retrained.is_some() && !all && retrained_of(adversaries).is_empty() {
            return Err(CliError::new(
                "a retrained attack is named, but no adversary who runs it; add the adversary `retrained`, or leave the \
                 attack out",
            ));
        }
        let idle = [
            ("an adversary", !adversaries.is_empty()),
            ("an attacker's corpus", self.attacker_corpus.is_some()),
            ("a surrogate", self.surrogate.is_some()),
        ];
        match idle.iter().find(|(_, named)| *named && self.attack.is_none()) {
            Some((what, _)) => {
                Err(CliError::new(format!("{what} is named, but no attack; name one, or leave it out")))
            }
            None => Ok(()),
        }
    }
}

/// The named adversaries who run the retrained attack; of `all` the one who runs it on vectors as they are.
fn retrained_of(adversaries: &[AdversaryName]) -> Vec<Arc<dyn Adversary>> {
    let one = |name: &AdversaryName| match name {
        AdversaryName::All => Arc::new(Retrained::new()),
        AdversaryName::One(adversary) => Arc::clone(adversary),
    };
    adversaries.iter().map(one).filter(|adversary| adversary.needs().attack.is_retrained()).collect()
}

/// The attacker's own texts, and what a report calls them.
fn own_texts(name: &str, seed: u64) -> Result<(String, Vec<String>), CliError> {
    let records = |n| generate(Split::Train, !seed).take(n).map(|record| record.text).collect();
    Ok(match models::records(name)? {
        Some(n) => (name.to_owned(), records(n)),
        None => (title(name), Corpus::load(name, seed)?.texts().to_vec()),
    })
}

/// What is measured where no defense is named. The rotation's key is for this evaluation only: anyone
/// can draw it from the seed again, so no vector under it is kept.
fn usual_stacks(seed: u64, dimension: usize) -> Result<Vec<Stack>, CliError> {
    let mut key = [0; 32];
    Rng::seeded(seed).fill_bytes(&mut key);
    let mut stacks = vec![Stack::new(), Stack::new().with(Quantization::new(8)?)];
    for sigma in [0.01, 0.03, 0.1] {
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
            (settings("none", &["naive"]), "an adversary is named, but no attack"),
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
        resolve(settings("minilm", &[])).unwrap();
    }
}

//! The settings of an evaluation. Arguments and budget files give them.

mod attack;
mod existing;
mod prepare;

use std::path::Path;
use std::sync::Arc;

use clap::Command;
use serde::Deserialize;

pub(crate) use self::attack::NamedAttack;
use self::existing::ExistingVectors;
pub(crate) use self::prepare::{Prepared, own_texts, usual_stacks};
use super::error::CliError;
use super::models;
use super::names::{AdversaryName, Names};
use super::service::ServiceOptions;
use super::terminal::warn;
use crate::Stack;
use crate::evaluate::adversaries::Retrained;
use crate::evaluate::{self, Adversary, Corpus};

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

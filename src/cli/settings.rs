//! What is measured, on what, and by whom: arguments and budget files say it, and here it is prepared.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use embosk::embedder::SentenceTransformer;
use embosk::evaluate::adversaries::{self, Retrained};
use embosk::evaluate::records::{Split, generate};
use embosk::evaluate::{Adversary, Corpus, Evaluation};
use embosk::{GaussianNoise, Key, Quantization, Rng, Rotation, Stack};
use rand_chacha::rand_core::Rng as _;
use serde_json::json;

use super::models::{self, Cache, Search};
use super::{CliError, retrained, warn};

/// The settings of an evaluation, as they are named; nothing is loaded yet.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) embedder: String,
    pub(crate) corpus: String,
    /// The judgements of a BEIR folder; those of `test` where none is named.
    pub(crate) split: Option<String>,
    /// `none` where retrieval alone is measured; the one for the embedder where none is named.
    pub(crate) attack: Option<String>,
    pub(crate) search: Search,
    /// Where there are none, the usual ones are measured.
    pub(crate) stacks: Vec<Stack>,
    /// Where there are none, the evaluation's defaults attack.
    pub(crate) adversaries: Vec<AdversaryName>,
    pub(crate) attacker_corpus: Option<String>,
    pub(crate) retrained: Option<String>,
    pub(crate) surrogate: Option<String>,
    pub(crate) samples: usize,
    pub(crate) seed: u64,
}

/// What the name of adversaries stands for.
#[derive(Debug, Clone)]
pub(crate) enum AdversaryName {
    All,
    One(Arc<dyn Adversary>),
}

impl FromStr for AdversaryName {
    type Err = embosk::Error;

    fn from_str(text: &str) -> Result<Self, embosk::Error> {
        if text.trim() == "all" { Ok(Self::All) } else { adversaries::parse(text).map(Self::One) }
    }
}

/// An evaluation on an embedder from disk.
pub(crate) type Prepared = Evaluation<Arc<SentenceTransformer>>;

impl Settings {
    /// Loads everything.
    pub(crate) fn prepare(&self, cache: &Cache) -> Result<Prepared, CliError> {
        self.check()?;
        self.prepare_on(self.corpus()?, cache)
    }

    /// Loads the corpus, and warns where judgements name what it does not hold.
    pub(crate) fn corpus(&self) -> Result<Corpus, CliError> {
        let corpus = match &self.split {
            None => Corpus::load(&self.corpus, self.seed)?,
            Some(split) if Path::new(&self.corpus).is_dir() => Corpus::beir_split(&self.corpus, split)?,
            Some(_) => {
                return Err(CliError::new(
                    "a split is named, but the corpus is not a BEIR folder; leave it out",
                ));
            }
        };
        if !corpus.dangling().is_empty() {
            warn(&format!("warning: {}: {}", corpus.name(), corpus.dangling()));
        }
        Ok(corpus)
    }

    /// Loads everything but the corpus.
    pub(crate) fn prepare_on(&self, corpus: Corpus, cache: &Cache) -> Result<Prepared, CliError> {
        let embedder = Arc::new(models::embedder(&self.embedder)?);
        let surrogate = self.surrogate.as_deref().map(models::embedder).transpose()?.map(Arc::new);
        let attacked = Arc::clone(surrogate.as_ref().unwrap_or(&embedder));
        let mut evaluation = Evaluation::new(Arc::clone(&embedder))
            .corpus(corpus)
            .samples(self.samples)
            .seed(self.seed)
            .cache(cache.embeddings()?);
        for stack in self.stacks_or_usual(embedder.dimension())? {
            evaluation = evaluation.defense(stack);
        }
        if let Some(surrogate) = surrogate {
            evaluation = evaluation.surrogate(surrogate);
        }
        self.attackers(evaluation, &embedder, &attacked)
    }

    /// Refuses what contradicts itself, or would be loaded for nothing.
    pub(crate) fn check(&self) -> Result<(), CliError> {
        let all = self.adversaries.iter().any(|name| matches!(name, AdversaryName::All));
        if all && self.adversaries.len() > 1 {
            return Err(CliError::new("`all` has all adversaries; name no other beside it"));
        }
        if self.retrained.is_some() && !all && self.retrained_adversaries().is_empty() {
            return Err(CliError::new(
                "a retrained attack is named, but no adversary who runs it; add the adversary `retrained`, or leave the \
                 attack out",
            ));
        }
        let idle = [
            ("an adversary", !self.adversaries.is_empty()),
            ("an attacker's corpus", self.attacker_corpus.is_some()),
            ("a surrogate", self.surrogate.is_some()),
        ];
        match idle.iter().find(|(_, named)| *named && self.is_without_attack()) {
            Some((what, _)) => {
                Err(CliError::new(format!("{what} is named, but no attack; name one, or leave it out")))
            }
            None => Ok(()),
        }
    }

    /// The named adversaries who run the retrained attack; of `all` the one who runs it on vectors as they are.
    fn retrained_adversaries(&self) -> Vec<Arc<dyn Adversary>> {
        let one = |name: &AdversaryName| match name {
            AdversaryName::All => Arc::new(Retrained::new()),
            AdversaryName::One(adversary) => Arc::clone(adversary),
        };
        self.adversaries.iter().map(one).filter(|adversary| adversary.needs().attack.is_retrained()).collect()
    }

    fn is_without_attack(&self) -> bool {
        self.attack.as_deref() == Some("none")
    }

    fn stacks_or_usual(&self, dimension: usize) -> Result<Vec<Stack>, CliError> {
        if self.stacks.is_empty() { usual_stacks(self.seed, dimension) } else { Ok(self.stacks.clone()) }
    }

    /// Adds the attack, the adversaries and what they have.
    fn attackers(
        &self,
        mut evaluation: Prepared,
        embedder: &SentenceTransformer,
        attacked: &SentenceTransformer,
    ) -> Result<Prepared, CliError> {
        if self.is_without_attack() {
            return Ok(evaluation);
        }
        let name = self.attack.as_deref().unwrap_or_else(|| models::usual_attack(attacked));
        for name in &self.adversaries {
            evaluation = match name {
                AdversaryName::All => evaluation.every_adversary(),
                AdversaryName::One(adversary) => evaluation.adversary(Arc::clone(adversary)),
            };
        }
        if let Some(name) = &self.attacker_corpus {
            let (title, texts) = own_texts(name, self.seed)?;
            evaluation = evaluation.attacker_texts(&title, texts);
        }
        if let Some(name) = &self.retrained {
            let attack = self.search.apply(models::attack(name)?);
            models::fit(&attack, embedder)?;
            let trained_on = retrained::trained_on(name)?;
            let stacks = self.stacks_or_usual(embedder.dimension())?;
            if let Some(warning) = retrained::warning(&trained_on, &self.retrained_adversaries(), &stacks) {
                warn(&warning);
            }
            evaluation = evaluation
                .note("retrained_sha256", attack.hash())
                .note("retrained_on", json!(trained_on))
                .retrained(attack);
        }
        let attack = self.search.apply(models::attack(name)?);
        models::fit(&attack, attacked)?;
        Ok(evaluation
            .note("attack_name", title(name))
            .note("attack_sha256", attack.hash())
            .note("steps", self.search.steps)
            .note("beam_width", self.search.beam_width)
            .attack(attack))
    }
}

/// What a report calls a folder: its own name, as the way to it differs between machines. Two models are
/// called by both.
pub(crate) fn title(name: &str) -> String {
    if let Some((inverter, corrector)) = models::two(name) {
        return format!("{}+{}", title(inverter), title(corrector));
    }
    Path::new(name).file_name().map_or_else(|| name.to_owned(), |name| name.to_string_lossy().into_owned())
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

    fn settings(attack: &str, adversaries: &[&str]) -> Settings {
        Settings {
            embedder: "reference".into(),
            corpus: "records".into(),
            split: None,
            attack: Some(attack.into()),
            search: Search::default(),
            stacks: Vec::new(),
            adversaries: adversaries.iter().map(|name| name.parse().unwrap()).collect(),
            attacker_corpus: None,
            retrained: None,
            surrogate: None,
            samples: 2,
            seed: 0,
        }
    }

    #[test]
    fn what_would_be_loaded_for_nothing_is_refused() {
        let named = || Some("folder".to_owned());
        for (settings, part) in [
            (settings("minilm", &["all", "naive"]), "name no other"),
            (Settings { retrained: named(), ..settings("minilm", &[]) }, "add the adversary `retrained`"),
            (Settings { retrained: named(), ..settings("minilm", &["naive"]) }, "add the adversary"),
            (settings("none", &["naive"]), "an adversary is named, but no attack"),
            (Settings { attacker_corpus: named(), ..settings("none", &[]) }, "an attacker's corpus is named"),
            (Settings { surrogate: named(), ..settings("none", &[]) }, "a surrogate is named"),
        ] {
            let message = settings.check().unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        for adversaries in [&["all"][..], &["naive", "retrained"]] {
            assert!(Settings { retrained: named(), ..settings("minilm", adversaries) }.check().is_ok());
        }
        assert!(settings("none", &[]).check().is_ok() && settings("minilm", &[]).check().is_ok());
    }

    #[test]
    fn a_report_names_a_folder_without_the_way_to_it() {
        assert_eq!(title("minilm"), "minilm");
        assert_eq!(title("/home/ann/../my-attack/"), "my-attack");
        assert_eq!(title(".."), "..");
        assert_eq!(title("/home/ann/inverter+owner/corrector@main"), "inverter+corrector@main");
    }
}

//! What `evaluate` and `curve` have in common: what is measured, on what, and by whom.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use embosk::embedder::{EmbeddingCache, SentenceTransformer};
use embosk::evaluate::records::{Split, generate};
use embosk::evaluate::{Adversary, Corpus, Evaluation};
use embosk::{GaussianNoise, Key, Quantization, Rng, Rotation, Stack};
use rand_chacha::rand_core::Rng as _;

use super::CliError;
use super::models::{self, Search};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A sentence-transformers folder.
    #[arg(long, default_value = "reference", value_name = "E")]
    pub(crate) embedder: String,
    /// The attack: a folder with an inverter and a corrector, the name of a shipped pair, or `none` to
    /// measure retrieval alone.
    #[arg(long, default_value = "minilm", value_name = "DIR")]
    pub(crate) attack: String,
    /// The corpus: `records` or `records:N` (built in), a BEIR folder, or a text file of one passage a
    /// line (attack only).
    #[arg(long, default_value = "records", value_name = "C")]
    pub(crate) corpus: String,
    /// A defense, such as "gaussian(sigma=0.01) | quantization(bits=8)"; may be given again. Without
    /// any: none, quantization, three levels of noise, and a rotation by a key drawn from the seed.
    #[arg(long, value_name = "SPEC")]
    pub(crate) defense: Vec<String>,
    /// What the attacker has: `naive`, `informed(N)` (the defense without its key, and N pairs that he
    /// makes himself), `leaked(K)` (K real pairs), `unpaired(N)` (N stored vectors and as many texts of
    /// his own), `averaging(R)` (R releases of each text) or `averaging(R, K)` (and K real pairs),
    /// `retrained`, or `all`; may be given again.
    /// Without any: naive, informed(10000), and leaked with twice as many pairs as dimensions.
    #[arg(long, value_name = "A")]
    pub(crate) adversary: Vec<Choice>,
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
    /// The folder that keeps embeddings between runs.
    #[arg(long, env = "EMBOSK_CACHE", default_value = ".cache/embosk", value_name = "DIR")]
    pub(crate) cache: PathBuf,
    /// How many documents are attacked.
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub(crate) samples: usize,
    #[command(flatten)]
    pub(crate) search: Search,
    /// What records, samples, noise and intervals are drawn from.
    #[arg(long, default_value_t = 0, value_name = "S")]
    pub(crate) seed: u64,
}

/// What `--adversary` names.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Choice {
    All,
    One(Adversary),
}

impl FromStr for Choice {
    type Err = embosk::Error;

    fn from_str(text: &str) -> Result<Self, embosk::Error> {
        if text.trim() == "all" { Ok(Self::All) } else { text.parse().map(Self::One) }
    }
}

/// An evaluation on an embedder from disk.
pub(crate) type Prepared = Evaluation<Arc<SentenceTransformer>>;

impl Arguments {
    /// The defenses that are named. Not clap's to read: its errors repeat what was written, and that may
    /// hold a key.
    pub(crate) fn stacks(&self) -> Result<Vec<Stack>, CliError> {
        Ok(self.defense.iter().map(|spec| spec.parse()).collect::<Result<_, _>>()?)
    }

    /// Everything is loaded; where `stacks` is empty, the default ones are measured.
    pub(crate) fn prepare(&self, stacks: Vec<Stack>) -> Result<Prepared, CliError> {
        let corpus = Corpus::load(&self.corpus, self.seed)?;
        let embedder = Arc::new(models::embedder(&self.embedder)?);
        let surrogate = self.surrogate.as_deref().map(models::embedder).transpose()?.map(Arc::new);
        let stacks =
            if stacks.is_empty() { default_stacks(self.seed, embedder.dimension())? } else { stacks };
        // what the attack can give back is what its embedder sees
        let attacked = Arc::clone(surrogate.as_ref().unwrap_or(&embedder));
        let mut evaluation = measured(corpus, &embedder, &attacked)
            .samples(self.samples)
            .seed(self.seed)
            .cache(self.cache(&embedder)?);
        for stack in stacks {
            evaluation = evaluation.defense(stack);
        }
        if let Some(surrogate) = surrogate {
            evaluation = evaluation
                .note("surrogate", surrogate.to_string())
                .note("surrogate_sha256", surrogate.hash())
                .surrogate(Arc::clone(&surrogate), Some(self.cache(&surrogate)?));
        }
        self.attackers(evaluation, &embedder, &attacked)
    }

    /// Adds the attack, the adversaries and what they have.
    fn attackers(
        &self,
        mut evaluation: Prepared,
        embedder: &SentenceTransformer,
        attacked: &SentenceTransformer,
    ) -> Result<Prepared, CliError> {
        if self.adversary.len() > 1 && self.adversary.iter().any(|choice| matches!(choice, Choice::All)) {
            return Err(CliError::new("--adversary all has all adversaries; name no other beside it"));
        }
        for choice in &self.adversary {
            evaluation = match choice {
                Choice::All => evaluation.every_adversary(),
                Choice::One(adversary) => evaluation.adversary(*adversary),
            };
        }
        if let Some(name) = &self.attacker_corpus {
            evaluation = evaluation.attacker_texts(name, own_texts(name, self.seed)?);
        }
        if let Some(name) = &self.retrained {
            let retrained = self.search.apply(models::attack(name)?);
            models::fit(&retrained, embedder)?;
            evaluation = evaluation.note("retrained_sha256", retrained.hash()).retrained(retrained);
        }
        if self.attack == "none" {
            return Ok(evaluation);
        }
        let attack = self.search.apply(models::attack(&self.attack)?);
        models::fit(&attack, attacked)?;
        Ok(evaluation
            .note("attack_name", self.attack.as_str())
            .note("attack_sha256", attack.hash())
            .note("steps", self.search.steps)
            .note("beam_width", self.search.beam_width.get())
            .attack(attack))
    }

    fn cache(&self, embedder: &SentenceTransformer) -> Result<EmbeddingCache, CliError> {
        Ok(EmbeddingCache::new(self.cache.join("embeddings"), embedder.hash())?)
    }
}

/// An evaluation on `embedder`, whose texts are compared as the `attacked` embedder sees them.
pub(crate) fn measured(
    corpus: Corpus,
    embedder: &Arc<SentenceTransformer>,
    attacked: &Arc<SentenceTransformer>,
) -> Prepared {
    let normalizing = Arc::clone(attacked);
    Evaluation::new(Arc::clone(embedder))
        .corpus(corpus)
        .normalizer(&attacked.normalizer_name(), move |text| normalizing.normalize(text))
        .note("embedder", embedder.to_string())
        .note("embedder_sha256", embedder.hash())
}

/// The texts of `--attacker-corpus`.
fn own_texts(name: &str, seed: u64) -> Result<Vec<String>, CliError> {
    let records = |n| generate(Split::Train, !seed).take(n).map(|record| record.text).collect();
    Ok(match models::records(name)? {
        Some(n) => records(n),
        None => Corpus::load(name, seed)?.texts().to_vec(),
    })
}

/// What is measured where no defense is named. The rotation's key is for this evaluation only: anyone
/// can draw it from the seed again, so no vector under it is kept.
fn default_stacks(seed: u64, dimension: usize) -> Result<Vec<Stack>, CliError> {
    let mut key = [0; 32];
    Rng::seeded(seed).fill_bytes(&mut key);
    let mut stacks = vec![Stack::new(), Stack::new().with(Quantization::new(8)?)];
    for sigma in [0.01, 0.03, 0.1] {
        stacks.push(Stack::new().with(GaussianNoise::new(sigma)?));
    }
    stacks.push(Stack::new().with(Rotation::new(&Key::from_bytes(key), dimension)?));
    Ok(stacks)
}

//! What `evaluate` and `curve` have in common: what is measured, on what, and by whom.

use std::sync::Arc;

use embosk::attacks::vec2text::Vec2Text;
use embosk::embedder::SentenceTransformer;
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
    /// What the attacker has: `naive`, `leaked(K)` (K real pairs), or `informed(N)` (the defense without
    /// its key, and N pairs that he makes himself); may be given again. Without any: naive, and
    /// leaked with twice as many pairs as dimensions.
    #[arg(long, value_name = "A")]
    pub(crate) adversary: Vec<Adversary>,
    /// How many documents are attacked.
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub(crate) samples: usize,
    #[command(flatten)]
    pub(crate) search: Search,
    /// What records, samples, noise and intervals are drawn from.
    #[arg(long, default_value_t = 0, value_name = "S")]
    pub(crate) seed: u64,
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
        let embedder = models::embedder(&self.embedder)?;
        let stacks =
            if stacks.is_empty() { default_stacks(self.seed, embedder.dimension())? } else { stacks };
        let attack = match self.attack.as_str() {
            "none" => None,
            name => Some(self.search.apply(models::attack(name)?)),
        };
        if let Some(attack) = &attack {
            models::fit(attack, &embedder)?;
        }
        Ok(self.evaluation(corpus, embedder, attack, stacks))
    }

    fn evaluation(
        &self,
        corpus: Corpus,
        embedder: SentenceTransformer,
        attack: Option<Vec2Text>,
        stacks: Vec<Stack>,
    ) -> Prepared {
        let embedder = Arc::new(embedder);
        let normalizing = Arc::clone(&embedder);
        let mut evaluation = Evaluation::new(Arc::clone(&embedder))
            .corpus(corpus)
            .samples(self.samples)
            .seed(self.seed)
            .normalizer(&embedder.normalizer_name(), move |text| normalizing.normalize(text))
            .note("embedder", embedder.to_string())
            .note("embedder_sha256", embedder.hash());
        for stack in stacks {
            evaluation = evaluation.defense(stack);
        }
        for &adversary in &self.adversary {
            evaluation = evaluation.adversary(adversary);
        }
        match attack {
            Some(attack) => evaluation
                .note("attack_name", self.attack.as_str())
                .note("attack_sha256", attack.hash())
                .note("steps", self.search.steps)
                .note("beam_width", self.search.beam_width.get())
                .attack(attack),
            None => evaluation,
        }
    }
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

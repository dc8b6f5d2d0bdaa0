//! What `evaluate` and `curve` have in common: what is measured, on what, and by whom.

use embosk::Stack;
use embosk::evaluate::adversaries::Registry;

use super::CliError;
use super::models::{self, Cache, Search};
use super::settings::{AdversaryName, Prepared, Settings};

/// So few that an evaluation without arguments takes less than three minutes on two cores.
const SAMPLES: usize = 50;

/// What `--adversary` takes, from the registry.
fn adversary_help() -> String {
    format!(
        "Who attacks, by what they have beside the protected vectors; may be given again. Without any: naive, \
         informed(10000), and leaked with twice as many pairs as dimensions\n{}\n  `all` stands for all of them, at \
         several strengths",
        Registry::default().help()
    )
}

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A sentence-transformers folder, its name on the hub, or the embedder that is shipped.
    #[arg(long, default_value = models::REFERENCE, value_name = "E")]
    embedder: String,
    /// The attack: a folder with an inverter and a corrector, the name of a shipped pair (reference or
    /// minilm), INVERTER+CORRECTOR, each a folder or the name of a model on the hub (owner/model), or `none`
    /// to measure retrieval alone. Without it: the shipped pair that was trained on the
    /// embedder (with --surrogate, on that one), else minilm.
    #[arg(long, value_name = "DIR")]
    pub(crate) attack: Option<String>,
    /// The corpus: `records` or `records:N` (built in), a BEIR folder, or a text file of one passage a
    /// line (attack only).
    #[arg(long, default_value = "records", value_name = "C")]
    corpus: String,
    /// Which judgements of a BEIR folder count: those of qrels/NAME.tsv, such as dev or train. Default: test.
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// A defense, such as "gaussian(sigma=0.01) | quantization(bits=8)"; may be given again. Without
    /// any: none, quantization, three levels of noise, and a rotation by a key drawn from the seed.
    #[arg(long, value_name = "SPEC")]
    pub(crate) defense: Vec<String>,
    #[arg(long, value_name = "A", help = adversary_help())]
    adversary: Vec<AdversaryName>,
    /// The attacker's own texts: `records[:N]` (of the training split), a BEIR folder or a text file.
    /// Without: records where the corpus is records, and otherwise documents that are not attacked.
    #[arg(long, value_name = "C")]
    attacker_corpus: Option<String>,
    /// The attack of `retrained`: a folder that was trained with `embosk train --defense`.
    #[arg(long, value_name = "DIR")]
    retrained: Option<String>,
    /// The embedder that the attack was trained for, where it is another one than --embedder: attackers
    /// with pairs map the one's vectors to the other's.
    #[arg(long, value_name = "E")]
    surrogate: Option<String>,
    #[command(flatten)]
    cache: Cache,
    /// How many documents are attacked: few show what a defense does, 200 or more give numbers to rely on.
    #[arg(long, default_value_t = SAMPLES, value_name = "N")]
    samples: usize,
    #[command(flatten)]
    search: Search,
    /// What records, samples, noise and intervals are drawn from.
    #[arg(long, default_value_t = 0, value_name = "S")]
    seed: u64,
}

impl Arguments {
    /// The defenses that are named. Not clap's to read: its errors repeat what was written, and that may
    /// hold a key.
    pub(crate) fn stacks(&self) -> Result<Vec<Stack>, CliError> {
        self.defense.iter().map(|spec| models::stack(spec)).collect()
    }

    /// Whether the corpus is one of made-up records.
    pub(crate) fn is_of_records(&self) -> Result<bool, CliError> {
        Ok(models::records(&self.corpus)?.is_some())
    }

    /// Everything is loaded; where `stacks` is empty, the usual ones are measured.
    pub(crate) fn prepare(&self, stacks: Vec<Stack>) -> Result<Prepared, CliError> {
        let settings = Settings {
            embedder: self.embedder.clone(),
            corpus: self.corpus.clone(),
            split: self.split.clone(),
            attack: self.attack.clone(),
            search: self.search,
            stacks,
            adversaries: self.adversary.clone(),
            attacker_corpus: self.attacker_corpus.clone(),
            retrained: self.retrained.clone(),
            surrogate: self.surrogate.clone(),
            samples: self.samples,
            seed: self.seed,
        };
        settings.prepare(&self.cache)
    }
}

//! The evaluation that settings prepare.

use std::process::ExitCode;
use std::sync::Arc;

use rand_chacha::rand_core::Rng as _;
use serde_json::json;

use super::{EvaluationSettings, NamedAttack, Resolved, SAMPLES, retrained_of};
use crate::cli::error::CliError;
use crate::cli::loaded::Loaded;
use crate::cli::models::{self, Cache, Opening, Search, Stages, title};
use crate::cli::names::AdversaryName;
use crate::cli::session::Session;
use crate::cli::terminal::{Terminal, warn};
use crate::cli::{rehearsal, retrained};
use crate::embedder::{NoEmbedder, Volume};
use crate::evaluate::records::{Split, generate};
use crate::evaluate::{Corpus, Evaluation};
use crate::{GaussianNoise, Key, Quantization, Rng, Rotation, Stack};

/// An evaluation on an embedder that was named.
pub(crate) type Prepared = Evaluation<Arc<Loaded>>;

impl EvaluationSettings {
    /// Loads everything. Returns the attack's stages too.
    pub(crate) fn prepare(
        &self,
        session: &Session,
        resolved: &Resolved,
        cache: &Cache,
    ) -> Result<(Prepared, Stages), CliError> {
        let (evaluation, stages, _) = self.prepare_on((self.corpus()?, None), session, resolved, cache)?;
        Ok((evaluation, stages))
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
        let (evaluation, stages, embedders) = self.prepare_on((corpus, None), session, resolved, cache)?;
        let queries = (!self.attack.is_none()).then(|| self.attack.most_queries(stages));
        let attack = (self.samples(), queries, stages.most_words());
        rehearsal::evaluation(evaluation, &embedders, length, attack).map(Some)
    }

    /// Loads everything but the corpus, and the embedder if it is already open. Returns the attack's stages and the
    /// embedders too, the attacked one last.
    pub(crate) fn prepare_on(
        &self,
        (corpus, opened): (Corpus, Option<Arc<Loaded>>),
        session: &Session,
        Resolved { stacks, adversaries }: &Resolved,
        cache: &Cache,
    ) -> Result<(Prepared, Stages, Vec<Arc<Loaded>>), CliError> {
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
        let stages = self.attack.stages(attacked.hash(), self.is_of_records()?);
        let trained = stages.trained || self.retrained.is_some();
        self.attack.search.warn_of_idle(Stages { trained, ..stages });
        if self.attack.is_none() {
            return Ok((evaluation, stages, embedders));
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
        Ok((self.attack(evaluation, (&attacked, stages), *terminal)?, stages, embedders))
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
        let evaluation = models::misfit(&trained, attacked).into_iter().fold(evaluation, Prepared::caveat);
        let evaluation = evaluation
            .note("attack_name", title(trained_name))
            .note("attack_sha256", trained.hash())
            .note("steps", search.steps)
            .note("beam_width", search.beam_width);
        Ok(evaluation.attack(models::searching(Some(trained), guided, search)))
    }
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

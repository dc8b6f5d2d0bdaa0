//! `embosk train attack`: an inverter and then a corrector, with settings chosen for the texts, the machine and the
//! time.

mod base;
mod clock;
mod phase;
mod plan;
mod scores;
mod split;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ndarray::{Axis, concatenate};

use self::base::{Beginning, candidates, choose};
use self::clock::Clock;
use self::phase::Phase;
use self::plan::{Plan, Request};
use self::scores::Scores;
use self::split::Split;
use super::attack::examples;
use super::common::embed;
use super::defended;
use super::guesser::Guesser;
use super::manifest::Told;
use super::model::ModelTraining;
use crate::Stack;
use crate::attacks::vec2text::Vec2Text;
use crate::attacks::vec2text::train::{self as training, Examples, Settings, TrainingLength};
use crate::cli::device::Device;
use crate::cli::error::CliError;
use crate::cli::files;
use crate::cli::loaded::Loaded;
use crate::cli::models::{self, Cache, Opening};
use crate::cli::rehearsal;
use crate::cli::service::ServiceOptions;
use crate::cli::session::Session;
use crate::cli::settings::SAMPLES;
use crate::cli::terminal::{Terminal, print, warn};
use crate::cli::words::command;
use crate::embedder::EmbeddingCache;
use crate::models::Location;

/// How many texts are embedded or guessed between two looks at the clock.
const CHUNK: usize = 1024;

/// How many held-out texts monitor the training. The others are left for evaluations.
const WATCHED: usize = 128;

/// The share of the time that embedding may take.
const EMBEDDING: f64 = 0.25;
/// The share of the remaining time that the inverter is trained for.
const INVERTER: f64 = 0.6;
/// The share of the corrector's time that its hypotheses may take.
const HYPOTHESES: f64 = 0.5;

/// Trains an attack for texts of one kind, from the weights that are nearest to them.
///
/// It holds out texts, embeds the others, trains the inverter and then the corrector, and prints the result and what
/// to run next.
#[derive(Debug, clap::Args)]
pub(super) struct Recipe {
    /// The embedder to attack: `reference` (the shipped one), a sentence-transformers folder, a model on the Hugging Face
    /// hub (owner/model), or an address (http(s)://host[:port]/v1#model).
    #[arg(long, default_value = models::REFERENCE)]
    embedder: String,
    /// Text files with one text per line, of the kind to be attacked; or `records[:N]` for N built-in records of the
    /// training split.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    corpus: Vec<String>,
    /// The folder for the attack: `inverter` and `corrector`.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The initial weights: a shipped attack (reference or minilm), an attack's folder, `none`, or `auto`. `auto` takes
    /// the shipped attack for the embedder; if there is none, the shipped attack with the lowest loss on held-out texts.
    /// The reference is read through a map between the embedders, fitted on the texts.
    #[arg(long, default_value = base::AUTO, value_name = "INIT")]
    init: String,
    /// The total time in minutes, including embedding.
    #[arg(long, default_value_t = 30.0, value_name = "MINUTES")]
    minutes: f64,
    /// Train each model for this many steps instead, on all texts.
    #[arg(long, conflicts_with = "minutes", value_name = "N")]
    steps: Option<usize>,
    /// Train on protected vectors, as an attacker who knows the defense does; may be repeated.
    #[arg(long, value_name = "SPEC")]
    defense: Vec<String>,
    /// Resume the training in the output folder.
    #[arg(long)]
    resume: bool,
    /// The seed of the order of the texts, and of the records.
    #[arg(long, default_value_t = 1, value_name = "S")]
    seed: u64,
    /// Where models run.
    #[arg(long, default_value = "cpu")]
    device: Device,
    #[command(flatten)]
    cache: Cache,
    #[command(flatten)]
    address: ServiceOptions,
}

impl Recipe {
    pub(super) fn run(&self, session: &Session) -> Result<ExitCode, CliError> {
        let Session { names, terminal, .. } = session;
        let stacks = self.defense.iter().map(|spec| names.stack(spec)).collect::<Result<Vec<_>, _>>()?;
        Plan::check(&self.out, self.resume)?;
        let kitchen = Kitchen::open(self, stacks, *terminal)?;
        let texts = split::texts(&self.corpus, self.seed)?;
        let request = Request::new(self, &kitchen.embedder, &texts);
        let earlier = self.resume.then(|| Plan::resumed(&self.out, &request)).transpose()?;
        let candidates = candidates(&self.init, &kitchen.embedder, *terminal)?;
        let Split { trained, held_out } =
            Split::new(texts, &base::listed(&candidates)?, self.seed, *terminal)?;
        let watched = kitchen.watched(&held_out)?;
        let examples = kitchen.embedded(&trained, earlier.as_ref())?;
        if self.address.is_rehearsal() {
            rehearsal::tell(&kitchen.embedder)?;
            return Ok(ExitCode::SUCCESS);
        }
        let beginning = match &earlier {
            Some(plan) => Beginning::again(&plan.begins_with, candidates, &kitchen, &examples)?,
            None => choose(candidates, &kitchen, &examples, &watched)?,
        };
        let plan = match earlier {
            Some(plan) => plan,
            None => Plan::new(request, &beginning, &examples, (&kitchen.clock, !kitchen.device.is_cpu()))?,
        };
        plan.write(&self.out)?;
        plan.tell(*terminal);
        kitchen.cook(plan, &beginning, examples, &watched)?;
        kitchen.serve(&beginning, &watched, held_out.len())
    }
}

/// What the steps of a recipe share.
struct Kitchen<'a> {
    recipe: &'a Recipe,
    stacks: Vec<Stack>,
    device: candle_core::Device,
    embedder: Loaded,
    cache: EmbeddingCache,
    clock: Clock,
    terminal: Terminal,
}

impl<'a> Kitchen<'a> {
    fn open(recipe: &'a Recipe, stacks: Vec<Stack>, terminal: Terminal) -> Result<Self, CliError> {
        let clock = Clock::start(recipe.steps.is_none().then_some(recipe.minutes))?;
        let device = recipe.device.open()?;
        recipe.address.check(&[&recipe.embedder])?;
        let opening = Opening { services: &recipe.address, cache: &recipe.cache, terminal };
        let embedder = opening.embedder_on(&recipe.embedder, &device)?;
        let cache = recipe.cache.embeddings()?;
        fs::create_dir_all(&recipe.out).map_err(|error| files::bad(&recipe.out, error))?;
        Ok(Self { recipe, stacks, device, embedder, cache, clock, terminal })
    }

    /// The held-out texts that monitor the training.
    fn watched(&self, held_out: &[String]) -> Result<Examples, CliError> {
        let texts = &held_out[..held_out.len().min(WATCHED)];
        let mut watched = examples(&self.embedder, &self.cache, texts, self.terminal)?;
        defended::protect(&self.stacks, &mut watched.vectors, u64::MAX - self.recipe.seed)?;
        Ok(watched)
    }

    /// As many of the texts as there is time to embed, or as an earlier run embedded.
    fn embedded(&self, texts: &[String], earlier: Option<&Plan>) -> Result<Examples, CliError> {
        let most = earlier.map_or(texts.len(), |plan| plan.texts().min(texts.len()));
        let bar = self.terminal.bar("embedding", most);
        let (mut count, mut vectors) = (0, Vec::new());
        for chunk in texts[..most].chunks(CHUNK) {
            if count > 0 && earlier.is_none() && self.clock.is_over(EMBEDDING) {
                break;
            }
            vectors.push(embed(&self.embedder, &self.cache, chunk, Terminal::Quiet)?);
            count += chunk.len();
            bar.set_position(count as u64);
        }
        bar.finish_and_clear();
        if count < texts.len() {
            let all = texts.len();
            self.terminal.remark(&format!(
                "{count} of {all} texts are trained on: more could not be embedded in time"
            ));
        }
        let views: Vec<_> = vectors.iter().map(|part| part.view()).collect();
        let mut vectors = concatenate(Axis(0), &views)?;
        defended::protect(&self.stacks, &mut vectors, self.recipe.seed)?;
        let texts = texts[..count].iter().map(|text| self.embedder.normalize(text)).collect();
        Ok(Examples { texts, vectors, hypotheses: None })
    }

    /// Trains both models.
    fn cook(
        &self,
        mut plan: Plan,
        beginning: &Beginning,
        mut examples: Examples,
        watched: &Examples,
    ) -> Result<(), CliError> {
        let mut watched = watched.clone();
        if plan.lowercase {
            for text in examples.texts.iter_mut().chain(&mut watched.texts) {
                *text = text.to_lowercase();
            }
        }
        let [inverter, corrector] = ["inverter", "corrector"].map(|model| self.recipe.out.join(model));
        let settings = plan.inverter.settings(&self.device);
        let settings =
            Settings { init: beginning.inverter.clone(), max_length: Some(plan.max_length), ..settings };
        self.train(settings, beginning, None, &inverter, (&examples, &watched))?;
        let inverter = Location::from(inverter);
        let phase = self.with_hypotheses(&mut plan, &inverter, &mut examples, &mut watched)?;
        let settings = phase.settings(&self.device);
        let settings = Settings { init: beginning.corrector.clone(), ..settings };
        self.train(settings, beginning, Some(&inverter), &corrector, (&examples, &watched))
    }

    fn train(
        &self,
        settings: Settings,
        beginning: &Beginning,
        inverter: Option<&Location>,
        out: &Path,
        (examples, watched): (&Examples, &Examples),
    ) -> Result<(), CliError> {
        let space = settings.init.as_ref().and(beginning.space.clone());
        let resume = self.recipe.resume && training::is_begun(out);
        let settings = Settings {
            space,
            resume,
            embedder: self.embedder.to_string(),
            seed: self.recipe.seed,
            ..settings
        };
        training::can_begin(&settings, out)?;
        let Recipe { corpus, seed, device, .. } = self.recipe;
        let minutes = match settings.length {
            TrainingLength::Time(time) => Some(time.as_secs_f64() / 60.0),
            TrainingLength::Steps(_) => None,
        };
        let told = Told { corpus, out, seed: *seed, minutes, vocabulary: None, device: *device };
        let (embedder, stacks, terminal) = (&self.embedder, self.stacks.as_slice(), self.terminal);
        let init = settings.init.as_ref().map(|_| beginning.name.clone());
        let training = ModelTraining { settings, embedder, inverter, stacks, init, out, told, terminal };
        training.run(examples, watched).map(|_| ())
    }

    /// Guesses as many texts as there is time for, and leaves the others out. Returns how to train the corrector.
    fn with_hypotheses(
        &self,
        plan: &mut Plan,
        inverter: &Location,
        examples: &mut Examples,
        watched: &mut Examples,
    ) -> Result<Phase, CliError> {
        let (device, embedder, cache) = (&self.device, &self.embedder, &self.cache);
        let (folder, terminal) = (&self.recipe.cache.hypotheses()?, self.terminal);
        let guesser = Guesser { inverter, device, embedder, cache, folder, terminal };
        watched.hypotheses = Some(guesser.hypotheses(watched)?);
        let clock = self.clock.part(plan.corrector_seconds);
        let known = plan.corrector.as_ref().map(|corrector| corrector.texts);
        let hypotheses = guesser.hypotheses_while(examples, CHUNK, |done| match known {
            Some(texts) => done < texts,
            None => !clock.is_over(HYPOTHESES),
        })?;
        let texts = known.unwrap_or(usize::MAX).min(hypotheses.0.len());
        examples.texts.truncate(texts);
        examples.vectors = examples.vectors.slice(ndarray::s![..texts, ..]).to_owned();
        examples.hypotheses =
            Some((hypotheses.0[..texts].to_vec(), hypotheses.1.slice(ndarray::s![..texts, ..]).to_owned()));
        let phase = plan.correct(texts, clock.left()).clone();
        plan.write(&self.recipe.out)?;
        Ok(phase)
    }

    /// Prints the result, and what to run next.
    fn serve(
        &self,
        beginning: &Beginning,
        watched: &Examples,
        held_out: usize,
    ) -> Result<ExitCode, CliError> {
        let before = beginning.attack()?.map(|attack| Scores::of(attack, self, watched)).transpose()?;
        let attack = Vec2Text::load(&self.recipe.out)?;
        let after = Scores::of(attack, self, watched)?;
        let before = before.map_or_else(String::new, |before| format!("  {:8}{before}\n", "before"));
        let text = format!(
            "{} held-out texts, one correction each and no search:\n{before}  {:8}{after}\n",
            watched.texts.len(),
            "after"
        );
        if after.is_near_chance() {
            warn(
                "warning: the attack is near chance on held-out texts, so an evaluation with it will be inconclusive; \
                 give it more time or more texts of this kind, or attack with --attack auto",
            );
        }
        print(&(text + &self.next(held_out)))?;
        Ok(ExitCode::SUCCESS)
    }

    /// The evaluation of the attack, on texts that it was not trained on.
    fn next(&self, held_out: usize) -> String {
        let Recipe { embedder, out, corpus, .. } = self.recipe;
        let (out, samples) = (out.display().to_string(), held_out.min(SAMPLES).to_string());
        let guided = models::guided_after(&out);
        let mut words: Vec<&str> = vec!["evaluate", "--embedder", embedder];
        if self.stacks.is_empty() {
            words.extend(["--attack", &guided]);
        } else {
            words.extend(["--retrained", &out, "--adversary", "retrained"]);
            words.extend(self.recipe.defense.iter().flat_map(|defense| ["--defense", defense]));
        }
        let file = corpus.iter().find(|name| !models::records(name).is_ok_and(|records| records.is_some()));
        if let Some(file) = file {
            words.extend(["--corpus", file, "--samples", &samples]);
        }
        format!("next: measure defenses, on texts that the attack was not trained on\n  {}\n", command(words))
    }
}

//! What a recipe chose: lengths, batches and times. It is kept in the output folder, and a resumed run follows it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::base::{Beginning, Named};
use super::clock::Clock;
use super::phase::{Length, Phase, Work};
use super::{INVERTER, Recipe};
use crate::attacks::vec2text::train::{self as training, Examples, Settings, Tokens};
use crate::attacks::vec2text::{Config, Preset};
use crate::cli::error::CliError;
use crate::cli::files::{self, Readers};
use crate::cli::loaded::Loaded;
use crate::cli::terminal::{Terminal, duration};
use crate::digest::Digest;

const FILE: &str = "plan.json";

/// How many texts lengths are chosen by.
const SAMPLE: usize = 2_000;

/// How many word pieces of a text an attack learns, unless it begins with one that knows more.
const LONGEST: usize = 128;
/// The share of texts that are learned whole, up to that length.
const WHOLE: f64 = 0.95;

/// The share of unknown word pieces that capital letters may make.
const UNKNOWN: f64 = 0.005;

/// How many tokens a core trains on in a second, measured in the trainings of the shipped attacks. The corrector also
/// reads a hypothesis. Only the size of batches depends on it.
const RATE_OF_INVERTER: f64 = 1900.0;
const RATE_OF_CORRECTOR: f64 = 760.0;

/// What a resumed run must share with the run before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Request {
    embedder_sha256: String,
    corpus_sha256: String,
    init: String,
    defenses: Vec<String>,
    minutes: Option<f64>,
    steps: Option<usize>,
    seed: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    request: Request,
    pub(super) begins_with: Named,
    /// Whether texts are lower-cased, because the word pieces know no capital letters.
    pub(super) lowercase: bool,
    /// Tokens of the longest text.
    pub(super) max_length: usize,
    /// The share of texts that are longer.
    longer: f64,
    /// Tokens of a text, on average.
    tokens: f64,
    on_gpu: bool,
    pub(super) inverter: Phase,
    /// The corrector's part of the time, including its hypotheses; 0 if steps are counted.
    pub(super) corrector_seconds: f64,
    /// How the corrector is trained, once its hypotheses are made.
    pub(super) corrector: Option<Phase>,
}

impl Request {
    pub(super) fn new(recipe: &Recipe, embedder: &Loaded, texts: &[String]) -> Self {
        Self {
            embedder_sha256: embedder.hash().to_owned(),
            corpus_sha256: Digest::of(texts).hex(),
            init: recipe.init.clone(),
            defenses: recipe.defense.clone(),
            minutes: recipe.steps.is_none().then_some(recipe.minutes),
            steps: recipe.steps,
            seed: recipe.seed,
        }
    }

    /// The first thing in which `other` differs.
    fn difference(&self, other: &Self) -> Option<&'static str> {
        let Self { embedder_sha256, corpus_sha256, init, defenses, minutes, steps, seed } = self;
        let differences = [
            ("another embedder (--embedder)", *embedder_sha256 != other.embedder_sha256),
            ("other texts (--corpus)", *corpus_sha256 != other.corpus_sha256),
            ("other first weights (--init)", *init != other.init),
            ("other defenses (--defense)", *defenses != other.defenses),
            ("another time (--minutes)", *minutes != other.minutes),
            ("another number of steps (--steps)", *steps != other.steps),
            ("another seed (--seed)", *seed != other.seed),
        ];
        differences.into_iter().find_map(|(what, differs)| differs.then_some(what))
    }
}

impl Plan {
    /// Refuses a folder that holds a training, unless it is resumed, and a folder without one to resume.
    pub(super) fn check(out: &Path, resume: bool) -> Result<(), CliError> {
        let path = out.join(FILE);
        match (resume, path.exists()) {
            (true, false) => Err(files::bad(
                &path,
                "there is no training to resume; name its folder, or leave --resume out",
            )),
            (false, true) => {
                Err(files::bad(&path, "a training is here already; --resume it, or choose another folder"))
            }
            (true, true) => Ok(()),
            (false, false) => {
                let vacant = |model: &str| training::can_begin(&Settings::default(), &out.join(model));
                Ok(["inverter", "corrector"].into_iter().try_for_each(vacant)?)
            }
        }
    }

    /// The plan of the run that is resumed.
    pub(super) fn resumed(out: &Path, request: &Request) -> Result<Self, CliError> {
        let path = out.join(FILE);
        let damaged = "it is damaged; train anew in another folder";
        let plan: Self = serde_json::from_str(&files::read_text(&path, 1 << 20, damaged)?)
            .map_err(|_| files::bad(&path, damaged))?;
        match plan.request.difference(request) {
            None => Ok(plan),
            Some(what) => Err(files::bad(
                &path,
                format!("the training was begun with {what}; give the same, or choose another folder"),
            )),
        }
    }

    /// Chooses lengths by the texts, batches by the machine and the time, and times by what is left.
    pub(super) fn new(
        request: Request,
        beginning: &Beginning,
        examples: &Examples,
        (clock, on_gpu): (&Clock, bool),
    ) -> Result<Self, CliError> {
        let sample = &examples.texts[..examples.texts.len().min(SAMPLE)];
        let (Tokens { lengths, .. }, lowercase) = tokens(beginning, sample)?;
        let max_length = max_length(beginning, &lengths)?;
        let share = |count: usize| count as f64 / lengths.len().max(1) as f64;
        let tokens = share(lengths.iter().map(|&length| length.min(max_length)).sum());
        let left = clock.left();
        let work = Work { texts: examples.texts.len(), tokens, max_length, rate: RATE_OF_INVERTER, on_gpu };
        Ok(Self {
            inverter: Phase::new(of(&request, INVERTER * left), work),
            corrector_seconds: (1.0 - INVERTER) * left,
            corrector: None,
            begins_with: beginning.named(),
            lowercase,
            max_length,
            longer: share(lengths.iter().filter(|&&length| length > max_length).count()),
            tokens,
            on_gpu,
            request,
        })
    }

    /// How many texts are trained on.
    pub(super) fn texts(&self) -> usize {
        self.inverter.texts
    }

    /// Plans the corrector's training, on `texts` texts and for `seconds` seconds.
    pub(super) fn correct(&mut self, texts: usize, seconds: f64) -> &Phase {
        let Self { tokens, max_length, on_gpu, .. } = *self;
        let work = Work { texts, tokens, max_length, rate: RATE_OF_CORRECTOR, on_gpu };
        let length = of(&self.request, seconds);
        self.corrector.get_or_insert_with(|| Phase::new(length, work))
    }

    pub(super) fn write(&self, out: &Path) -> Result<(), CliError> {
        files::write_ours(Readers::Usual, &out.join(FILE), &(serde_json::to_string_pretty(self)? + "\n"))
    }

    pub(super) fn tell(&self, terminal: Terminal) {
        let Self { begins_with, inverter, max_length, longer, .. } = self;
        let time = match inverter.length {
            Length::Seconds(seconds) => {
                format!(
                    "{} for the inverter, {} for the corrector",
                    duration(seconds as f64),
                    duration(self.corrector_seconds)
                )
            }
            Length::Steps(steps) => format!("{steps} steps of each model"),
        };
        terminal.remark(&format!(
            "begins with {begins_with}; {} texts of up to {max_length} word pieces ({:.0} % are longer) in batches of {}; \
             {time}",
            inverter.texts,
            100.0 * longer,
            inverter.batch,
        ));
        if self.lowercase {
            terminal
                .remark("the texts are lower-cased: the attack that it begins with knows no capital letters");
        }
    }
}

fn of(request: &Request, seconds: f64) -> Length {
    request.steps.map_or(Length::Seconds((seconds as u64).max(1)), Length::Steps)
}

/// The tokens of texts as the model reads them, and whether it reads them better in lower case.
fn tokens(beginning: &Beginning, texts: &[String]) -> Result<(Tokens, bool), CliError> {
    let Some(inverter) = &beginning.inverter else {
        // its word pieces are learned from the texts: most words are one or two
        let mut tokens = Tokens::default();
        tokens.lengths.extend(texts.iter().map(|text| 1 + text.split_whitespace().count() * 3 / 2));
        return Ok((tokens, false));
    };
    let tokens = training::count_tokens(inverter, texts)?;
    let lower: Vec<String> = texts.iter().map(|text| text.to_lowercase()).collect();
    let lowered = training::count_tokens(inverter, &lower)?;
    let unknown = tokens.unknown as f64 / tokens.lengths.iter().sum::<usize>().max(1) as f64;
    let is_better = unknown > UNKNOWN && 2 * lowered.unknown < tokens.unknown;
    Ok((if is_better { lowered } else { tokens }, is_better))
}

/// The number of word pieces with which most texts are whole, and at least the model's own.
fn max_length(beginning: &Beginning, lengths: &[usize]) -> Result<usize, CliError> {
    let known = match &beginning.inverter {
        Some(inverter) => {
            let config: Config = serde_json::from_slice(&inverter.join("config.json").read()?)?;
            config.max_seq_length
        }
        None => Preset::TINY.max_length,
    };
    let mut lengths = lengths.to_vec();
    lengths.sort_unstable();
    let at = (WHOLE * lengths.len() as f64) as usize;
    let most = lengths.get(at).or(lengths.last()).copied().unwrap_or(0);
    Ok(known.max(most.next_multiple_of(16).min(LONGEST)))
}

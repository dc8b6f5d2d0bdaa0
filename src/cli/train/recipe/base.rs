//! The weights that a training begins with.

use std::path::Path;

use ndarray::s;
use serde::{Deserialize, Serialize};

use super::Kitchen;
use crate::attacks::alignment::SpaceMap;
use crate::attacks::vec2text::train::{self as training, Examples};
use crate::attacks::vec2text::{SHIPPED, TrainingTexts, Vec2Text, shipped, shipped_for};
use crate::cli::error::CliError;
use crate::cli::loaded::Loaded;
use crate::cli::models::{self, REFERENCE};
use crate::cli::terminal::Terminal;
use crate::cli::train::common::embed;
use crate::models::Location;

/// The name of the choice that is made for the user.
pub(super) const AUTO: &str = "auto";
/// The name of random weights.
const NONE: &str = "none";

/// How many texts a map between two embedders is fitted on.
const PAIRS: usize = 10_000;

/// An attack that a training may begin with.
pub(super) struct Candidate {
    name: String,
    inverter: Location,
    corrector: Option<Location>,
}

/// What a training begins with.
pub(super) struct Beginning {
    pub(super) name: String,
    pub(super) way: Way,
    /// `None` for random weights.
    pub(super) inverter: Option<Location>,
    pub(super) corrector: Option<Location>,
    /// From the embedder's vectors to those that the weights take.
    pub(super) space: Option<SpaceMap>,
}

/// The same in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) way: Way,
}

/// How weights read vectors of the embedder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Way {
    AsTheyAre,
    ThroughAMap,
    /// They have another dimension: the layers that read them start afresh.
    Anew,
}

/// What training can begin with; empty for random weights.
pub(super) fn candidates(
    init: &str,
    embedder: &Loaded,
    terminal: Terminal,
) -> Result<Vec<Candidate>, CliError> {
    match init {
        NONE => Ok(Vec::new()),
        AUTO => {
            let names = shipped_for(embedder.hash()).map_or(SHIPPED.to_vec(), |name| vec![name]);
            names.into_iter().map(|name| Candidate::named(name, terminal)).collect()
        }
        name => Ok(vec![Candidate::named(name, terminal)?]),
    }
}

/// What the candidates were trained on, as far as it is known.
pub(super) fn listed(candidates: &[Candidate]) -> Result<Vec<TrainingTexts>, CliError> {
    let models = candidates.iter().flat_map(|it| std::iter::once(&it.inverter).chain(&it.corrector));
    let mut listed: Vec<TrainingTexts> = Vec::new();
    for model in models {
        listed.extend(TrainingTexts::read(model)?.filter(|texts| !listed.contains(texts)));
    }
    Ok(listed)
}

impl Candidate {
    fn named(name: &str, terminal: Terminal) -> Result<Self, CliError> {
        let folder = if Path::new(name).is_dir() { Location::from(name) } else { shipped(name)? };
        let inverter = folder.join("inverter");
        // says what is missing
        let inverter = if inverter.is_dir() { inverter } else { models::folder(name, "inverter", terminal)? };
        let corrector = Some(folder.join("corrector")).filter(Location::is_dir);
        Ok(Self { name: models::title(name), inverter, corrector })
    }

    fn dimension(&self) -> Result<usize, CliError> {
        Ok(Vec2Text::new(&self.inverter, None)?.dimension())
    }

    fn beginning(self, way: Way, space: Option<SpaceMap>) -> Beginning {
        let Self { name, inverter, corrector } = self;
        Beginning { name, way, inverter: Some(inverter), corrector, space }
    }

    /// The map from the embedder's vectors to the reference's, if this is the attack on the reference and the
    /// embedder is another one. No other attack is shipped with its embedder.
    fn space(&self, kitchen: &Kitchen<'_>, examples: &Examples) -> Result<Option<SpaceMap>, CliError> {
        if self.name != REFERENCE || shipped_for(kitchen.embedder.hash()) == Some(REFERENCE) {
            return Ok(None);
        }
        let reference = models::local_embedder(REFERENCE, &kitchen.device, kitchen.terminal)?;
        let count = examples.texts.len().min(PAIRS);
        let to = embed(&reference, &kitchen.cache, &examples.texts[..count], kitchen.terminal)?;
        Ok(Some(SpaceMap::fit(examples.vectors.slice(s![..count, ..]), to.view())?))
    }
}

/// The candidate with the lowest loss on held-out texts, each in the ways that it can read the embedder's vectors.
pub(super) fn choose(
    candidates: Vec<Candidate>,
    kitchen: &Kitchen<'_>,
    examples: &Examples,
    watched: &Examples,
) -> Result<Beginning, CliError> {
    let mut ways = Vec::new();
    for candidate in candidates {
        let fits = candidate.dimension()? == watched.vectors.ncols();
        let space = candidate.space(kitchen, examples)?;
        if fits {
            let loss = loss(&candidate, watched, None)?;
            ways.push((loss, candidate.again().beginning(Way::AsTheyAre, None)));
        }
        if let Some(space) = space {
            let loss = loss(&candidate, watched, Some(&space))?;
            ways.push((loss, candidate.beginning(Way::ThroughAMap, Some(space))));
        } else if !fits {
            ways.push((f32::INFINITY, candidate.beginning(Way::Anew, None)));
        }
    }
    if ways.len() > 1 {
        let each = ways.iter().map(|(loss, way)| format!("{way} {loss:.2}"));
        let each = each.collect::<Vec<_>>().join(", ");
        kitchen.terminal.remark(&format!("loss of a token of held-out texts before training: {each}"));
    }
    let best = ways.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
    Ok(best.map_or_else(Beginning::nothing, |(_, best)| best))
}

/// The loss, ignoring case, because the shipped attacks write in lower case.
fn loss(candidate: &Candidate, watched: &Examples, space: Option<&SpaceMap>) -> Result<f32, CliError> {
    let vectors = match space {
        Some(space) => space.apply(watched.vectors.view())?,
        None => watched.vectors.clone(),
    };
    let texts = watched.texts.iter().map(|text| text.to_lowercase()).collect();
    Ok(training::loss(&candidate.inverter, &Examples { texts, vectors, hypotheses: None })?)
}

impl Candidate {
    fn again(&self) -> Self {
        let Self { name, inverter, corrector } = self;
        Self { name: name.clone(), inverter: inverter.clone(), corrector: corrector.clone() }
    }
}

impl Beginning {
    fn nothing() -> Self {
        Self { name: NONE.into(), way: Way::AsTheyAre, inverter: None, corrector: None, space: None }
    }

    /// What an earlier run began with.
    pub(super) fn again(
        named: &Named,
        candidates: Vec<Candidate>,
        kitchen: &Kitchen<'_>,
        examples: &Examples,
    ) -> Result<Self, CliError> {
        let candidate = candidates.into_iter().find(|candidate| candidate.name == named.name);
        let Some(candidate) = candidate else { return Ok(Self::nothing()) };
        let space = match named.way {
            Way::ThroughAMap => candidate.space(kitchen, examples)?,
            Way::AsTheyAre | Way::Anew => None,
        };
        Ok(candidate.beginning(named.way, space))
    }

    pub(super) fn named(&self) -> Named {
        Named { name: self.name.clone(), way: self.way }
    }

    /// The attack before training; `None` if it does not read the embedder's vectors.
    pub(super) fn attack(&self) -> Result<Option<Vec2Text>, CliError> {
        match (&self.inverter, self.way) {
            (Some(inverter), Way::AsTheyAre) => Ok(Some(Vec2Text::new(inverter, self.corrector.clone())?)),
            _ => Ok(None),
        }
    }
}

impl std::fmt::Display for Beginning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.named().fmt(f)
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        match self.way {
            Way::AsTheyAre => Ok(()),
            Way::ThroughAMap => f.write_str(" through a map"),
            Way::Anew => f.write_str(" with a new projection"),
        }
    }
}

//! Embedders and attacks, by the names that the command line gives them.

use std::path::{Path, PathBuf};

use candle_core::Device;

use super::error::CliError;
use super::terminal::{Terminal, warn};
use crate::attacks::vec2text::{LOCAL_QUERIES, Vec2Text, shipped, shipped_for};
use crate::embedder::{EmbeddingCache, SentenceTransformer, reference_on};
use crate::models::Location;
use crate::models::hub::Hub;

/// The embedder where none is named.
pub(crate) const REFERENCE: &str = "reference";

/// What `--embedder` names.
pub(crate) fn embedder(name: &str, terminal: Terminal) -> Result<SentenceTransformer, CliError> {
    embedder_on(name, &Device::Cpu, terminal)
}

/// What `--embedder` or `--teacher` names, to run on a device.
pub(crate) fn embedder_on(
    name: &str,
    device: &Device,
    terminal: Terminal,
) -> Result<SentenceTransformer, CliError> {
    let folder = local(name, Hub::embedder, terminal)?;
    if name == REFERENCE && folder.is_none() {
        return Ok(reference_on(device)?);
    }
    if name.starts_with("http://") || name.starts_with("https://") {
        return Err(CliError::new(
            "embedders behind an address come with a later version; name a sentence-transformers folder",
        ));
    }
    let folder = folder.ok_or_else(|| {
        CliError::new(format!(
            "{name}: there is no such folder; an embedder is `{REFERENCE}`, a sentence-transformers folder, or the name \
             of one on the hub (owner/model)"
        ))
    })?;
    Ok(SentenceTransformer::load_on(folder, device)?)
}

/// The folder that a name stands for: itself, or that of a model on the hub, from the cache or fetched.
fn local(
    name: &str,
    find: impl Fn(&Hub, &str) -> Result<PathBuf, crate::models::Error>,
    terminal: Terminal,
) -> Result<Option<PathBuf>, CliError> {
    let path = Path::new(name);
    if path.is_dir() {
        return Ok(Some(path.to_owned()));
    }
    if !Hub::is_name(name) {
        return Ok(None);
    }
    let found = find(&Hub::from_env().progress(!terminal.is_quiet()), name);
    found.map(Some).map_err(|error| {
        CliError::new(format!("{name}: there is no such folder; taken as a name on the hub, {error}"))
    })
}

/// Where embeddings are kept.
#[derive(Debug, clap::Args)]
pub(crate) struct Cache {
    /// The folder that keeps embeddings, and in training hypotheses, between runs.
    #[arg(long, env = "EMBOSK_CACHE", default_value = ".cache/embosk", value_name = "DIR")]
    cache: PathBuf,
}

impl Cache {
    /// The folder of embeddings.
    pub(crate) fn embeddings(&self) -> Result<EmbeddingCache, CliError> {
        Ok(EmbeddingCache::new(self.cache.join("embeddings"))?)
    }

    /// The folder of hypotheses.
    pub(crate) fn hypotheses(&self) -> PathBuf {
        self.cache.join("hypotheses")
    }
}

/// How an attack searches.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Search {
    /// Correction steps; 0 for none.
    #[arg(long, default_value_t = Search::default().steps, value_name = "N")]
    pub(crate) steps: usize,
    /// Hypotheses kept from step to step.
    #[arg(long, default_value_t = Search::default().beam_width, value_name = "B", value_parser = parse_beam_width)]
    pub(crate) beam_width: usize,
    /// Oracle queries a text that the local search after the correction may use; 0 for none.
    #[arg(long, default_value_t = Search::default().local_queries, value_name = "N")]
    pub(crate) local_queries: usize,
}

impl Default for Search {
    fn default() -> Self {
        Self { steps: 20, beam_width: 4, local_queries: LOCAL_QUERIES }
    }
}

fn parse_beam_width(text: &str) -> Result<usize, &'static str> {
    beam_width(text.parse().unwrap_or(0))
}

/// Memory grows with the width.
pub(crate) fn beam_width(width: usize) -> Result<usize, &'static str> {
    if (1..=256).contains(&width) { Ok(width) } else { Err("a beam width is a whole number from 1 to 256") }
}

impl Search {
    pub(crate) fn apply(&self, attack: Vec2Text) -> Vec2Text {
        attack.steps(self.steps).beam_width(self.beam_width).local_queries(self.local_queries)
    }
}

/// What `--attack` names: a folder with `inverter` and perhaps `corrector`, a shipped pair, or
/// `INVERTER+CORRECTOR`, each as [`pair`] takes it.
pub(crate) fn attack(name: &str, terminal: Terminal) -> Result<Vec2Text, CliError> {
    match (Path::new(name), two(name)) {
        (path, _) if path.is_dir() => Ok(Vec2Text::load(path)?),
        (_, Some((inverter, corrector))) => pair(inverter, Some(corrector), terminal),
        _ => Ok(Vec2Text::shipped(name)?),
    }
}

/// The models of `INVERTER+CORRECTOR`; none where the whole is a folder's name.
pub(crate) fn two(name: &str) -> Option<(&str, &str)> {
    two_where(name, |part| Path::new(part).is_dir())
}

/// The same where `is_folder` says what is one. Folders may have a `+` in their names, too.
pub(crate) fn two_where(name: &str, is_folder: impl Fn(&str) -> bool) -> Option<(&str, &str)> {
    if is_folder(name) {
        return None;
    }
    let mut pairs = name.match_indices('+').map(|(at, _)| (&name[..at], &name[at + 1..]));
    let both = pairs.clone().find(|(inverter, corrector)| is_folder(inverter) && is_folder(corrector));
    both.or_else(|| pairs.next())
}

/// What a report calls a folder: its own name, as the way to it differs between machines. Two models are
/// called by both.
pub(crate) fn title(name: &str) -> String {
    if let Some((inverter, corrector)) = two(name) {
        return format!("{}+{}", title(inverter), title(corrector));
    }
    Path::new(name).file_name().map_or_else(|| name.to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The attack where none is named: the shipped one that was trained on the embedder, else that for MiniLM.
pub(crate) fn usual_attack(embedder: &SentenceTransformer) -> &'static str {
    shipped_for(embedder.hash()).unwrap_or("minilm")
}

/// What `--inverter` and `--corrector` name together. A shipped inverter comes with its corrector.
pub(crate) fn pair(
    inverter: &str,
    corrector: Option<&str>,
    terminal: Terminal,
) -> Result<Vec2Text, CliError> {
    if corrector.is_none() && !Path::new(inverter).is_dir() && !Hub::is_name(inverter) {
        return attack(inverter, terminal);
    }
    let corrector = corrector.map(|name| folder(name, "corrector", terminal)).transpose()?;
    Ok(Vec2Text::new(folder(inverter, "inverter", terminal)?, corrector)?)
}

/// The folder of a model: the one named, on disk or on the hub, or the `part` of a shipped attack.
pub(crate) fn folder(name: &str, part: &str, terminal: Terminal) -> Result<Location, CliError> {
    match local(name, Hub::model, terminal)? {
        Some(folder) => Ok(folder.into()),
        None => Ok(shipped(name)?.join(part)),
    }
}

/// Whether the attack takes the embedder's vectors. One that was trained on another embedder says
/// little, and that is said.
pub(crate) fn fit(attack: &Vec2Text, embedder: &SentenceTransformer) -> Result<(), CliError> {
    match (attack.dimension(), embedder.dimension()) {
        (takes, gives) if takes == gives => {
            if attack.embedder_hash().is_some_and(|hash| hash != embedder.hash()) {
                warn("warning: the attack was trained on another embedder than this one");
            }
            Ok(())
        }
        (takes, gives) => Err(CliError::new(format!(
            "the attack takes vectors of {takes} dimensions, and the embedder gives {gives}; \
             name an attack that was trained on this embedder"
        ))),
    }
}

/// The N of `records[:N]`; none when the name is a file's.
pub(crate) fn records(name: &str) -> Result<Option<usize>, CliError> {
    match name.strip_prefix("records") {
        Some("") => Ok(Some(100_000)),
        Some(rest) if rest.starts_with(':') => match rest[1..].parse() {
            Ok(0) | Err(_) => Err(CliError::new("records:N takes a number of records above 0")),
            Ok(count) => Ok(Some(count)),
        },
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_may_have_a_plus_in_their_names() {
        let two = |name| two_where(name, |part| ["a+b/inverter", "c+", "d"].contains(&part));
        assert_eq!(two("a+b/inverter"), None);
        assert_eq!(two("a+b/inverter+c+"), Some(("a+b/inverter", "c+")));
        assert_eq!(two("d+a+b/inverter"), Some(("d", "a+b/inverter")));
        assert_eq!(two("owner/inverter+owner/corrector"), Some(("owner/inverter", "owner/corrector")));
        assert_eq!(two("minilm"), None);
    }
    #[test]
    fn a_report_names_a_folder_without_the_way_to_it() {
        assert_eq!(title("minilm"), "minilm");
        assert_eq!(title("/home/ann/../my-attack/"), "my-attack");
        assert_eq!(title(".."), "..");
        assert_eq!(title("/home/ann/inverter+owner/corrector@main"), "inverter+corrector@main");
    }
}

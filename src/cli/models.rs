//! Embedders and attacks, by the names that the command line gives them.

mod search;

use std::path::{Path, PathBuf};

use candle_core::Device;

pub(crate) use self::search::{Search, Stages, beam_width};
use super::error::CliError;
use super::files;
use super::loaded::Loaded;
use super::service::ServiceOptions;
use super::terminal::{Terminal, warn};
use crate::attacks::Attack;
use crate::attacks::guided::{Guided, QUERIES};
use crate::attacks::vec2text::{Vec2Text, shipped, shipped_for};
use crate::cache_folder;
use crate::digest::Digest;
use crate::embedder::{EmbeddingCache, SentenceTransformer, Service, reference_on};
use crate::models::Location;
use crate::models::hub::Hub;

/// The default embedder.
pub(crate) const REFERENCE: &str = "reference";

/// The attack that needs no trained model.
pub(crate) const GUIDED: &str = "guided";

/// The trained attack for the embedder, if there is one, and guided search after it.
pub(crate) const AUTO: &str = "auto";

/// Before the name of a trained attack: guided search runs after it.
const AFTER: &str = "auto:";

/// The trained attack of `auto:NAME`.
pub(crate) fn after(name: &str) -> Option<&str> {
    name.strip_prefix(AFTER)
}

/// The name of a trained attack with guided search after it.
pub(crate) fn guided_after(name: &str) -> String {
    format!("{AFTER}{name}")
}

/// What embedders are opened with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening<'a> {
    pub(crate) services: &'a ServiceOptions,
    pub(crate) cache: &'a Cache,
    pub(crate) terminal: Terminal,
}

impl Opening<'_> {
    /// What `--embedder` names.
    pub(crate) fn embedder(&self, name: &str) -> Result<Loaded, CliError> {
        self.embedder_on(name, &Device::Cpu)
    }

    /// What `--embedder` or `--teacher` names, to run on a device if it runs here.
    pub(crate) fn embedder_on(&self, name: &str, device: &Device) -> Result<Loaded, CliError> {
        if Service::is_address(name) {
            let service = self.services.service(name, self.cache.embeddings()?, self.terminal)?;
            return Ok(Loaded::remote(service.connect()?));
        }
        Ok(Loaded::local(local_embedder(name, device, self.terminal)?))
    }
}

/// An embedder that runs here.
pub(crate) fn local_embedder(
    name: &str,
    device: &Device,
    terminal: Terminal,
) -> Result<SentenceTransformer, CliError> {
    if Service::is_address(name) {
        // it may hold a password
        return Err(CliError::new(
            "an embedder behind an address cannot be opened here; hand over a client, or a function that asks it",
        ));
    }
    let folder = local(name, Hub::embedder, terminal)?;
    if name == REFERENCE && folder.is_none() {
        return Ok(reference_on(device)?);
    }
    let folder = folder.ok_or_else(|| {
        let what = if Path::new(name).is_file() { "it is a file" } else { "there is no such folder" };
        CliError::new(format!(
            "{}: {what}; an embedder is `{REFERENCE}`, a sentence-transformers folder, the name of \
             one on the hub (owner/model), or an address (http(s)://host[:port]/v1#model)",
            shown(name)
        ))
    })?;
    Ok(SentenceTransformer::load_on(folder, device)?)
}

/// A name as a message shows it: not if it is a key that was given in its place.
fn shown(name: &str) -> &str {
    if name.starts_with("embosk1-") { "a key" } else { name }
}

/// The folder of a name: the folder itself, or that of a model on the hub, from the cache or fetched.
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

/// The cache folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Cache {
    /// The folder for cached embeddings, training hypotheses, and rows of interrupted evaluations.
    #[arg(long, env = "EMBOSK_CACHE", default_value = ".cache/embosk", value_name = "DIR")]
    cache: PathBuf,
}

/// A part of the cache, which has a folder of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Vectors of texts.
    Embeddings,
    /// Finished rows of interrupted evaluations.
    Rows,
    /// What inverters guessed, for the training of correctors.
    Hypotheses,
}

impl Part {
    pub(crate) const ALL: [Self; 3] = [Self::Embeddings, Self::Rows, Self::Hypotheses];

    /// The name of its folder.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embeddings => "embeddings",
            Self::Rows => "rows",
            Self::Hypotheses => "hypotheses",
        }
    }

    /// What its files hold.
    pub(crate) fn content(self) -> &'static str {
        match self {
            Self::Embeddings => "clean vectors",
            Self::Rows => "finished rows of interrupted evaluations",
            Self::Hypotheses => "guessed texts, for training",
        }
    }

    /// Whether a file in its folder is of our making.
    pub(crate) fn is_ours(self, name: &str) -> bool {
        let is_digest_before = |end: &str| name.strip_suffix(end).is_some_and(Digest::is_short);
        match self {
            Self::Embeddings => EmbeddingCache::is_file_of(name),
            Self::Rows => is_digest_before(".json"),
            Self::Hypotheses => is_digest_before(".txt"),
        }
    }
}

impl Cache {
    /// The cache in this folder.
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self { cache: folder }
    }

    /// The folder of the cache.
    pub(crate) fn root(&self) -> &Path {
        &self.cache
    }

    /// The folder of a part, whether it exists or not.
    pub(crate) fn folder(&self, part: Part) -> PathBuf {
        self.cache.join(part.name())
    }

    /// The folder of embeddings.
    pub(crate) fn embeddings(&self) -> Result<EmbeddingCache, CliError> {
        self.open()?;
        let cache = EmbeddingCache::new(self.folder(Part::Embeddings))?;
        Ok(cache.on_damage(|damage| warn(&format!("warning: {damage}"))))
    }

    /// The folder of finished rows.
    pub(crate) fn rows(&self) -> Result<PathBuf, CliError> {
        self.opened(Part::Rows)
    }

    /// The folder of hypotheses.
    pub(crate) fn hypotheses(&self) -> Result<PathBuf, CliError> {
        self.opened(Part::Hypotheses)
    }

    fn open(&self) -> Result<(), CliError> {
        if self.cache.is_file() {
            let why = "it is a file, and the cache is a folder; name one with --cache or EMBOSK_CACHE";
            return Err(files::bad(&self.cache, why));
        }
        let is_ours = |name: &str| Part::ALL.iter().any(|part| part.name() == name);
        let bad = |error| {
            let why = format!(
                "the cache cannot be used: {error}; name another folder with --cache or EMBOSK_CACHE"
            );
            files::bad(&self.cache, why)
        };
        cache_folder::open(&self.cache, is_ours).map_err(bad)
    }

    fn opened(&self, part: Part) -> Result<PathBuf, CliError> {
        self.open()?;
        let folder = self.folder(part);
        cache_folder::open(&folder, |name| part.is_ours(name)).map_err(|error| files::bad(&folder, error))?;
        Ok(folder)
    }
}

/// The trained attack that `--attack` names: a folder with `inverter` and perhaps `corrector`, a shipped attack, or
/// `INVERTER+CORRECTOR`, each as [`pair`] takes it.
pub(crate) fn attack(name: &str, terminal: Terminal) -> Result<Vec2Text, CliError> {
    match (Path::new(name), two(name)) {
        (path, _) if path.is_dir() => Ok(Vec2Text::load(path)?),
        (_, Some((inverter, corrector))) => pair(inverter, Some(corrector), terminal),
        _ => Ok(Vec2Text::shipped(name)?),
    }
}

/// The trained attack of `--attack` and its name, checked against the embedder; `None` for guided search alone.
pub(crate) fn trained<'a>(
    name: &'a str,
    embedder: &Loaded,
    terminal: Terminal,
) -> Result<Option<(&'a str, Vec2Text)>, CliError> {
    let name = match name {
        GUIDED => return Ok(None),
        AUTO => match shipped_for(embedder.hash()) {
            Some(name) => name,
            None => return Ok(None),
        },
        name => after(name).unwrap_or(name),
    };
    let attack = attack(name, terminal)?;
    fit(&attack, embedder)?;
    Ok(Some((name, attack)))
}

/// The attack that searches with what is there: the trained models, guided search if `guides`, or one after the other.
/// Without trained models, it is guided search.
pub(crate) fn searching(trained: Option<Vec2Text>, guides: bool, search: &Search) -> Box<dyn Attack> {
    let guided = match trained {
        Some(attack) if guides => Guided::after(attack),
        Some(attack) => return Box::new(attack),
        None => Guided::new(),
    };
    Box::new(guided.queries(search.queries.unwrap_or(QUERIES)).black_box(search.black_box))
}

/// The models of `INVERTER+CORRECTOR`; `None` if the whole is a folder's name.
pub(crate) fn two(name: &str) -> Option<(&str, &str)> {
    two_where(name, |part| Path::new(part).is_dir())
}

/// The same, if `is_folder` says what is a folder. Folders may have a `+` in their names, too.
pub(crate) fn two_where(name: &str, is_folder: impl Fn(&str) -> bool) -> Option<(&str, &str)> {
    if is_folder(name) {
        return None;
    }
    let mut pairs = name.match_indices('+').map(|(at, _)| (&name[..at], &name[at + 1..]));
    let both = pairs.clone().find(|(inverter, corrector)| is_folder(inverter) && is_folder(corrector));
    both.or_else(|| pairs.next())
}

/// A folder's name in a report: without its path, which differs between machines. Two models are named by both.
pub(crate) fn title(name: &str) -> String {
    if let Some((inverter, corrector)) = two(name) {
        return format!("{}+{}", title(inverter), title(corrector));
    }
    Path::new(name).file_name().map_or_else(|| name.to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The default attack: the shipped one that was trained on the embedder, or otherwise the one for MiniLM.
pub(crate) fn usual_attack(embedder: &Loaded) -> &'static str {
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

/// Says that the attack was trained on another embedder, if it was.
pub(crate) fn misfit(attack: &Vec2Text, embedder: &Loaded) -> Option<&'static str> {
    let is_other = attack.embedder_hash().is_some_and(|hash| hash != embedder.hash());
    is_other.then_some("the attack was trained on a different embedder, so what it recovers says little")
}

/// Checks that the attack takes the embedder's vectors. Warns if it was trained on another embedder, because its
/// results then say little.
pub(crate) fn fit(attack: &Vec2Text, embedder: &Loaded) -> Result<(), CliError> {
    match (attack.dimension(), embedder.dimension()) {
        (takes, gives) if takes == gives => {
            if let Some(caveat) = misfit(attack, embedder) {
                warn(&format!("warning: {caveat}"));
            }
            Ok(())
        }
        (takes, gives) => Err(CliError::new(format!(
            "the attack takes vectors of {takes} dimensions, and the embedder gives {gives}; \
             name an attack that was trained on this embedder"
        ))),
    }
}

/// The N of `records[:N]`; `None` if the name is a file's.
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

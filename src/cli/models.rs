//! Embedders and attacks, by the names that the command line gives them.

use std::path::Path;

use embosk::attacks::vec2text::Vec2Text;
use embosk::embedder::SentenceTransformer;

use super::CliError;

/// What `--embedder` names.
pub(crate) fn embedder(name: &str) -> Result<SentenceTransformer, CliError> {
    let is_folder = Path::new(name).is_dir();
    if name == "reference" && !is_folder {
        return Err(CliError::new(
            "no reference embedder is shipped yet; run scripts/fetch-minilm and name the folder that it prints: \
             --embedder \"$(scripts/fetch-minilm)\"",
        ));
    }
    if name.starts_with("http://") || name.starts_with("https://") {
        return Err(CliError::new(
            "embedders behind an address come with a later version; name a sentence-transformers folder",
        ));
    }
    if !is_folder {
        return Err(CliError::new(format!(
            "{name}: there is no such folder; an embedder is a sentence-transformers folder"
        )));
    }
    Ok(SentenceTransformer::load(name)?)
}

/// What `--attack` names: a folder with `inverter` and perhaps `corrector`, or a shipped pair.
pub(crate) fn attack(name: &str) -> Result<Vec2Text, CliError> {
    let path = Path::new(name);
    Ok(if path.is_dir() { Vec2Text::load(path)? } else { Vec2Text::shipped(name)? })
}

/// What `--inverter` and `--corrector` name together. A shipped inverter comes with its corrector.
pub(crate) fn pair(inverter: &str, corrector: Option<&str>) -> Result<Vec2Text, CliError> {
    let folder = Path::new(inverter);
    match corrector {
        None if !folder.is_dir() => attack(inverter),
        Some(corrector) if corrector == inverter && !folder.is_dir() => attack(inverter),
        _ => Ok(Vec2Text::new(folder, corrector.map(Path::new))?),
    }
}

/// Whether the attack takes the embedder's vectors.
pub(crate) fn fit(attack: &Vec2Text, embedder: &SentenceTransformer) -> Result<(), CliError> {
    match (attack.dimension(), embedder.dimension()) {
        (takes, gives) if takes == gives => Ok(()),
        (takes, gives) => Err(CliError::new(format!(
            "the attack takes vectors of {takes} dimensions, and the embedder gives {gives}; \
             name an attack that was trained on this embedder"
        ))),
    }
}

//! The models that ship with the crate: in the program with the feature `reference`, otherwise in the crate's folder.

#[cfg(feature = "reference")]
use std::sync::LazyLock;

use embosk_models::Location;

use crate::Error;

/// The names of the shipped attacks.
pub const SHIPPED: [&str; 2] = ["reference", "minilm"];

/// Returns the folder of a shipped attack, with `inverter` and `corrector`; that of `reference` also has the
/// `embedder`.
///
/// With the feature `reference`, its files are in the program. Without it, they are read from the folder of this
/// crate's source, which another machine does not have.
///
/// # Errors
/// [`Error::Setting`] for an unknown name, or if the files are missing.
pub fn shipped(name: &str) -> Result<Location, Error> {
    if !SHIPPED.contains(&name) {
        return Err(Error::Setting(format!(
            "no attack named {name} is shipped, and there is no such folder; name {}, or a folder that \
             `embosk train` made",
            SHIPPED.join(" or ")
        )));
    }
    let folder = models().join(name);
    if folder.is_dir() {
        return Ok(folder);
    }
    let place = folder.path().display();
    Err(Error::Setting(format!(
        "the shipped models are not in this program, and not in {place}; build it with feature `reference`, or name \
         a folder"
    )))
}

/// Returns the name of the shipped attack that was trained on the embedder with this hash.
pub fn shipped_for(embedder_hash: &str) -> Option<&'static str> {
    let trained_on = |name: &str| {
        let manifest = shipped(name).ok()?.join("inverter").join("manifest.json").read().ok()?;
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).ok()?;
        manifest["embedder"]["hash"].as_str().map(String::from)
    };
    SHIPPED.into_iter().find(|name| trained_on(name).as_deref() == Some(embedder_hash))
}

#[cfg(not(feature = "reference"))]
fn models() -> Location {
    Location::from(concat!(env!("CARGO_MANIFEST_DIR"), "/models"))
}

#[cfg(feature = "reference")]
fn models() -> Location {
    Location::embedded(&FILES)
}

/// What is read from the folders in `models/`. The files of a folder are a crate, because a package registry takes no
/// large ones. Both attacks share the lists of training texts.
#[cfg(feature = "reference")]
static FILES: LazyLock<Vec<(&'static str, &'static [u8])>> = LazyLock::new(|| {
    let minilm = [&embosk_minilm_inverter::FILES[..], &embosk_minilm_corrector::FILES];
    let reference = [
        &embosk_reference_embedder::FILES[..],
        &embosk_reference_inverter::FILES,
        &embosk_reference_corrector::FILES,
    ];
    let of_minilm = |name| minilm.iter().copied().flatten().find(|(path, _)| *path == name);
    let shared = [
        ("reference/inverter/training_texts.bin", of_minilm("minilm/inverter/training_texts.bin")),
        ("reference/corrector/training_texts.bin", of_minilm("minilm/corrector/training_texts.bin")),
    ];
    let shared = shared.into_iter().filter_map(|(path, found)| Some((path, found?.1)));
    reference.iter().chain(&minilm).copied().flatten().copied().chain(shared).collect()
});

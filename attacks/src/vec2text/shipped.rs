//! The models that ship with the crate: in the program with the feature `reference`, otherwise in the crate's folder.

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
    Location::embedded(FILES)
}

#[cfg(feature = "reference")]
macro_rules! files {
    ($($path:literal $(is $file:literal)?),* $(,)?) => {
        &[$(($path, files!(@ $path $($file)?))),*]
    };
    (@ $path:literal) => { include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/models/", $path)) };
    (@ $path:literal $file:literal) => { files!(@ $file) };
}

/// What is read from the folders in `models/`. Both attacks share one list of training texts.
#[cfg(feature = "reference")]
static FILES: embosk_models::Embedded = files![
    "reference/embedder/modules.json",
    "reference/embedder/config.json",
    "reference/embedder/sentence_bert_config.json",
    "reference/embedder/tokenizer.json",
    "reference/embedder/model.safetensors",
    "reference/embedder/1_Pooling/config.json",
    "reference/embedder/2_Dense/config.json",
    "reference/embedder/2_Dense/model.safetensors",
    "reference/inverter/config.json",
    "reference/inverter/manifest.json",
    "reference/inverter/tokenizer.json",
    "reference/inverter/model.safetensors",
    "reference/inverter/training_texts.bin" is "minilm/inverter/training_texts.bin",
    "reference/corrector/config.json",
    "reference/corrector/manifest.json",
    "reference/corrector/tokenizer.json",
    "reference/corrector/model.safetensors",
    "reference/corrector/training_texts.bin" is "minilm/corrector/training_texts.bin",
    "minilm/inverter/config.json",
    "minilm/inverter/manifest.json",
    "minilm/inverter/tokenizer.json",
    "minilm/inverter/model.safetensors",
    "minilm/inverter/training_texts.bin",
    "minilm/corrector/config.json",
    "minilm/corrector/manifest.json",
    "minilm/corrector/tokenizer.json",
    "minilm/corrector/model.safetensors",
    "minilm/corrector/training_texts.bin",
];

//! Models by name: the cache that Hugging Face's tools keep, and with the feature `hub` the hub itself.
//!
//! Models that were fetched before, by `embosk` or by another tool, are found without the network and without the
//! feature. `HF_HUB_CACHE` names the folder of the cache. By default it is `hub` in `HF_HOME`, or `huggingface/hub`
//! in `XDG_CACHE_HOME` or `~/.cache`. With `HF_HUB_OFFLINE=1` nothing is fetched; `HF_ENDPOINT` names another hub,
//! and `HF_TOKEN` gives access to models that need it.

#[cfg(feature = "hub")]
mod fetch;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::weights::Weights;

/// A cache of models, and whether more may be fetched.
///
/// ```
/// use embosk_models::hub::Hub;
///
/// assert!(Hub::is_name("jxm/gtr__nq__32") && Hub::is_name("jxm/gtr__nq__32@main"));
/// assert!(!Hub::is_name("models/my/attack") && !Hub::is_name("minilm"));
///
/// let empty = Hub::new("no-such-folder").offline(true);
/// assert!(empty.model("jxm/gtr__nq__32").is_err());
/// ```
#[derive(Debug, Clone)]
pub struct Hub {
    cache: PathBuf,
    offline: bool,
    /// Where models are fetched from; `None` is the client's own default.
    endpoint: Option<String>,
    progress: bool,
}

impl Hub {
    /// Takes the cache and the hub that the environment names.
    pub fn from_env() -> Self {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let home = || {
            let caches = set("XDG_CACHE_HOME").map(PathBuf::from);
            let caches = caches.or_else(|| env::home_dir().map(|home| home.join(".cache")));
            caches.unwrap_or_default().join("huggingface")
        };
        let cache = set("HF_HUB_CACHE")
            .map_or_else(|| set("HF_HOME").map_or_else(home, PathBuf::from).join("hub"), PathBuf::from);
        let yes = |value: String| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str());
        Self {
            cache,
            offline: env::var("HF_HUB_OFFLINE").is_ok_and(yes),
            endpoint: env::var("HF_ENDPOINT").ok().filter(|endpoint| !endpoint.is_empty()),
            progress: false,
        }
    }

    /// Takes the cache in this folder, and the hub that Hugging Face runs.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self { cache: cache.into(), offline: false, endpoint: None, progress: false }
    }

    /// Sets whether only the cache is read.
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// Fetches from the hub at another address.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// Sets whether downloads show progress bars on stderr.
    pub fn progress(mut self, progress: bool) -> Self {
        self.progress = progress;
        self
    }

    /// Returns whether a name has the form of a name on the hub: `owner/model` or `owner/model@revision`.
    pub fn is_name(name: &str) -> bool {
        Name::parse(name).is_some_and(|name| name.model.contains('/'))
    }

    /// Finds or fetches the folder of a model or an embedder.
    ///
    /// A model in the cache is taken as it is. A newer version on the hub is not looked for; name a revision to
    /// get it.
    ///
    /// # Errors
    /// [`Error::Setting`] for a model that is not in the cache and cannot be fetched.
    pub fn model(&self, name: &str) -> Result<PathBuf, Error> {
        let parsed = Name::read(name)?;
        // an embedder may have its transformer in a folder of its own
        let parts = |folder: &Path| [folder.to_owned(), folder.join("0_Transformer")];
        let model = |folder: &PathBuf| folder.join("config.json").exists() && Weights::exist(folder);
        let whole = |folder: &Path| parts(folder).iter().any(model);
        match self.snapshot(&parsed).filter(|folder| whole(folder)) {
            Some(folder) => Ok(folder),
            None => self.fetch(name, &parsed, None),
        }
    }

    /// Finds or fetches the folder of a sentence-transformers model, as [`Hub::model`] does. If the cache lacks its
    /// `modules.json` or its tokenizer, they are fetched if possible. A model without `modules.json` uses mean
    /// pooling, so it is only taken if the hub confirms that there is none.
    ///
    /// # Errors
    /// As [`Hub::model`].
    pub fn embedder(&self, name: &str) -> Result<PathBuf, Error> {
        let folder = self.model(name)?;
        let there = |file: &str| folder.join(file).exists();
        let tokenizer = there("tokenizer.json") || there("0_Transformer/tokenizer.json");
        if there("modules.json") && tokenizer {
            return Ok(folder);
        }
        match self.fetch(name, &Name::read(name)?, None) {
            Ok(fetched) => Ok(fetched),
            // whoever loads the folder says that there is no tokenizer
            Err(_) if there("modules.json") => Ok(folder),
            Err(error) => Err(error),
        }
    }

    /// Finds or fetches one file of a model.
    ///
    /// # Errors
    /// [`Error::Setting`] for a file that is not in the cache and cannot be fetched.
    pub fn file(&self, name: &str, file: &str) -> Result<PathBuf, Error> {
        let parsed = Name::read(name)?;
        match self.snapshot(&parsed).map(|folder| folder.join(file)).filter(|path| path.exists()) {
            Some(path) => Ok(path),
            None => self.fetch(name, &parsed, Some(file)),
        }
    }

    /// The folder in the cache of a revision: a branch, a tag or a commit.
    fn snapshot(&self, name: &Name<'_>) -> Option<PathBuf> {
        let folder = self.cache.join(name.folder());
        let commit = fs::read_to_string(folder.join("refs").join(name.revision));
        let commit = commit.unwrap_or_else(|_| name.revision.to_owned());
        let commit = commit.trim();
        if !plain(commit) {
            return None;
        }
        Some(folder.join("snapshots").join(commit)).filter(|folder| folder.is_dir())
    }

    fn fetch(&self, name: &str, parsed: &Name<'_>, file: Option<&str>) -> Result<PathBuf, Error> {
        let what = file.map_or_else(|| name.to_owned(), |file| format!("{file} of {name}"));
        let refuse = |why: &str| {
            let cache = self.cache.display();
            Err(Error::Setting(format!("{what} is not in the cache {cache}, and {why}")))
        };
        if self.offline {
            return refuse("it is not to be fetched (offline, as HF_HUB_OFFLINE or the caller says)");
        }
        #[cfg(feature = "hub")]
        return fetch::fetch(self, parsed, file)
            .or_else(|error| refuse(&format!("cannot be fetched: {error}")));
        #[cfg(not(feature = "hub"))]
        {
            let _ = parsed;
            refuse(
                "this program was built without the feature `hub`; fetch it with Hugging Face's own command \
                 (`hf download NAME`) or name a folder",
            )
        }
    }
}

/// A model's name in its parts.
struct Name<'a> {
    model: &'a str,
    revision: &'a str,
}

impl<'a> Name<'a> {
    fn read(name: &'a str) -> Result<Self, Error> {
        Self::parse(name).ok_or_else(|| {
            Error::Setting(format!("{name}: a model's name is owner/model or owner/model@revision"))
        })
    }

    fn parse(name: &'a str) -> Option<Self> {
        let (model, revision) = name.split_once('@').unwrap_or((name, "main"));
        let parts: Vec<&str> = model.split('/').collect();
        let known = parts.len() <= 2 && parts.iter().all(|part| plain(part));
        // a branch may have slashes
        let named = revision.split('/').all(plain);
        (known && named).then_some(Self { model, revision })
    }

    /// The model's folder in the cache.
    fn folder(&self) -> String {
        format!("models--{}", self.model.replace('/', "--"))
    }
}

/// Whether a part of a name is valid, and is not a path to elsewhere.
fn plain(part: &str) -> bool {
    let known = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    !part.is_empty() && !part.starts_with('.') && part.chars().all(known)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A cache in the layout of Hugging Face's tools, with one model.
    fn cache() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let model = place.path().join("models--owner--model");
        fs::create_dir_all(model.join("refs/pr")).unwrap();
        fs::write(model.join("refs/main"), "0a1b").unwrap();
        fs::write(model.join("refs/pr/1"), "0a1c\n").unwrap();
        for (commit, files) in [
            ("0a1b", &["config.json", "model.safetensors"][..]),
            ("0a1c", &["config.json", "pytorch_model.bin"]),
            ("0a1d", &["config.json", "tokenizer.json"]),
        ] {
            fs::create_dir_all(model.join("snapshots").join(commit)).unwrap();
            for file in files {
                fs::write(model.join("snapshots").join(commit).join(file), "").unwrap();
            }
        }
        place
    }

    #[test]
    fn models_are_found_by_branch_and_commit() {
        let cache = cache();
        let hub = Hub::new(cache.path()).offline(true);
        for (name, commit) in [
            ("owner/model", "0a1b"),
            ("owner/model@main", "0a1b"),
            ("owner/model@pr/1", "0a1c"),
            ("owner/model@0a1b", "0a1b"),
        ] {
            assert!(hub.model(name).unwrap().ends_with(commit), "{name}");
        }
        let file = hub.file("owner/model@0a1d", "tokenizer.json").unwrap();
        assert!(file.ends_with("0a1d/tokenizer.json"));
    }

    #[test]
    fn what_is_missing_is_said() {
        let cache = cache();
        let hub = Hub::new(cache.path()).offline(true);
        for (name, part) in [
            ("owner/other", "not in the cache"),
            ("owner/model@v2", "HF_HUB_OFFLINE"),
            // a download that was cut off: no weights
            ("owner/model@0a1d", "not in the cache"),
            ("owner/../model", "owner/model@revision"),
            ("owner/model@../main", "owner/model@revision"),
        ] {
            let message = hub.model(name).unwrap_err().to_string();
            assert!(message.contains(part), "{name}: {message}");
        }
        fs::write(cache.path().join("models--owner--model/refs/main"), "../../..").unwrap();
        assert!(hub.model("owner/model").is_err());
    }
}

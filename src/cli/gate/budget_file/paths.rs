//! The paths of a budget file, which are relative to its folder.

use std::path::{Path, PathBuf};

use super::source::Source;
use crate::cli::models;
use crate::cli::settings::EvaluationSettings;

impl Source<'_> {
    /// The settings, with their files and folders taken relative to the budget's folder.
    pub(super) fn found(&self, written: EvaluationSettings) -> EvaluationSettings {
        let mut settings = written;
        for folder in [
            &mut settings.embedder,
            &mut settings.attack.model,
            &mut settings.retrained,
            &mut settings.surrogate,
        ] {
            *folder = folder.as_deref().map(|name| self.existing(name));
        }
        settings.existing = settings.existing.found(|path| self.beside(path));
        settings.corpus = self.corpus(&settings.corpus);
        settings.attacker_corpus = settings.attacker_corpus.as_deref().map(|name| self.corpus(name));
        settings
    }

    /// A path if it exists, and otherwise a name; of `INVERTER+CORRECTOR`, each separately, and of `auto:FOLDER` the
    /// folder.
    pub(super) fn existing(&self, name: &str) -> String {
        if let Some(attack) = models::after(name) {
            return models::guided_after(&self.existing(attack));
        }
        let folder = |name: &str| {
            let path = self.beside(name);
            path.is_dir().then(|| path.display().to_string())
        };
        let part = |name: &str| folder(name).unwrap_or_else(|| name.to_owned());
        match models::two_where(name, |part| folder(part).is_some()) {
            Some((inverter, corrector)) => format!("{}+{}", part(inverter), part(corrector)),
            None => part(name),
        }
    }

    fn corpus(&self, spec: &str) -> String {
        if is_built_in(spec) { spec.to_owned() } else { self.beside(spec).display().to_string() }
    }

    /// Whether a corpus is named by a path that leads nowhere.
    pub(super) fn is_missing(&self, corpus: &str) -> bool {
        !is_built_in(corpus) && !self.beside(corpus).exists()
    }

    /// A path that is relative to the budget's folder.
    pub(super) fn beside(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }
}

fn is_built_in(corpus: &str) -> bool {
    corpus == "records" || corpus.starts_with("records:")
}

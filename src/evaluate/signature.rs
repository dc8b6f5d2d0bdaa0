//! The settings of an evaluation, as a report's signature names them.

use serde_json::{Map, Value, json};

use super::clean::{Clean, OwnTextSource};
use super::statistics::RESAMPLES;
use super::{Corpus, Evaluation, metrics};
use crate::Embedder;

/// All settings that every row depends on, including the caller's notes. A row's own defense and adversary are added
/// to the report's signature at the end.
pub(super) fn settings<E: Embedder>(
    evaluation: &Evaluation<E>,
    corpus: &Corpus,
    clean: &Clean,
) -> Map<String, Value> {
    let mut settings = evaluation.identities();
    settings.extend(evaluation.notes.clone());
    let mut set = |name: &str, value: Value| settings.insert(name.to_owned(), value);
    set("embosk", json!(env!("CARGO_PKG_VERSION")));
    set("corpus", json!(corpus.name()));
    set("corpus_sha256", json!(corpus.hash()));
    set("documents", json!(clean.documents.stored.nrows()));
    set("dimension", json!(clean.documents.stored.ncols()));
    if clean.documents.has_surrogate() {
        set("surrogate_dimension", json!(clean.documents.attackable().ncols()));
    }
    set("queries", json!(corpus.queries().len()));
    let dangling = corpus.dangling();
    if !dangling.is_empty() {
        let counts = json!({"documents": dangling.documents, "queries": dangling.queries});
        set("dangling_judgements", counts);
    }
    set("seed", json!(evaluation.seed));
    set("retrieval", json!("cosine|search:exact|ties:trec_eval|cutoff:10"));
    set(
        "intervals",
        json!(format!(
            "95%|{}:clopper-pearson|others:bootstrap-percentile-{RESAMPLES}",
            metrics::shares(&evaluation.metrics).join(",")
        )),
    );
    settings
}

/// The settings with those of an attack.
pub(super) fn attack_settings<E: Embedder>(
    mut settings: Map<String, Value>,
    evaluation: &Evaluation<E>,
    own: &OwnTextSource,
) -> Map<String, Value> {
    let mut set = |name: &str, value: Value| settings.insert(name.to_owned(), value);
    set("attack", json!(evaluation.attack.as_ref().map_or("none".into(), ToString::to_string)));
    if let Some(retrained) = &evaluation.retrained {
        set("retrained", json!(retrained.to_string()));
    }
    set("attacker_texts", json!(own.name()));
    set("attacker_texts_sha256", json!(own.hash()));
    set("samples", json!(evaluation.samples));
    set("normalizer", json!(format!("{}|sides:both", evaluation.comparison().name())));
    set("metrics", metrics::signatures(&evaluation.metrics).into());
    settings
}

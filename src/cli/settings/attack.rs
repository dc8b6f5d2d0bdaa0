//! The attack of an evaluation, as arguments and budget files name it.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use crate::attacks::vec2text::shipped_for;
use crate::cli::models::{self, Search, Stages, beam_width};

/// Queries per text of guided search by default. An evaluation searches anew for each row, so these are fewer than
/// those of a single search.
const QUERIES: usize = 300;

/// The attack, and how it searches.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct NamedAttack {
    /// The attack. `auto`: the shipped attack for the embedder (or for the --surrogate), if there is one, and then
    /// guided search. `guided`: guided search alone, without a trained model. A folder with an inverter and a
    /// corrector, the name of a shipped attack (reference or minilm), or INVERTER+CORRECTOR, each a folder or the name
    /// of a model on the hub (owner/model): that attack alone. `auto:FOLDER`: the attack in the folder, or another of
    /// these, and then guided search. `none`: recover no text; measure only retrieval and, if adversaries are named,
    /// how well they guess facts. Default: auto, but on records without guided search.
    #[arg(id = "attack", long = "attack", value_name = "A")]
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) search: Search,
}

impl NamedAttack {
    /// Returns what attacks the embedder with this hash. On records, the usual attack is trained models alone, if some
    /// are shipped for the embedder: they leave little to find there, at a tenth of the queries.
    pub(crate) fn stages(&self, embedder_hash: &str, is_on_records: bool) -> Stages {
        match self.model.as_deref() {
            Some("none") => Stages { trained: false, guided: false },
            Some(models::GUIDED) => Stages { trained: false, guided: true },
            name @ (None | Some(models::AUTO)) => {
                let trained = shipped_for(embedder_hash).is_some();
                Stages { trained, guided: !trained || name.is_some() || !is_on_records }
            }
            Some(name) => Stages { trained: true, guided: models::after(name).is_some() },
        }
    }

    /// Returns the most hypotheses of a text that may be embedded: in trained models, a step of correction decodes for
    /// each hypothesis as many as it keeps. Guided search after them takes what they leave, and for long texts a tenth
    /// of its queries.
    pub(crate) fn most_queries(&self, Stages { trained, guided }: Stages) -> usize {
        let Search { steps, beam_width, local_queries, .. } = self.search;
        let queries = self.queries();
        let of_trained = 1 + steps * beam_width * beam_width + local_queries;
        match (trained, guided) {
            (true, true) => queries.max(of_trained + (queries / 10).max(1)),
            (true, false) => of_trained,
            (false, _) => queries,
        }
    }

    /// Returns how many queries per text guided search may use.
    pub(crate) fn queries(&self) -> usize {
        self.search.queries.unwrap_or(QUERIES)
    }

    /// Returns whether no text is to be recovered.
    pub(crate) fn is_none(&self) -> bool {
        self.model.as_deref() == Some("none")
    }
}

/// A budget's `attack = "none"` is short for `attack = { model = "none" }`.
impl<'de> Deserialize<'de> for NamedAttack {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrTable)
    }
}

struct NameOrTable;

impl<'de> Visitor<'de> for NameOrTable {
    type Value = NamedAttack;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an attack's name or a table")
    }

    fn visit_str<E>(self, name: &str) -> Result<NamedAttack, E> {
        Ok(NamedAttack { model: Some(name.to_owned()), ..NamedAttack::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<NamedAttack, A::Error> {
        Table::deserialize(MapAccessDeserializer::new(table)).map(NamedAttack::from)
    }
}

/// The table `[attack]`. It holds model and search side by side, because serde cannot flatten them and also refuse
/// unknown names.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Table {
    model: Option<String>,
    steps: usize,
    #[serde(deserialize_with = "checked_beam_width")]
    beam_width: usize,
    local_queries: usize,
    queries: Option<usize>,
    black_box: bool,
}

/// A budget has the defaults of `evaluate`, so that its verdict agrees with a report.
impl Default for Table {
    fn default() -> Self {
        let Search { steps, beam_width, local_queries, queries, black_box } = Search::default();
        Self { model: None, steps, beam_width, local_queries, queries, black_box }
    }
}

impl From<Table> for NamedAttack {
    fn from(Table { model, steps, beam_width, local_queries, queries, black_box }: Table) -> Self {
        Self { model, search: Search { steps, beam_width, local_queries, queries, black_box } }
    }
}

fn checked_beam_width<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    beam_width(usize::deserialize(deserializer)?).map_err(D::Error::custom)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::embedder::reference;

    fn named(model: Option<&str>) -> NamedAttack {
        NamedAttack { model: model.map(str::to_owned), ..NamedAttack::default() }
    }

    #[test]
    fn guided_search_runs_if_it_is_named_or_nothing_is_trained() {
        let shipped = reference().unwrap().hash().to_owned();
        for (model, hash, is_on_records, trained, guided) in [
            (None, shipped.as_str(), false, true, true),
            (None, shipped.as_str(), true, true, false),
            (None, "other", true, false, true),
            (None, "other", false, false, true),
            (Some("auto"), shipped.as_str(), true, true, true),
            (Some("auto"), "other", true, false, true),
            (Some("auto:mine"), "other", true, true, true),
            (Some("guided"), shipped.as_str(), false, false, true),
            (Some("mine"), shipped.as_str(), false, true, false),
            (Some("none"), shipped.as_str(), false, false, false),
        ] {
            let stages = named(model).stages(hash, is_on_records);
            assert_eq!(stages, Stages { trained, guided }, "{model:?} {hash} {is_on_records}");
        }
    }

    /// Models before guided search take what they take: 1 + 20 · 4² + 100 queries.
    #[test]
    fn the_most_queries_are_those_of_all_stages() {
        let most = |trained, guided| named(None).most_queries(Stages { trained, guided });
        assert_eq!([most(true, false), most(false, true), most(true, true)], [421, 300, 451]);
        let search = Search { queries: Some(1500), ..Search::default() };
        let long = NamedAttack { search, ..named(None) };
        assert_eq!(long.most_queries(Stages { trained: true, guided: true }), 1500);
    }
}

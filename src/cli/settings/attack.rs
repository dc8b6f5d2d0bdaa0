//! The attack of an evaluation, as arguments and budget files name it.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use crate::attacks::guided;
use crate::cli::models::{self, Search, beam_width};

/// Queries per text of guided search by default. An evaluation searches anew for each row, so these are fewer than
/// those of a single search.
const QUERIES: usize = 300;

/// The attack, and how it searches.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct NamedAttack {
    /// The attack. `auto`: the shipped attack for the embedder (or for the --surrogate), if there is one, and then
    /// guided search. `guided`: guided search alone, without a trained model. A folder with an inverter and a
    /// corrector, the name of a shipped attack (reference or minilm), or INVERTER+CORRECTOR, each a folder or the name
    /// of a model on the hub (owner/model). `none`: recover no text; measure only retrieval and, if
    /// adversaries are named, how well they guess facts. Default: auto, but on records without guided search.
    #[arg(id = "attack", long = "attack", value_name = "A")]
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) search: Search,
}

impl NamedAttack {
    /// Returns the most hypotheses of a text that may be embedded: for each hypothesis, a step of correction decodes
    /// as many as it keeps.
    pub(crate) fn most_queries(&self) -> usize {
        let Search { steps, beam_width, local_queries, .. } = self.search;
        let queries = self.queries();
        let trained = 1 + steps * beam_width * beam_width + local_queries;
        match self.model.as_deref() {
            Some(models::GUIDED) => queries,
            None | Some(models::AUTO) => trained.max(queries),
            Some(_) => trained,
        }
    }

    /// Returns how many queries per text guided search may use.
    pub(crate) fn queries(&self) -> usize {
        self.search.queries.unwrap_or(QUERIES)
    }

    /// Returns the most single words that may be embedded before, once in a run.
    pub(crate) fn most_words(&self) -> usize {
        match self.model.as_deref() {
            None | Some(models::AUTO | models::GUIDED) => guided::WORDS,
            Some(_) => 0,
        }
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

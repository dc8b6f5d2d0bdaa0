//! The attack of an evaluation, as arguments and budget files name it.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use crate::cli::models::{Search, beam_width};

/// The attack, and how it searches.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct NamedAttack {
    /// The attack: a folder with an inverter and a corrector, the name of a shipped pair (reference or
    /// minilm), INVERTER+CORRECTOR, each a folder or the name of a model on the hub (owner/model), or `none`
    /// to measure retrieval alone. Without it: the shipped pair that was trained on the
    /// embedder (with --surrogate, on that one), else minilm.
    #[arg(id = "attack", long = "attack", value_name = "DIR")]
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) search: Search,
}

impl NamedAttack {
    /// Returns whether retrieval alone is measured.
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

/// The table `[attack]`. It holds model and search side by side; serde cannot flatten them and refuse unknown
/// names as well.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Table {
    model: Option<String>,
    steps: usize,
    #[serde(deserialize_with = "checked_beam_width")]
    beam_width: usize,
    local_queries: usize,
}

/// A budget searches as `evaluate` does, so that it says what a report said.
impl Default for Table {
    fn default() -> Self {
        let Search { steps, beam_width, local_queries } = Search::default();
        Self { model: None, steps, beam_width, local_queries }
    }
}

impl From<Table> for NamedAttack {
    fn from(Table { model, steps, beam_width, local_queries }: Table) -> Self {
        Self { model, search: Search { steps, beam_width, local_queries } }
    }
}

fn checked_beam_width<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    beam_width(usize::deserialize(deserializer)?).map_err(D::Error::custom)
}

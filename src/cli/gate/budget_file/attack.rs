//! The attack that a budget names.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use toml::Spanned;

use crate::cli::models::Search;

/// The attack, and how it searches.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AttackTable {
    /// Without it, the one for the embedder.
    pub(super) model: Option<String>,
    pub(super) steps: usize,
    pub(super) beam_width: Spanned<usize>,
    pub(super) local_queries: usize,
}

/// As `evaluate` searches, so that a budget says what a report said.
impl Default for AttackTable {
    fn default() -> Self {
        let Search { steps, beam_width, local_queries } = Search::default();
        Self { model: None, steps, beam_width: Spanned::new(0..0, beam_width), local_queries }
    }
}

/// `attack = "none"` is short for `attack = { model = "none" }`.
pub(super) fn name_or_table<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AttackTable, D::Error> {
    deserializer.deserialize_any(NameOrTable)
}

struct NameOrTable;

impl<'de> Visitor<'de> for NameOrTable {
    type Value = AttackTable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an attack's name or a table")
    }

    fn visit_str<E>(self, name: &str) -> Result<AttackTable, E> {
        Ok(AttackTable { model: Some(name.to_owned()), ..AttackTable::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<AttackTable, A::Error> {
        AttackTable::deserialize(MapAccessDeserializer::new(table))
    }
}

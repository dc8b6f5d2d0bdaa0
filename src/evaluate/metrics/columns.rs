use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Scores, text by text or query by query. A metric has a column if at least one text or query has a score.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns(Vec<(String, Vec<Option<f64>>)>);

impl Columns {
    /// Creates columns without scores.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Returns how many texts or queries there are.
    pub fn len(&self) -> usize {
        self.0.first().map_or(0, |(_, column)| column.len())
    }

    /// Returns whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the scores of a metric in the order of the texts or queries, `None` for one without a score.
    /// Empty if the metric was not measured.
    pub fn column(&self, metric: &str) -> &[Option<f64>] {
        self.0.iter().find(|(name, _)| name == metric).map_or(&[], |(_, column)| column)
    }

    /// Returns the scores of a metric, without the texts or queries that have none.
    pub fn values(&self, metric: &str) -> Vec<f64> {
        self.column(metric).iter().copied().flatten().collect()
    }

    /// Returns the names and columns of all metrics.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Option<f64>])> {
        self.0.iter().map(|(name, column)| (name.as_str(), column.as_slice()))
    }

    /// Keeps only the columns of some metrics.
    pub(in crate::evaluate) fn only(&self, metrics: &[&str]) -> Self {
        let of_these = self.0.iter().filter(|(name, _)| metrics.contains(&name.as_str()));
        Self(of_these.cloned().collect())
    }
}

/// Collects names and columns. All columns have the same length.
impl<N: Into<String>> FromIterator<(N, Vec<Option<f64>>)> for Columns {
    fn from_iter<I: IntoIterator<Item = (N, Vec<Option<f64>>)>>(columns: I) -> Self {
        let columns = columns.into_iter().map(|(name, column)| (name.into(), column));
        Self(columns.filter(|(_, column)| column.iter().any(Option::is_some)).collect())
    }
}

impl Serialize for Columns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// A number, or true or false for 1 or 0.
#[derive(Deserialize, Clone, Copy)]
#[serde(untagged)]
enum Number {
    Number(f64),
    Bool(bool),
}

impl Number {
    fn value(self) -> f64 {
        match self {
            Self::Number(number) => number,
            Self::Bool(holds) => f64::from(u8::from(holds)),
        }
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

/// Reads an object of columns or, as version 0.1 wrote them, a list with an object for each text.
struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Columns;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("columns of scores of one length")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut columns: A) -> Result<Columns, A::Error> {
        let mut all: Vec<(String, Vec<Option<f64>>)> = Vec::new();
        while let Some(column) = columns.next_entry()? {
            all.push(column);
        }
        if all.iter().any(|(_, column)| column.len() != all[0].1.len()) {
            return Err(A::Error::custom("the columns of scores differ in length"));
        }
        Ok(all.into_iter().collect())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut texts: A) -> Result<Columns, A::Error> {
        let mut all: Vec<BTreeMap<String, Option<Number>>> = Vec::new();
        while let Some(text) = texts.next_element()? {
            all.push(text);
        }
        Ok(from_texts(&all))
    }
}

fn from_texts(texts: &[BTreeMap<String, Option<Number>>]) -> Columns {
    let names = texts.iter().flat_map(BTreeMap::keys).collect::<BTreeSet<_>>();
    let score = |text: &BTreeMap<String, Option<Number>>, name| text.get(name).copied().flatten();
    let column = |name| texts.iter().map(|text| score(text, name).map(Number::value)).collect();
    names.into_iter().map(|name| (name, column(name))).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn columns() -> Columns {
        let (hit, recall) = (vec![Some(1.0), Some(0.0)], vec![None, Some(0.1 + 0.2)]);
        [("exact_match", hit), ("entity_recall", recall), ("nothing", vec![None, None])].into_iter().collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let text = serde_json::to_string(&columns()).unwrap();
        let read: Columns = serde_json::from_str(&text).unwrap();
        assert_eq!((read.len(), read.column("nothing")), (2, &[][..]));
        assert_eq!(read, columns());
        assert!(serde_json::from_str::<Columns>(r#"{"a": [1, 2], "b": [1]}"#).is_err());
    }

    #[test]
    fn a_list_of_texts_is_read_too() {
        let text = r#"[{"exact_match": true, "bleu": 3, "entity_recall": null}, {"exact_match": false, "bleu": 4.5}]"#;
        let read: Columns = serde_json::from_str(text).unwrap();
        assert_eq!(read.column("exact_match"), [Some(1.0), Some(0.0)]);
        assert_eq!(read.values("bleu"), [3.0, 4.5]);
        assert!(read.column("entity_recall").is_empty());
        assert!(serde_json::from_str::<Columns>("[]").unwrap().is_empty());
    }
}

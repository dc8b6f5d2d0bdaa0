use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::evaluate::statistics::Score;

/// Scores by the names of their metrics, in the order of the report's metrics.
///
/// In JSON they are the fields of an object: each is `{"value", "low", "high"}`, or `null` if the metric was
/// not measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scores(Vec<(String, Option<Score>)>);

impl Scores {
    /// Returns the score of a metric. `None` if the metric was not measured.
    pub fn score(&self, metric: &str) -> Option<Score> {
        self.0.iter().find(|(name, _)| name == metric).and_then(|(_, score)| *score)
    }

    /// Returns the names and scores of all metrics.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<Score>)> {
        self.0.iter().map(|(name, score)| (name.as_str(), *score))
    }
}

impl<N: Into<String>> FromIterator<(N, Option<Score>)> for Scores {
    fn from_iter<I: IntoIterator<Item = (N, Option<Score>)>>(scores: I) -> Self {
        Self(scores.into_iter().map(|(name, score)| (name.into(), score)).collect())
    }
}

impl Serialize for Scores {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Scores {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

/// Reads the fields that are scores and skips others, because an object may have more.
struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Scores;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of scores")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Scores, A::Error> {
        let mut scores = Vec::new();
        while let Some((name, value)) = fields.next_entry::<String, Value>()? {
            match value {
                Value::Null => scores.push((name, None)),
                value => scores.extend(serde_json::from_value(value).ok().map(|score| (name, Some(score)))),
            }
        }
        Ok(Scores(scores))
    }
}

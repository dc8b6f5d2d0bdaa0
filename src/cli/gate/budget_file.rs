//! `privacy-budget.toml`: what is measured, and its limits.

mod faults;
mod paths;
mod source;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use self::source::Source;
use crate::cli::error::CliError;
use crate::cli::files;
use crate::cli::names::Names;
use crate::cli::settings::{EvaluationSettings, Resolved};
use crate::evaluate::{Budget, Finding, FindingKind, Metric};

/// A budget is never larger than this: 1 MiB.
const LARGEST: usize = 1 << 20;

/// A budget file, with its names resolved and its paths found.
#[derive(Debug)]
pub(super) struct BudgetFile {
    pub(super) settings: EvaluationSettings,
    pub(super) resolved: Resolved,
    pub(super) budget: Budget,
    /// The lines of the limits: of a stack, of all stacks, or of the canary.
    lines: Vec<(Table, Metric, usize)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Table {
    Canary,
    Limits,
    Stack(String),
}

/// What a budget file has besides [`EvaluationSettings`].
#[derive(Default, Deserialize)]
#[serde(default)]
struct Rest {
    confidence: Option<f64>,
    accept_unmeasured_key: bool,
    canary: Numbers,
    limits: Numbers,
    tolerance: Numbers,
    stack: Vec<StackTable>,
}

/// The names of its fields.
const OF_THE_REST: [&str; 6] =
    ["confidence", "accept_unmeasured_key", "canary", "limits", "tolerance", "stack"];

type Numbers = BTreeMap<String, Spanned<f64>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StackTable {
    defense: Spanned<String>,
    #[serde(default)]
    limits: Numbers,
}

impl BudgetFile {
    /// Reads a budget.
    ///
    /// An error has the file and the line, and says what is allowed there. It repeats no value, because it may be a
    /// key in the wrong place.
    pub(super) fn read(path: &Path, names: &Names) -> Result<Self, CliError> {
        let missing = "there is no such budget; write one with `embosk init`, or name yours with --budget";
        let text = files::read_text(path, LARGEST, missing)?;
        Source { path, text: &text, names, metrics: names.metrics() }.read_to_measure()
    }

    /// Reads a budget from its text; it may name no stack. Paths in it are relative to the folder of `path`.
    pub(super) fn parse(path: &Path, text: &str, names: &Names) -> Result<Self, CliError> {
        Source { path, text, names, metrics: names.metrics() }.read()
    }

    /// The line that a finding is about, counted from 1; the first if it is about none.
    pub(super) fn line_of(&self, finding: &Finding) -> usize {
        let in_table = |table: Table| {
            let here = |(other, metric, _): &&(Table, Metric, usize)| {
                *other == table && metric.limit_name() == finding.metric
            };
            self.lines.iter().find(here).map(|(.., line)| *line)
        };
        let line = match finding.kind {
            FindingKind::Canary => in_table(Table::Canary),
            _ => in_table(Table::Stack(finding.defense.clone())).or_else(|| in_table(Table::Limits)),
        };
        line.unwrap_or(1)
    }
}

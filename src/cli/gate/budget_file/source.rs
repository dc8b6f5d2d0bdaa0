//! What is read from a budget file.

use std::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::DeTable;

use super::faults::Places;
use super::{BudgetFile, Numbers, OF_THE_REST, Rest, StackTable, Table};
use crate::Stack;
use crate::cli::error::CliError;
use crate::cli::files;
use crate::cli::names::Names;
use crate::cli::settings::{EvaluationSettings, Resolved};
use crate::defenses::spec::{Kind, Value};
use crate::evaluate::metrics::by_limit;
use crate::evaluate::{Budget, Corpus, Metric};

/// The file, with what is needed to resolve its names and to report its errors.
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
    pub(super) names: &'a Names,
    pub(super) metrics: Vec<Metric>,
}

impl Source<'_> {
    /// Reads a budget, which may name no stack.
    pub(super) fn read(&self) -> Result<BudgetFile, CliError> {
        self.read_checked(|_, _, _| Ok(()))
    }

    /// Reads a budget whose stacks are to be measured.
    pub(super) fn read_to_measure(&self) -> Result<BudgetFile, CliError> {
        self.read_checked(|limits, settings, places| match limits.stack.as_slice() {
            [] => Err(self.error(0..0, "it names no stack; add [[stack]] with defense = \"…\"")),
            _ if self.is_missing(&settings.corpus) => {
                Err(self.error(places.corpus.clone(), Corpus::missing(&settings.corpus)))
            }
            _ => Ok(()),
        })
    }

    /// Separates limits from settings, so that each has a type that knows nothing of the other.
    fn read_checked(
        &self,
        check: impl FnOnce(&Rest, &EvaluationSettings, &Places) -> Result<(), CliError>,
    ) -> Result<BudgetFile, CliError> {
        let document = DeTable::parse(self.text).map_err(|error| self.toml_error(&error))?;
        let span = document.span();
        let is_of_limits =
            |(name, _): &(Spanned<_>, _)| OF_THE_REST.contains(&AsRef::<str>::as_ref(name.get_ref()));
        let (limits, settings): (DeTable<'_>, DeTable<'_>) =
            document.into_inner().into_iter().partition(is_of_limits);
        let places = Places::of(&settings);
        let settings = deserialized(span.clone(), settings).map_err(|error| self.unknown(&places, &error))?;
        let limits: Rest = deserialized(span, limits).map_err(|error| self.toml_error(&error))?;
        check(&limits, &settings, &places)?;
        let settings = self.found(settings);
        let guesses = !settings.adversaries.is_empty();
        let (budget, stacks, lines) = self.budget(&limits, settings.attack.is_none().then_some(guesses))?;
        let resolved = self.resolved(&settings, stacks, &places)?;
        Ok(BudgetFile { settings, resolved, budget, lines })
    }

    /// Reads the limits. Without an attack, `only_guesses` says whether adversaries guess facts all the same.
    fn budget(&self, written: &Rest, only_guesses: Option<bool>) -> Result<Limited, CliError> {
        let mut lines = Vec::new();
        let mut budget = Budget::new();
        let mut table = |table: &Table, numbers: &Numbers| -> Result<Vec<(String, f64)>, CliError> {
            let read = |(name, number): (&String, &Spanned<f64>)| {
                let metric = self.metric(name, number)?;
                lines.push((table.clone(), metric.clone(), self.line(number.span())));
                Ok((metric.limit_name().to_owned(), *number.get_ref()))
            };
            numbers.iter().map(read).collect()
        };
        for (metric, at_least) in table(&Table::Canary, &written.canary)? {
            budget = budget.canary(&metric, at_least);
        }
        for (metric, limit) in table(&Table::Limits, &written.limits)? {
            budget = budget.limit(&metric, limit);
        }
        let mut stacks = Vec::new();
        for StackTable { defense, limits } in &written.stack {
            let stack = self.stack(defense)?;
            let name = stack.to_string();
            if stacks.iter().any(|other: &Stack| other.to_string() == name) {
                return Err(self.error(defense.span(), "this stack appears twice; remove one of them"));
            }
            for (metric, limit) in table(&Table::Stack(name.clone()), limits)? {
                budget = budget.limit_of(&name, &metric, limit);
            }
            stacks.push(stack);
        }
        for (name, tolerance) in &written.tolerance {
            let metric = self.metric(name, tolerance)?;
            budget = budget.tolerance(metric.limit_name(), *tolerance.get_ref());
        }
        let budget = written.confidence.into_iter().fold(budget, Budget::confidence);
        let budget = budget.accept_unmeasured_key(written.accept_unmeasured_key);
        budget.validate_for(&self.metrics).map_err(|error| files::bad(self.path, error))?;
        let of_an_attack = |(table, metric, _): &&(Table, Metric, usize)| {
            *table != Table::Canary
                && match only_guesses {
                    None => false,
                    Some(true) => self.needs_outputs(metric),
                    Some(false) => !metric.is_retrieval(),
                }
        };
        match lines.iter().find(of_an_attack) {
            Some((_, metric, line)) => {
                Err(self
                    .error_in(*line, format!("{} is limited, but attack is \"none\"", metric.limit_name())))
            }
            None => Ok((budget, stacks, lines)),
        }
    }

    fn resolved(
        &self,
        settings: &EvaluationSettings,
        stacks: Vec<Stack>,
        places: &Places,
    ) -> Result<Resolved, CliError> {
        let adversary = |(at, name): (usize, &String)| {
            let place = places.adversaries.get(at).cloned().unwrap_or_default();
            self.names.adversary(name).map_err(|error| self.error(place, error))
        };
        let adversaries: Vec<_> =
            settings.adversaries.iter().enumerate().map(adversary).collect::<Result<_, _>>()?;
        settings.check(&adversaries)?;
        Ok(Resolved { stacks, adversaries })
    }

    /// Whether the metric, or what it is the leak of, is computed from recovered texts.
    fn needs_outputs(&self, metric: &Metric) -> bool {
        let base = metric.leaking().and_then(|name| self.metrics.iter().find(|base| base.name == name));
        base.unwrap_or(metric).reads_outputs()
    }

    /// The metric that is limited under this name.
    fn metric(&self, name: &str, number: &Spanned<f64>) -> Result<&Metric, CliError> {
        by_limit(&self.metrics, name).map_err(|error| self.error(number.span(), error))
    }

    /// A defense, with the files of its keys and fits taken relative to the budget's folder.
    fn stack(&self, text: &Spanned<String>) -> Result<Stack, CliError> {
        let here = |error: CliError| self.error(text.span(), error);
        let mut spec = self.names.defenses.spec(text.get_ref()).map_err(|error| here(error.into()))?;
        for value in spec.values_mut() {
            if let Kind::File(path) = value.kind()
                && !path.starts_with("~/")
            {
                let path = self.beside(path).display().to_string();
                value.replace(Value::file(&path));
            }
        }
        self.names.stack_of(&spec).map_err(here)
    }
}

/// A budget, the stacks that it is for, and the lines of its limits.
type Limited = (Budget, Vec<Stack>, Vec<(Table, Metric, usize)>);

fn deserialized<T: DeserializeOwned>(span: Range<usize>, table: DeTable<'_>) -> Result<T, toml::de::Error> {
    T::deserialize(toml::Deserializer::from(Spanned::new(span, table)))
}

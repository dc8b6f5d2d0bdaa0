//! What can be named besides embedders and attacks: defenses, adversaries and metrics, ours and a user's own.

use std::fmt;
use std::sync::Arc;

use super::error::CliError;
use crate::evaluate::metrics::built_in;
use crate::evaluate::{Adversary, Metric, Sweep, adversaries};
use crate::{Registry, Spec, Stack};

/// The defenses, adversaries and metrics that the command knows by name.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) defenses: Registry,
    pub(crate) adversaries: adversaries::Registry,
    /// The metrics besides the built-in ones.
    pub(crate) own_metrics: Vec<Metric>,
}

impl Default for Names {
    /// Knows ours.
    fn default() -> Self {
        Self {
            defenses: Registry::default(),
            adversaries: adversaries::Registry::default(),
            own_metrics: Vec::new(),
        }
    }
}

/// The meaning of a name of adversaries.
#[derive(Clone)]
pub(crate) enum AdversaryName {
    All,
    One(Arc<dyn Adversary>),
}

impl fmt::Debug for AdversaryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::One(adversary) => fmt::Display::fmt(adversary, f),
        }
    }
}

impl Names {
    /// Reads a defense.
    pub(crate) fn stack(&self, text: &str) -> Result<Stack, CliError> {
        self.stack_of(&self.defenses.spec(text)?)
    }

    /// Builds the stack of a spec.
    pub(crate) fn stack_of(&self, spec: &Spec) -> Result<Stack, CliError> {
        self.defenses.stack(spec).map_err(|error| match Sweep::of(&self.defenses, spec.clone()) {
            Ok(sweep) if !sweep.ranges().is_empty() => CliError::new(
                "the defense has a range, and only `embosk curve` takes ranges; give it one number",
            ),
            _ => error.into(),
        })
    }

    /// Reads a defense whose numbers may be ranges.
    pub(crate) fn sweep(&self, spec: &str) -> Result<Sweep, CliError> {
        Ok(Sweep::parse(&self.defenses, spec)?)
    }

    /// Reads the name of an adversary, or `all`.
    pub(crate) fn adversary(&self, text: &str) -> Result<AdversaryName, CliError> {
        if text.trim() == "all" {
            return Ok(AdversaryName::All);
        }
        let one = self.adversaries.parse(text).map(AdversaryName::One);
        one.map_err(|error| {
            let all = if self.adversaries.knows(text) { "" } else { "; `all` stands for all of them" };
            CliError::new(format!("{error}{all}"))
        })
    }

    /// Returns all metrics: the built-in ones and a user's own.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        [built_in(), &self.own_metrics].concat()
    }
}

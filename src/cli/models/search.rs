//! What an attack consists of, and how it searches.

use crate::attacks::guided::WORDS;
use crate::attacks::vec2text::{LOCAL_QUERIES, Vec2Text};
use crate::cli::terminal::warn;

/// What an attack consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stages {
    /// Whether trained models attack.
    pub(crate) trained: bool,
    /// Whether guided search attacks, after them if there are any.
    pub(crate) guided: bool,
}

impl Stages {
    /// Returns the most single words that may be embedded before, once in a run.
    pub(crate) fn most_words(self) -> usize {
        if self.guided { WORDS } else { 0 }
    }
}

/// How an attack searches.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Search {
    /// Correction steps; 0 for none.
    #[arg(long, default_value_t = Search::default().steps, value_name = "N")]
    pub(crate) steps: usize,
    /// How many hypotheses are kept in each step.
    #[arg(long, default_value_t = Search::default().beam_width, value_name = "B", value_parser = parse_beam_width)]
    pub(crate) beam_width: usize,
    /// The most queries per text that the local search after the correction may send to the embedder; 0 for none.
    #[arg(long, default_value_t = Search::default().local_queries, value_name = "N")]
    pub(crate) local_queries: usize,
    /// The most queries per text that guided search may send to the embedder, less those of a trained attack before it
    /// [default: 300] [default of invert: 1500].
    #[arg(long, value_name = "N")]
    pub(crate) queries: Option<usize>,
    /// Guided search asks the embedder for vectors alone, as an attacker without its weights must. An embedder behind an
    /// address is always attacked like this.
    #[arg(long)]
    pub(crate) black_box: bool,
}

impl Default for Search {
    fn default() -> Self {
        Self { steps: 20, beam_width: 4, local_queries: LOCAL_QUERIES, queries: None, black_box: false }
    }
}

fn parse_beam_width(text: &str) -> Result<usize, &'static str> {
    beam_width(text.parse().unwrap_or(0))
}

/// Reads a beam width, which is limited because memory grows with it.
pub(crate) fn beam_width(width: usize) -> Result<usize, &'static str> {
    if (1..=256).contains(&width) { Ok(width) } else { Err("a beam width is a whole number from 1 to 256") }
}

impl Search {
    pub(crate) fn apply(&self, attack: Vec2Text) -> Vec2Text {
        attack.steps(self.steps).beam_width(self.beam_width).local_queries(self.local_queries)
    }

    /// Warns of settings that differ from the defaults, and have no effect on this attack.
    pub(crate) fn warn_of_idle(&self, stages: Stages) {
        for warning in self.idle(stages) {
            warn(&format!("warning: {warning}"));
        }
    }

    fn idle(&self, Stages { trained, guided }: Stages) -> Vec<String> {
        let usual = Self::default();
        let of_trained = [
            ("--steps", self.steps != usual.steps),
            ("--beam-width", self.beam_width != usual.beam_width),
            ("--local-queries", self.local_queries != usual.local_queries),
        ];
        let of_guided = [("--queries", self.queries.is_some()), ("--black-box", self.black_box)];
        let idle = [(trained, "trained models", &of_trained[..]), (guided, "guided search", &of_guided)];
        let named = |settings: &[(&'static str, bool)]| -> Vec<&str> {
            settings.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect()
        };
        let idle = idle.into_iter().filter(|(runs, ..)| !runs).map(|(_, what, of)| (what, named(of)));
        idle.filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("the attack has no {what}, and ignores {}", names.join(", ")))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_without_effect_are_named() {
        let idle = |search: Search, trained, guided| search.idle(Stages { trained, guided }).join("; ");
        let set =
            Search { steps: 3, local_queries: 0, queries: Some(300), black_box: true, ..Search::default() };
        assert_eq!(idle(Search::default(), false, false), "");
        assert_eq!(idle(set, true, true), "");
        let (searched, trained) = (idle(set, true, false), idle(set, false, true));
        assert_eq!(searched, "the attack has no guided search, and ignores --queries, --black-box");
        assert_eq!(trained, "the attack has no trained models, and ignores --steps, --local-queries");
        assert_eq!(idle(set, false, false), format!("{trained}; {searched}"));
        let narrow = idle(Search { beam_width: 1, ..Search::default() }, false, true);
        assert!(narrow.ends_with("ignores --beam-width"), "{narrow}");
    }
}

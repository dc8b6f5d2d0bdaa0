//! What an attack recovers of held-out texts.

use std::fmt;

use super::Kitchen;
use crate::attacks::vec2text::Vec2Text;
use crate::attacks::vec2text::train::Examples;
use crate::attacks::{Attack, Resources};
use crate::cli::error::CliError;
use crate::embedder::OracleOf;
use crate::evaluate::statistics::{Score, mean, paired_difference};
use crate::evaluate::text::{bleu, token_f1};

/// The least token F1 above chance, at the interval's lower end.
const ABOVE_CHANCE: f64 = 0.1;

/// Scores with their intervals.
pub(super) struct Scores {
    bleu: Score,
    token_f1: Score,
    /// Token F1 minus that of the same outputs with other texts.
    above_chance: Score,
}

impl Scores {
    /// Corrects each text once, without a search, to show what the models know.
    pub(super) fn of(attack: Vec2Text, kitchen: &Kitchen<'_>, examples: &Examples) -> Result<Self, CliError> {
        let attack = attack.steps(1).beam_width(1).local_queries(0);
        let oracle = OracleOf(&kitchen.embedder);
        let inversions = attack.invert(examples.vectors.view(), &Resources::new(&oracle))?;
        let outputs: Vec<String> =
            inversions.iter().map(|inversion| kitchen.embedder.normalize(&inversion.output)).collect();
        Self::new(&outputs, &examples.texts, kitchen.recipe.seed)
            .ok_or_else(|| CliError::new("there are no held-out texts"))
    }

    fn new(outputs: &[String], texts: &[String], seed: u64) -> Option<Self> {
        let mut others = texts.to_vec();
        others.rotate_left(1);
        let scores = |score: fn(&str, &str) -> f64, texts: &[String]| -> Vec<f64> {
            outputs.iter().zip(texts).map(|(output, text)| score(output, text)).collect()
        };
        let own = scores(token_f1, texts);
        Some(Self {
            bleu: mean(&scores(bleu, texts), seed)?,
            above_chance: paired_difference(&own, &scores(token_f1, &others), seed)?,
            token_f1: mean(&own, seed)?,
        })
    }

    /// Whether the attack is not shown to do better than chance.
    pub(super) fn is_near_chance(&self) -> bool {
        self.above_chance.low < ABOVE_CHANCE
    }
}

impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Score { value, low, high } = self.bleu;
        write!(f, "BLEU {value:.1} [{low:.1}, {high:.1}]")?;
        let Score { value, low, high } = self.token_f1;
        write!(f, "  token F1 {value:.2} [{low:.2}, {high:.2}]")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_attack_that_says_the_same_of_every_text_is_near_chance() {
        let texts: Vec<String> = (0..30).map(|n| format!("ann pays the rent of flat {n}")).collect();
        let right = Scores::new(&texts, &texts, 1).unwrap();
        assert!(!right.is_near_chance());
        assert_eq!(right.to_string(), "BLEU 100.0 [100.0, 100.0]  token F1 1.00 [1.00, 1.00]");
        let same = vec!["ann pays the rent".to_owned(); 30];
        let same = Scores::new(&same, &texts, 1).unwrap();
        assert!(same.is_near_chance() && same.token_f1.value > 0.5, "{same}");
    }
}

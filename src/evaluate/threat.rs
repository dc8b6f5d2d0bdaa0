//! Which threat noise is meant for.

use std::fmt;

use embosk_defenses::Stack;
use embosk_defenses::spec::Part;
use serde::{Deserialize, Serialize};

/// Who is assumed to see the vectors of a row, judging by its stack's noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Threat {
    /// A thief of the store, who sees no queries: noise is only on documents. The same noise then costs less in
    /// retrieval.
    StolenStore,
    /// The store's operator, who also sees queries: queries have noise too.
    Operator,
}

impl Threat {
    /// Returns the threat that a stack's noise is meant for. `None` if documents have no noise: documents and queries
    /// then go through the same transform.
    pub fn of(stack: &Stack) -> Option<Self> {
        let spec = embosk_defenses::Defense::spec(stack);
        let parts = || spec.parts().iter().filter(|part| is_noise(part));
        let covers = |role| parts().any(|part| covers(part, role));
        match (covers("documents"), covers("queries")) {
            (true, false) => Some(Self::StolenStore),
            (true, true) => Some(Self::Operator),
            (false, _) => None,
        }
    }
}

/// `stolen store` or `operator`.
impl fmt::Display for Threat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StolenStore => "stolen store",
            Self::Operator => "operator",
        })
    }
}

fn is_noise(part: &Part) -> bool {
    let is_zero = |name| part.find(name).is_some_and(|value| value.text().parse() == Ok(0.0));
    match part.name() {
        "gaussian" => !is_zero("sigma"),
        "dcpe" => !is_zero("beta"),
        _ => false,
    }
}

fn covers(part: &Part, role: &str) -> bool {
    part.find("on").is_none_or(|on| on.text() == role || on.text() == "both")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn noise_says_who_it_is_for() {
        let of = |spec: &str| Threat::of(&spec.parse().unwrap());
        assert_eq!(of("none"), None);
        assert_eq!(of("quantization(bits=8) | gaussian(sigma=0)"), None);
        assert_eq!(of("gaussian(sigma=0.1, on=queries)"), None);
        assert_eq!(of("gaussian(sigma=0.1, on=documents) | quantization(bits=8)"), Some(Threat::StolenStore));
        assert_eq!(of("gaussian(sigma=0.1, on=both)"), Some(Threat::Operator));
        let both = "gaussian(sigma=0.1, on=documents) | gaussian(sigma=0.1, on=queries)";
        assert_eq!(of(both), Some(Threat::Operator));
    }
}

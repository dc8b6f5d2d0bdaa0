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
    /// The store's operator, who also sees queries: these have at least as much noise as documents.
    Operator,
}

impl Threat {
    /// Returns the threat that a stack's noise is meant for. `None` if documents have no noise: documents and queries
    /// then go through the same transform.
    pub fn of(stack: &Stack) -> Option<Self> {
        let spec = embosk_defenses::Defense::spec(stack);
        let variance = |role| {
            let parts = spec.parts().iter().filter(|part| covers(part, role));
            parts.map(|part| sigma(part).powi(2)).sum::<f64>()
        };
        let (documents, queries) = (variance("documents"), variance("queries"));
        if documents <= 0.0 {
            return None;
        }
        // sums in another order may differ in their last digits
        let is_covered = queries >= documents * (1.0 - 1e-9);
        Some(if is_covered { Self::Operator } else { Self::StolenStore })
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

/// How much noise a part adds, in units of its kind; 0 for no noise.
fn sigma(part: &Part) -> f64 {
    let name = match part.name() {
        "gaussian" => "sigma",
        "dcpe" => "beta",
        _ => return 0.0,
    };
    part.find(name).and_then(|value| value.text().parse().ok()).unwrap_or(1.0)
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

    #[test]
    fn a_trace_of_noise_on_queries_is_none_against_the_operator() {
        let of = |documents: f64, queries: f64| {
            let spec =
                format!("gaussian(sigma={documents}, on=documents) | gaussian(sigma={queries}, on=queries)");
            Threat::of(&spec.parse().unwrap())
        };
        assert_eq!(of(0.1, 0.001), Some(Threat::StolenStore));
        assert_eq!(of(0.1, 0.2), Some(Threat::Operator));
        let more = "gaussian(sigma=0.1) | gaussian(sigma=0.1, on=documents)";
        assert_eq!(Threat::of(&more.parse().unwrap()), Some(Threat::StolenStore));
    }
}

use std::fmt;
use std::str::FromStr;

use embosk_attacks::alignment::Alignment;
use ndarray::Array2;

use crate::Error;

/// What the attacker has beside the protected vectors themselves.
///
/// Written `naive` and `leaked(768)`, on the command line and in reports.
///
/// ```
/// use embosk::evaluate::Adversary;
///
/// assert_eq!("leaked(768)".parse::<Adversary>()?, Adversary::Leaked(768));
/// assert_eq!(Adversary::Naive.to_string(), "naive");
/// # Ok::<(), embosk::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Adversary {
    /// An attack trained on clean vectors, and nothing else: he knows nothing of the defense.
    Naive,
    /// This many real pairs of a text and its protected vector. He embeds the texts himself, fits a
    /// map from protected to clean vectors on them ([`Alignment`]: orthogonal Procrustes or ridge
    /// regression, whichever does better on pairs that he holds out), and attacks what it restores.
    Leaked(usize),
    /// He knows the defense and its settings, not its key, and makes this many pairs himself, from
    /// texts of the same kind and under a key of his own where one is needed; he uses them as
    /// [`Leaked`](Self::Leaked) does. His texts are documents of the corpus that are not attacked.
    Informed(usize),
}

impl Adversary {
    /// Those that an evaluation runs where none is named, by the vectors' dimension and the documents
    /// that are not attacked: `naive`, and `leaked` with twice as many pairs as dimensions, which is
    /// enough to determine any rotation with a fifth of them held out.
    pub(super) fn defaults(dimension: usize, spare: usize) -> Vec<Self> {
        match spare.min(2 * dimension) {
            0 => vec![Self::Naive],
            pairs => vec![Self::Naive, Self::Leaked(pairs)],
        }
    }

    /// How many pairs he has.
    pub fn pairs(self) -> usize {
        match self {
            Self::Naive => 0,
            Self::Leaked(pairs) | Self::Informed(pairs) => pairs,
        }
    }

    /// Whether he protects the texts of his pairs himself.
    pub(super) fn makes_pairs(self) -> bool {
        matches!(self, Self::Informed(_))
    }

    /// The attacked vectors as he hands them to the attack, and the map that he chose. `protected` and
    /// `clean` are his pairs.
    pub(super) fn restore(
        self,
        attacked: Array2<f32>,
        protected: &Array2<f32>,
        clean: &Array2<f32>,
    ) -> Result<(Array2<f32>, Option<String>), Error> {
        match self {
            Self::Naive => Ok((attacked, None)),
            Self::Leaked(_) | Self::Informed(_) => {
                let map = Alignment::fit(protected.view(), clean.view())?;
                Ok((map.apply(attacked.view())?, Some(map.to_string())))
            }
        }
    }
}

impl FromStr for Adversary {
    type Err = Error;

    /// # Errors
    /// When the name is unknown, or a number of pairs is missing, not a number, or 0.
    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let (name, argument) = match text.strip_suffix(')').and_then(|text| text.split_once('(')) {
            Some((name, argument)) => (name.trim_end(), Some(argument.trim())),
            None => (text, None),
        };
        match (name, argument.map(str::parse)) {
            ("naive", None) => Ok(Self::Naive),
            ("leaked", Some(Ok(pairs))) if pairs > 0 => Ok(Self::Leaked(pairs)),
            ("informed", Some(Ok(pairs))) if pairs > 0 => Ok(Self::Informed(pairs)),
            ("leaked" | "informed", _) => {
                Err(refuse(&format!("`{name}` takes its number of pairs, 1 or more: {name}(768)")))
            }
            ("naive", Some(_)) => Err(refuse("`naive` takes nothing in parentheses")),
            ("unpaired" | "averaging" | "retrained", _) => Err(refuse(&format!(
                "the adversary `{name}` is not built yet; there are naive, leaked(k) and informed(n)"
            ))),
            _ => Err(refuse("there is no such adversary; there are naive, leaked(k) and informed(n)")),
        }
    }
}

fn refuse(message: &str) -> Error {
    Error::Setting(message.to_owned())
}

impl fmt::Display for Adversary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Naive => f.write_str("naive"),
            Self::Leaked(pairs) => write!(f, "leaked({pairs})"),
            Self::Informed(pairs) => write!(f, "informed({pairs})"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn adversaries_are_read_as_they_are_printed() {
        for text in ["naive", "leaked(1)", "leaked(768)", "informed(1000)"] {
            assert_eq!(text.parse::<Adversary>().unwrap().to_string(), text);
        }
        assert_eq!(" leaked ( 5 ) ".parse::<Adversary>().unwrap(), Adversary::Leaked(5));
    }

    #[test]
    fn what_is_not_there_is_refused_with_what_is() {
        let cases = [
            ("unpaired(100)", "`unpaired` is not built yet; there are naive, leaked(k) and informed(n)"),
            ("retrained", "not built yet"),
            ("nobody", "no such adversary; there are naive, leaked(k) and informed(n)"),
            ("", "no such adversary"),
            ("naive(3)", "nothing in parentheses"),
            ("leaked", "number of pairs"),
            ("leaked(0)", "1 or more"),
            ("informed", "`informed` takes its number of pairs"),
            ("leaked(-1)", "1 or more"),
            ("leaked(1", "no such adversary"),
        ];
        for (text, part) in cases {
            let message = text.parse::<Adversary>().unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}

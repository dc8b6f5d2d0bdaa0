use std::fmt;
use std::str::FromStr;

use crate::Error;

/// How many pairs `averaging` makes, as far as the attacker has so many texts of his own.
pub(super) const OWN_PAIRS: usize = 10_000;

/// How many vectors `unpaired` needs at least: the shape of fewer says nothing.
pub(super) const CLOUD: usize = 50;

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
    /// He knows the defense and its settings, not its key, and makes this many pairs himself, from
    /// texts of his own and under a key of his own where one is needed. He fits maps from protected to
    /// clean vectors on them ([`Alignment`](embosk_attacks::alignment::Alignment)), takes the one that
    /// does best on pairs that he holds out, and attacks what it restores.
    Informed(usize),
    /// This many real pairs of a text and its protected vector, used as [`Informed`](Self::Informed)
    /// uses his.
    Leaked(usize),
    /// This many protected vectors, as many texts of his own, and no pairs. He finds the map that lays
    /// one cloud of vectors on the other
    /// ([`Unpaired`](embosk_attacks::alignment::Unpaired)), and attacks what it restores.
    Unpaired(usize),
    /// This many releases of each text, which he averages; then as [`Informed`](Self::Informed), with
    /// up to 10,000 pairs that he averaged in the same way.
    Averaging(usize),
    /// An attack that was trained on vectors which he protected himself; see
    /// [`Evaluation::retrained`](super::Evaluation::retrained).
    Retrained,
}

use Adversary::{Averaging, Informed, Leaked, Naive, Retrained, Unpaired};

impl Adversary {
    /// Those that an evaluation runs where none is named, by the vectors' dimension, the documents that
    /// are not attacked, and the texts that he can have himself: `naive`, `informed`, and `leaked` with
    /// twice as many pairs as dimensions, which is enough to determine any rotation with a fifth of them
    /// held out.
    pub(super) fn defaults(dimension: usize, spare: usize, own: usize) -> Vec<Self> {
        let mut defaults = vec![Naive];
        defaults.extend(Some(own.min(OWN_PAIRS)).filter(|&pairs| pairs > 0).map(Informed));
        defaults.extend(Some(spare.min(2 * dimension)).filter(|&pairs| pairs > 0).map(Leaked));
        defaults
    }

    /// Every kind, at the strengths that the corpus has room for: `spare` documents are not attacked.
    pub(super) fn every(documents: usize, spare: usize, own: usize, retrained: bool) -> Vec<Self> {
        let mut every = vec![Naive];
        if own > 0 {
            every.push(Informed(own.min(OWN_PAIRS)));
        }
        every.extend([8, 32, 128, 384, 768, 2048].into_iter().filter(|&pairs| pairs <= spare).map(Leaked));
        let cloud = documents.min(own).min(OWN_PAIRS);
        every.extend(Some(cloud).filter(|&vectors| vectors >= CLOUD).map(Unpaired));
        if own > 0 {
            every.extend([4, 16, 64].map(Averaging));
        }
        every.extend(retrained.then_some(Retrained));
        every
    }

    /// How many protected documents he sees beside those that are attacked.
    pub(super) fn documents(self) -> usize {
        match self {
            Leaked(pairs) => pairs,
            _ => 0,
        }
    }

    /// How many texts of his own he must have.
    pub(super) fn own_texts_needed(self) -> usize {
        match self {
            Informed(texts) | Unpaired(texts) => texts,
            Averaging(_) => 1,
            Naive | Leaked(_) | Retrained => 0,
        }
    }

    /// How many texts of his own he takes where he can have as many as he likes.
    pub(super) fn own_texts_wanted(self) -> usize {
        match self {
            Averaging(_) => OWN_PAIRS,
            _ => self.own_texts_needed(),
        }
    }

    /// Whether his attack takes the protected vectors as they are, or as his map turns them within
    /// their space, so that a surrogate's space must not be another one.
    pub(super) fn stays_in_the_space(self) -> bool {
        matches!(self, Naive | Unpaired(_) | Retrained)
    }
}

impl FromStr for Adversary {
    type Err = Error;

    /// # Errors
    /// When the name is unknown, or its number is missing, not a number, or 0.
    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let (name, argument) = match text.strip_suffix(')').and_then(|text| text.split_once('(')) {
            Some((name, argument)) => (name.trim_end(), Some(argument.trim())),
            None => (text, None),
        };
        let numbered = |make: fn(usize) -> Self, what: &str| match argument.map(str::parse) {
            Some(Ok(number)) if number > 0 => Ok(make(number)),
            _ => Err(Error::Setting(format!("`{name}` takes its number of {what}, 1 or more: {name}(16)"))),
        };
        let plain = |adversary| match argument {
            None => Ok(adversary),
            Some(_) => Err(Error::Setting(format!("`{name}` takes nothing in parentheses"))),
        };
        match name {
            "naive" => plain(Naive),
            "informed" => numbered(Informed, "pairs"),
            "leaked" => numbered(Leaked, "pairs"),
            "unpaired" => numbered(Unpaired, "vectors"),
            "averaging" => numbered(Averaging, "releases"),
            "retrained" => plain(Retrained),
            _ => Err(Error::Setting(
                "there is no such adversary; there are naive, informed(n), leaked(k), unpaired(n), averaging(r) and \
                 retrained"
                    .into(),
            )),
        }
    }
}

impl fmt::Display for Adversary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Naive => f.write_str("naive"),
            Informed(pairs) => write!(f, "informed({pairs})"),
            Leaked(pairs) => write!(f, "leaked({pairs})"),
            Unpaired(vectors) => write!(f, "unpaired({vectors})"),
            Averaging(releases) => write!(f, "averaging({releases})"),
            Retrained => f.write_str("retrained"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn adversaries_are_read_as_they_are_printed() {
        for adversary in Adversary::every(3000, 2800, 30_000, true) {
            assert_eq!(adversary.to_string().parse::<Adversary>().unwrap(), adversary);
        }
        assert_eq!(" leaked ( 5 ) ".parse::<Adversary>().unwrap(), Leaked(5));
    }

    #[test]
    fn a_small_corpus_has_fewer_adversaries() {
        let every = Adversary::every(300, 100, 200, false);
        assert_eq!(
            every[..],
            [
                Naive,
                Informed(200),
                Leaked(8),
                Leaked(32),
                Unpaired(200),
                Averaging(4),
                Averaging(16),
                Averaging(64)
            ]
        );
    }

    #[test]
    fn the_defaults_take_what_is_there() {
        assert_eq!(Adversary::defaults(384, 1800, 10_000), [Naive, Informed(10_000), Leaked(768)]);
        assert_eq!(Adversary::defaults(384, 100, 100), [Naive, Informed(100), Leaked(100)]);
        assert_eq!(Adversary::defaults(384, 0, 0), [Naive]);
        assert_eq!(Adversary::every(2, 0, 0, false), [Naive]);
    }

    #[test]
    fn what_is_not_there_is_refused_with_what_is() {
        let cases = [
            ("nobody", "no such adversary; there are naive, informed(n), leaked(k)"),
            ("", "no such adversary"),
            ("naive(3)", "`naive` takes nothing in parentheses"),
            ("retrained(3)", "nothing in parentheses"),
            ("leaked", "number of pairs"),
            ("leaked(0)", "1 or more"),
            ("informed", "`informed` takes its number of pairs"),
            ("unpaired(many)", "number of vectors"),
            ("averaging()", "number of releases"),
            ("leaked(-1)", "1 or more"),
            ("leaked(1", "no such adversary"),
        ];
        for (text, part) in cases {
            let message = text.parse::<Adversary>().unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}

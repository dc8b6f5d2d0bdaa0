use std::fmt;
use std::str::FromStr;

use crate::Error;

/// How many pairs `averaging` makes, as far as the attacker has so many texts of his own.
pub(super) const OWN_PAIRS: usize = 10_000;

/// How many vectors `unpaired` needs at least: the shape of fewer says nothing.
pub(super) const CLOUD: usize = 50;

/// What the attacker has beside the protected vectors themselves.
///
/// Written `naive`, `leaked(768)`, `averaging(16)` and `averaging(16, 768)`, on the command line and in
/// reports.
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
    /// He knows the defense and its settings, not its key, and makes pairs of this many texts of his own
    /// himself: three of each where they come out differently, and under keys of his own where one is
    /// needed. He fits maps from protected to
    /// clean vectors on them ([`Alignment`](embosk_attacks::alignment::Alignment)), takes the one that
    /// does best on pairs that he holds out, and attacks what it restores.
    Informed(usize),
    /// This many real pairs of a text and its protected vector. He undoes the key by them, where they are
    /// few with the help of all protected vectors and texts of his own, and the rest as
    /// [`Informed`](Self::Informed) does, with up to 10,000 pairs.
    Leaked(usize),
    /// This many protected vectors, at least as many texts of his own (10,000, where they are records), and
    /// no pairs. He finds the map that lays one cloud of vectors on the other
    /// ([`Unpaired`](embosk_attacks::alignment::Unpaired)), and undoes the rest as
    /// [`Informed`](Self::Informed) does.
    Unpaired(usize),
    /// Several releases of each text, which he averages.
    Averaging {
        /// How many.
        releases: usize,
        /// As many pairs leaked; he goes on as [`Leaked`](Self::Leaked), or without any as
        /// [`Informed`](Self::Informed), and where the key turns the space as [`Unpaired`](Self::Unpaired), with
        /// clouds and pairs that he averaged in the same way.
        leaked: usize,
    },
    /// An attack that was trained on vectors which he protected himself; see
    /// [`Evaluation::retrained`](super::Evaluation::retrained).
    Retrained,
    /// The same attack behind a map: he undoes the key as another adversary does, and leaves the noise to the
    /// attack, which was trained on it. Written `retrained(leaked(768))`.
    RetrainedAfter(Undoing),
}

/// How the key is undone before a retrained attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Undoing {
    /// As [`Adversary::Leaked`] does.
    Leaked(usize),
    /// As [`Adversary::Unpaired`] does.
    Unpaired(usize),
}

use Adversary::{Averaging, Informed, Leaked, Naive, Retrained, RetrainedAfter, Unpaired};

impl Undoing {
    /// Whose map it is.
    pub(super) fn adversary(self) -> Adversary {
        match self {
            Self::Leaked(pairs) => Leaked(pairs),
            Self::Unpaired(vectors) => Unpaired(vectors),
        }
    }
}

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
    pub(super) fn every(
        dimension: usize,
        (documents, spare, own): (usize, usize, usize),
        retrained: bool,
    ) -> Vec<Self> {
        let mut every = vec![Naive];
        if own > 0 {
            every.push(Informed(own.min(OWN_PAIRS)));
        }
        every.extend([8, 32, 128, 384, 768, 2048].into_iter().filter(|&pairs| pairs <= spare).map(Leaked));
        let cloud = documents.min(own).min(OWN_PAIRS);
        every.extend(Some(cloud).filter(|&vectors| vectors >= CLOUD).map(Unpaired));
        if own > 0 {
            every.extend([4, 16, 64].map(|releases| Averaging { releases, leaked: 0 }));
            let pairs = Some(spare.min(2 * dimension)).filter(|&pairs| pairs > 0);
            every.extend(pairs.map(|leaked| Averaging { releases: 16, leaked }));
        }
        if retrained {
            let pairs = Some(spare.min(2 * dimension)).filter(|&pairs| pairs > 0);
            every.push(Retrained);
            every.extend(pairs.map(|pairs| RetrainedAfter(Undoing::Leaked(pairs))));
        }
        every
    }

    /// How many protected documents he sees beside those that are attacked.
    pub(super) fn documents(self) -> usize {
        match self {
            Leaked(pairs) | Averaging { leaked: pairs, .. } => pairs,
            RetrainedAfter(undoing) => undoing.adversary().documents(),
            _ => 0,
        }
    }

    /// How many texts of his own he must have.
    pub(super) fn own_texts_needed(self) -> usize {
        match self {
            Informed(texts) | Unpaired(texts) => texts,
            Averaging { leaked: 0, .. } => 1,
            RetrainedAfter(undoing) => undoing.adversary().own_texts_needed(),
            Averaging { .. } | Naive | Leaked(_) | Retrained => 0,
        }
    }

    /// How many texts of his own he takes where he can have as many as he likes.
    pub(super) fn own_texts_wanted(self) -> usize {
        match self {
            Averaging { .. } | Leaked(_) => OWN_PAIRS,
            Unpaired(_) => OWN_PAIRS.max(self.own_texts_needed()),
            RetrainedAfter(undoing) => undoing.adversary().own_texts_wanted(),
            _ => self.own_texts_needed(),
        }
    }

    /// Whether his attack takes the protected vectors as they are, or as his map turns them within
    /// their space, so that it must not be a surrogate's.
    pub(super) fn stays_in_the_space(self) -> bool {
        matches!(self, Naive | Unpaired(_)) || self.is_retrained()
    }

    /// Whether he knows the defense, but for its key.
    pub(super) fn knows_the_defense(self) -> bool {
        self != Naive
    }

    /// Whether his attack is the [retrained](super::Evaluation::retrained) one.
    pub fn is_retrained(self) -> bool {
        matches!(self, Retrained | RetrainedAfter(_))
    }
}

impl FromStr for Adversary {
    type Err = Error;

    /// # Errors
    /// When the name is unknown, or what it takes in parentheses is missing or nothing that it takes.
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
            "averaging" => averaging(argument.unwrap_or_default()),
            "retrained" => argument.map_or(Ok(Retrained), retrained),
            _ => Err(Error::Setting(
                "there is no such adversary; there are naive, informed(n), leaked(k), unpaired(n), averaging(r) and \
                 retrained"
                    .into(),
            )),
        }
    }
}

/// Behind the map of another adversary.
fn retrained(argument: &str) -> Result<Adversary, Error> {
    // not read again and again where somebody nests it a million times
    let undoing = (!argument.trim_start().starts_with("retrained")).then(|| argument.parse());
    match undoing {
        Some(Ok(Leaked(pairs))) => Ok(RetrainedAfter(Undoing::Leaked(pairs))),
        Some(Ok(Unpaired(vectors))) => Ok(RetrainedAfter(Undoing::Unpaired(vectors))),
        _ => Err(Error::Setting(
            "`retrained` takes nothing in parentheses, or who undoes the key for it: retrained(leaked(768)) or \
             retrained(unpaired(10000))"
                .into(),
        )),
    }
}

/// The releases, and perhaps the leaked pairs.
fn averaging(argument: &str) -> Result<Adversary, Error> {
    let (releases, leaked) = match argument.split_once(',') {
        Some((releases, leaked)) => (releases, Some(leaked)),
        None => (argument, None),
    };
    let number = |text: &str| text.trim().parse().ok().filter(|&number: &usize| number > 0);
    match (number(releases), leaked.map(number)) {
        (Some(releases), None) => Ok(Averaging { releases, leaked: 0 }),
        (Some(releases), Some(Some(leaked))) => Ok(Averaging { releases, leaked }),
        _ => Err(Error::Setting(
            "`averaging` takes its number of releases, and perhaps one of leaked pairs: averaging(16) or averaging(16, 768)"
                .into(),
        )),
    }
}

impl fmt::Display for Adversary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Naive => f.write_str("naive"),
            Informed(pairs) => write!(f, "informed({pairs})"),
            Leaked(pairs) => write!(f, "leaked({pairs})"),
            Unpaired(vectors) => write!(f, "unpaired({vectors})"),
            Averaging { releases, leaked: 0 } => write!(f, "averaging({releases})"),
            Averaging { releases, leaked } => write!(f, "averaging({releases}, {leaked})"),
            Retrained => f.write_str("retrained"),
            RetrainedAfter(undoing) => write!(f, "retrained({})", undoing.adversary()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn adversaries_are_read_as_they_are_printed() {
        for adversary in Adversary::every(384, (3000, 2800, 30_000), true) {
            assert_eq!(adversary.to_string().parse::<Adversary>().unwrap(), adversary);
        }
        assert_eq!(" leaked ( 5 ) ".parse::<Adversary>().unwrap(), Leaked(5));
        let after = RetrainedAfter(Undoing::Unpaired(60));
        assert_eq!("retrained( unpaired(60) )".parse::<Adversary>().unwrap(), after);
        let needs = (after.documents(), after.own_texts_needed(), after.stays_in_the_space());
        assert_eq!(needs, (0, 60, true));
    }

    #[test]
    fn a_small_corpus_has_fewer_adversaries() {
        let every = Adversary::every(384, (300, 100, 200), false);
        assert_eq!(
            every[..],
            [
                Naive,
                Informed(200),
                Leaked(8),
                Leaked(32),
                Unpaired(200),
                Averaging { releases: 4, leaked: 0 },
                Averaging { releases: 16, leaked: 0 },
                Averaging { releases: 64, leaked: 0 },
                Averaging { releases: 16, leaked: 100 },
            ]
        );
    }

    #[test]
    fn the_defaults_take_what_is_there() {
        assert_eq!(Adversary::defaults(384, 1800, 10_000), [Naive, Informed(10_000), Leaked(768)]);
        assert_eq!(Adversary::defaults(384, 100, 100), [Naive, Informed(100), Leaked(100)]);
        assert_eq!(Adversary::defaults(384, 0, 0), [Naive]);
        assert_eq!(Adversary::every(384, (2, 0, 0), false), [Naive]);
    }

    #[test]
    fn what_is_not_there_is_refused_with_what_is() {
        let cases = [
            ("nobody", "no such adversary; there are naive, informed(n), leaked(k)"),
            ("", "no such adversary"),
            ("naive(3)", "`naive` takes nothing in parentheses"),
            ("retrained(3)", "nothing in parentheses"),
            ("retrained(informed(3))", "who undoes the key"),
            ("retrained(leaked(0))", "retrained(leaked(768))"),
            ("leaked", "number of pairs"),
            ("leaked(0)", "1 or more"),
            ("informed", "`informed` takes its number of pairs"),
            ("unpaired(many)", "number of vectors"),
            ("averaging()", "number of releases"),
            ("averaging(4, 0)", "one of leaked pairs"),
            ("averaging(4, 5, 6)", "averaging(16, 768)"),
            ("leaked(-1)", "1 or more"),
            ("leaked(1", "no such adversary"),
        ];
        for (text, part) in cases {
            let message = text.parse::<Adversary>().unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}

//! Finds adversaries by their names on the command line.

use std::fmt;
use std::sync::Arc;

use super::{Adversary, Argument};
use crate::Error;
use crate::evaluate::metrics::quoted;

/// Exports our adversaries, and registers them by default.
macro_rules! ours {
    ($($module:ident::$name:ident),* $(,)?) => {
        $(pub use super::$module::$name;)*

        impl Default for Registry {
            /// The registry of our adversaries.
            fn default() -> Self {
                Self { entries: Vec::new() }$(.with::<$name>())*
            }
        }
    };
}

// in the order of help texts, defaults and `all`
ours! {
    naive::Naive,
    informed::Informed,
    leaked::Leaked,
    unpaired::Unpaired,
    averaging::Averaging,
    retrained::Retrained,
}

/// The adversaries that can be named. `Registry::default()` has ours; add your own with [`with`](Self::with).
///
/// ```
/// use embosk::evaluate::adversaries::Registry;
///
/// let adversary = Registry::default().parse("leaked(768)")?;
/// assert_eq!(adversary.to_string(), "leaked(768)");
/// # Ok::<(), embosk::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Registry {
    entries: Vec<Entry>,
}

/// Reads one of our adversaries: `leaked(768)`. Shorthand for [`Registry::parse`] of the default registry.
///
/// # Errors
/// When the name is unknown, or its argument is missing or wrong.
pub fn parse(text: &str) -> Result<Arc<dyn Adversary>, Error> {
    Registry::default().parse(text)
}

/// An adversary that can be named.
pub trait NamedAdversary: Adversary + Sized + 'static {
    /// Returns the name without its argument: `leaked`.
    const NAME: &'static str;
    /// Returns how it is written: `leaked(k)`.
    const USAGE: &'static str;
    /// Returns what the attacker has or does, for help texts. The name and this text form a sentence.
    const SUMMARY: &'static str;

    /// Reads the argument in parentheses.
    ///
    /// # Errors
    /// When the argument is missing or wrong.
    fn parse(argument: &Argument<'_>) -> Result<Self, Error>;

    /// Returns those that an evaluation runs if no adversary is named. Default: none.
    fn defaults(room: &Room) -> Vec<Self> {
        let _ = room;
        Vec::new()
    }

    /// Returns those that `all` adds, at each strength for which the corpus is large enough. Default: none.
    fn all(room: &Room) -> Vec<Self> {
        let _ = room;
        Vec::new()
    }
}

/// The sizes of an evaluation, which limit the strength of adversaries.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Room {
    /// The dimension of the defended vectors.
    pub dimension: usize,
    /// How many documents have vectors that can be read without their texts.
    pub stored: usize,
    /// How many documents are not attacked, so that their pairs may leak.
    pub spare: usize,
    /// How many of their own texts attackers can have.
    pub own_texts: usize,
    /// Whether there is a [retrained](crate::Evaluation::retrained) attack.
    pub has_retrained: bool,
}

impl Room {
    /// Returns twice as many pairs as dimensions, or all pairs if there are fewer. Twice as many determine any
    /// rotation even with a fifth of them held out.
    pub fn enough_pairs(&self) -> Option<usize> {
        Some(self.spare.min(2 * self.dimension)).filter(|&pairs| pairs > 0)
    }
}

impl Registry {
    /// Adds an adversary. It replaces one of the same name.
    pub fn with<A: NamedAdversary>(mut self) -> Self {
        self.entries.retain(|entry| entry.name != A::NAME);
        self.entries.push(Entry {
            name: A::NAME,
            usage: A::USAGE,
            summary: A::SUMMARY,
            parse: |argument| A::parse(argument).map(shared),
            defaults: |room| A::defaults(room).into_iter().map(shared).collect(),
            all: |room| A::all(room).into_iter().map(shared).collect(),
        });
        self
    }

    /// Reads an adversary in the form in which it prints.
    ///
    /// # Errors
    /// When the name is unknown, or its argument is missing or wrong.
    pub fn parse(&self, text: &str) -> Result<Arc<dyn Adversary>, Error> {
        let argument = Argument::of(text);
        match self.entries.iter().find(|entry| entry.name == argument.name) {
            Some(entry) => (entry.parse)(&argument),
            None => Err(Error::Setting(format!(
                "there is no such adversary{}; there are {}",
                quoted(text.trim()),
                self.usages()
            ))),
        }
    }

    /// Whether there is an adversary of the name before the parentheses.
    #[cfg(feature = "cli")]
    pub(crate) fn knows(&self, text: &str) -> bool {
        self.entries.iter().any(|entry| entry.name == Argument::of(text).name)
    }

    /// Returns the help text, with a line for each adversary: ``  `leaked(k)` has k real pairs``.
    pub fn help(&self) -> String {
        let line = |entry: &Entry| format!("  `{}` {}", entry.usage, entry.summary);
        self.entries.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    pub(in crate::evaluate) fn defaults(&self, room: &Room) -> Vec<Arc<dyn Adversary>> {
        self.entries.iter().flat_map(|entry| (entry.defaults)(room)).collect()
    }

    pub(in crate::evaluate) fn all(&self, room: &Room) -> Vec<Arc<dyn Adversary>> {
        self.entries.iter().flat_map(|entry| (entry.all)(room)).collect()
    }

    /// `naive, informed(n) and leaked(k)`.
    fn usages(&self) -> String {
        let usages: Vec<&str> = self.entries.iter().map(|entry| entry.usage).collect();
        match usages.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, others)) => format!("{} and {last}", others.join(", ")),
            None => "none".into(),
        }
    }
}

#[derive(Clone)]
struct Entry {
    name: &'static str,
    usage: &'static str,
    summary: &'static str,
    parse: fn(&Argument<'_>) -> Result<Arc<dyn Adversary>, Error>,
    defaults: fn(&Room) -> Vec<Arc<dyn Adversary>>,
    all: fn(&Room) -> Vec<Arc<dyn Adversary>>,
}

fn shared(adversary: impl Adversary + 'static) -> Arc<dyn Adversary> {
    Arc::new(adversary)
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("usage", &self.usage).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::TrainedOn;
    use super::*;

    fn room(
        dimension: usize,
        (stored, spare, own_texts): (usize, usize, usize),
        has_retrained: bool,
    ) -> Room {
        Room { dimension, stored, spare, own_texts, has_retrained }
    }

    fn names(adversaries: &[Arc<dyn Adversary>]) -> String {
        adversaries.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn adversaries_are_read_as_they_are_printed() {
        for adversary in Registry::default().all(&room(384, (3000, 2800, 30_000), true)) {
            assert_eq!(parse(&adversary.to_string()).unwrap().to_string(), adversary.to_string());
        }
        assert_eq!(parse(" leaked ( 5 ) ").unwrap().to_string(), "leaked(5)");
        let after = parse("retrained( unpaired(60) )").unwrap();
        assert_eq!(after.to_string(), "retrained(unpaired(60))");
        let needs = after.needs();
        assert_eq!((needs.leaked_pairs, needs.own_texts, needs.embedder_space), (0, 60, true));
        assert_eq!(needs.attack, TrainedOn::KeyUndone);
    }

    #[test]
    fn a_small_corpus_has_fewer_adversaries() {
        let all = Registry::default().all(&room(384, (300, 100, 200), false));
        assert_eq!(
            names(&all),
            "naive informed(200) leaked(8) leaked(32) unpaired(200) averaging(4) averaging(16) averaging(64) \
             averaging(16, 100)"
        );
    }

    #[test]
    fn the_defaults_take_what_is_there() {
        let defaults = |spare, own_texts| {
            names(&Registry::default().defaults(&room(384, (2000, spare, own_texts), true)))
        };
        assert_eq!(defaults(1800, 20_000), "naive informed(10000) leaked(768)");
        assert_eq!(defaults(100, 100), "naive informed(100) leaked(100)");
        assert_eq!(defaults(0, 0), "naive");
        assert_eq!(names(&Registry::default().all(&room(384, (2, 0, 0), false))), "naive");
    }

    #[test]
    fn what_is_not_there_is_refused_with_what_is() {
        let cases = [
            ("nobody", "no such adversary as `nobody`; there are naive, informed(n), leaked(k)"),
            ("embosk1-0123456789abcdef0123456789", "no such adversary; there are"),
            ("", "no such adversary"),
            ("naive(3)", "`naive` takes nothing in parentheses"),
            ("retrained(3)", "nothing in parentheses"),
            ("retrained(informed(3))", "who undoes the key"),
            ("retrained(retrained(leaked(5)))", "who undoes the key"),
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
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn a_name_of_ones_own_is_read_and_replaces_an_equal_one() {
        let registry = Registry { entries: Vec::new() }.with::<Leaked>();
        assert!(registry.parse("naive").unwrap_err().to_string().ends_with("there are leaked(k)"));
        let registry = registry.with::<Naive>().with::<Leaked>();
        assert_eq!(registry.parse("naive").unwrap().to_string(), "naive");
        assert!(
            registry.help().starts_with("  `naive` knows nothing") && registry.help().lines().count() == 2
        );
    }
}

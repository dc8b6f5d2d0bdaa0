//! The fingerprint of a stack: the space that its documents and queries share, as a line of text.
//!
//! ```text
//! embosk2 rotation(key=84375e6e, kind=haar, dim=384) | scaling(key=84375e6e)
//! ```
//!
//! It is `embosk2`, a space character, and the [spaces](Defense::space) of the parts as a spec. Keys and fits
//! are shown as their eight digits. Characters that are not printable ASCII are escaped as in Rust's
//! literals.
//!
//! Before `embosk2`, a fingerprint named only keys: eight digits, several groups of these separated by
//! commas, or `none`.

use crate::difference::Difference;
use crate::spec::{Kind, Part, Spec, Value};
use crate::{Defense, Error};

const VERSION: &str = "embosk2";

/// The old fingerprint of a stack without keys.
const NO_KEYS: &str = "none";

/// A stored fingerprint that [`Stack::check_fingerprint`](crate::Stack::check_fingerprint) found to match.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "a fingerprint of an old form matches with a warning"]
pub struct Checked {
    warning: Option<String>,
}

impl Checked {
    /// Returns a warning to show to the user. An old fingerprint names only keys, so it matches although the
    /// vectors may be of another space. The warning contains the fingerprint to store instead.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }
}

/// The text for a space.
pub(crate) fn of(space: &Spec) -> String {
    format!("{VERSION} {}", space.parts().iter().map(plain).collect::<Spec>())
}

/// Compares a stored fingerprint with a stack's.
pub(crate) fn check(stored: &str, stack: &dyn Defense) -> Result<Checked, Error> {
    if is_old(stored) {
        return check_old(stored, stack);
    }
    // A text that is not a fingerprint is not repeated, because it may be a key.
    let refuse = |expected| Error::Setting { name: "the stored fingerprint", expected };
    let Some((version, space)) = stored.split_once(' ') else {
        return Err(refuse("the fingerprint that the stack gave"));
    };
    if version != VERSION {
        return Err(refuse("one that this version of embosk, or an older one, gave"));
    }
    let changed = || refuse("the fingerprint that the stack gave, unchanged");
    let (stored, found): (Spec, _) = (space.parse().map_err(|_| changed())?, stack.space());
    if names_something_else(&stored, &found) {
        return Err(changed());
    }
    match difference(&stored, &found) {
        Some(difference) => Err(Error::OtherSpace(difference)),
        None => Ok(Checked { warning: None }),
    }
}

/// Returns whether there is something other than eight digits where the stack has a key.
fn names_something_else(stored: &Spec, found: &Spec) -> bool {
    let is_wrong = |(stored, found): (&Part, &Part)| {
        found.parameters().iter().any(|parameter| {
            let is_key = matches!(parameter.value().kind(), Kind::Fingerprint(_));
            is_key && stored.find(parameter.name()).is_some_and(|value| !is_digits(value.text()))
        })
    };
    stored.parts().iter().zip(found.parts()).filter(|(a, b)| a.name() == b.name()).any(is_wrong)
}

fn is_digits(key: &str) -> bool {
    key.len() == 8 && key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_old(stored: &str) -> bool {
    stored == NO_KEYS || stored.split(',').all(is_digits)
}

fn check_old(stored: &str, stack: &dyn Defense) -> Result<Checked, Error> {
    let found = keys(&stack.spec());
    if stored != found {
        let stored = stored.to_owned();
        return Err(Error::OtherSpace(Difference::Key { defense: None, stored, found }));
    }
    let warning = format!(
        "the stored fingerprint `{stored}` is of an old form that names keys alone, so another kind or order of \
         defenses under the same key would go unnoticed; if these vectors were protected with this stack, store \
         `{}` in its place",
        of(&stack.space())
    );
    Ok(Checked { warning: Some(warning) })
}

/// Returns the old form: the key that all parts have in common, or each part's key in turn if they differ.
fn keys(spec: &Spec) -> String {
    let mut all: Vec<_> = spec
        .values()
        .filter_map(|value| match value.kind() {
            Kind::Fingerprint(digits) => Some(digits),
            _ => None,
        })
        .collect();
    if all.iter().all(|one| *one == all[0]) {
        all.truncate(1);
    }
    if all.is_empty() { NO_KEYS.to_owned() } else { all.join(",") }
}

/// Returns the first difference, if any. `stored` is as it was printed; `found` still has its kinds of
/// values.
fn difference(stored: &Spec, found: &Spec) -> Option<Difference> {
    let plain_found: Vec<_> = found.parts().iter().map(plain).collect();
    let names = |parts: &[Part]| parts.iter().map(|part| part.name().to_owned()).collect::<Vec<_>>();
    let (stored_names, found_names) = (names(stored.parts()), names(found.parts()));
    let listed = |names: &[String]| if names.is_empty() { "none".into() } else { names.join(" | ") };
    if stored_names != found_names || are_reordered(stored.parts(), &plain_found) {
        let (stored, found) = (listed(&stored_names), listed(&found_names));
        return Some(if sorted(stored_names) == sorted(found_names) {
            Difference::Order { stored, found }
        } else {
            Difference::Defenses { stored, found }
        });
    }
    stored.parts().iter().zip(found.parts()).find_map(|(stored, found)| of_part(stored, found))
}

/// Returns whether these are the same parts in a different order, such as two rotations under two keys,
/// swapped.
fn are_reordered(stored: &[Part], found: &[Part]) -> bool {
    let printed = |parts: &[Part]| parts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (stored, found) = (printed(stored), printed(found));
    stored != found && sorted(stored) == sorted(found)
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort_unstable();
    texts
}

/// Returns the first difference between two parts of the same name.
fn of_part(stored: &Part, found: &Part) -> Option<Difference> {
    let missing = stored.parameters().iter().filter(|parameter| found.find(parameter.name()).is_none());
    let names = found.parameters().iter().chain(missing).map(|parameter| parameter.name().to_owned());
    names.into_iter().find_map(|name| {
        let before = stored.find(&name).map(|value| value.text().to_owned());
        let now = found.find(&name);
        let is_key = now.is_some_and(|value| matches!(value.kind(), Kind::Fingerprint(_)));
        let defense = found.name().to_owned();
        match (before, now.map(text_of)) {
            (before, now) if before == now => None,
            // The dimension is not known before the first vectors.
            (None, _) | (_, None) if name == "dim" => None,
            (Some(stored), Some(found)) if is_key => {
                Some(Difference::Key { defense: Some(defense), stored, found })
            }
            (Some(stored), Some(found)) if name == "dim" => {
                Some(Difference::Dimension { defense, stored, found })
            }
            (stored, found) => Some(Difference::Setting { defense, name, stored, found }),
        }
    })
}

/// Returns a part as a fingerprint prints it.
fn plain(part: &Part) -> Part {
    let named = Part::new(part.name());
    part.parameters().iter().fold(named, |plain, given| plain.with(given.name(), text_of(given.value())))
}

fn text_of(value: &Value) -> String {
    let text = match value.kind() {
        Kind::Fingerprint(digits) | Kind::Fit(digits) => digits,
        _ => value.text(),
    };
    let escaped = |c: char| match c {
        ' '..='~' => c.to_string(),
        other => other.escape_default().to_string(),
    };
    text.chars().map(escaped).collect()
}

//! Facts: short stretches of a text that an attacker who knows the rest of it may want to guess.
//!
//! A corpus may label its facts: the built-in records do, and [`Corpus::with_entities`](super::Corpus) reads a file of
//! offsets. In other texts, [`by_rule`] finds them.

mod calendar;
mod file;
mod names;
mod numbers;
#[cfg(test)]
mod tests;
mod tokens;

use std::ops::Range;

pub(super) use calendar::{MONTHS, WEEKDAYS};
pub(super) use file::read;

use tokens::tokens;

/// A stretch of a text, and the kind of fact that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fact {
    /// What it is: `person`, `date`, `amount`, …
    pub kind: String,
    /// Byte offsets into the text.
    pub span: Range<usize>,
}

impl Fact {
    /// Creates a fact of a stretch of a text. The offsets are bytes, at the boundaries of characters.
    pub fn new(kind: impl Into<String>, span: Range<usize>) -> Self {
        Self { kind: kind.into(), span }
    }
}

/// Finds facts in a text without labels, in the order of the text and without overlap.
///
/// | kind | what is found |
/// |---|---|
/// | `email` | `ann@example.org` |
/// | `date` | days, months and years: `March 14, 2023`, `14 March`, `2023-03-14`, `3/14/23`, `1997`, `Monday` |
/// | `time` | `9:30`, `5 pm` |
/// | `phone` | `+49 30 1234567`, `555-123-4567` |
/// | `amount` | a number with a currency: `$1,200`, `3 million euros` |
/// | `number` | any other number, without its unit |
/// | `name` | capitalized words that do not begin a sentence, and runs of them |
/// | `acronym` | words of only capital letters, at the same places |
///
/// ```
/// use embosk::evaluate::facts::by_rule;
///
/// let text = "On Monday the bank paid Ann Smith $1,200.";
/// let found: Vec<_> = by_rule(text).into_iter().map(|fact| (fact.kind, &text[fact.span])).collect();
/// let expected = [("date", "Monday"), ("name", "Ann Smith"), ("amount", "$1,200")];
/// assert_eq!(found, expected.map(|(kind, fact)| (kind.to_owned(), fact)));
/// ```
pub fn by_rule(text: &str) -> Vec<Fact> {
    let tokens = tokens(text);
    let names = names::Places::of(text, &tokens);
    let mut facts = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let found = numbers::at(&tokens, at, names.is_free(at)).or_else(|| names.at(&tokens, at));
        let Some((kind, end)) = found else {
            at += 1;
            continue;
        };
        facts.push(Fact::new(kind, tokens[at].start..tokens[end - 1].end()));
        at = end;
    }
    facts
}

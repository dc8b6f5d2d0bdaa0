use std::ops::Range;

use super::is_word;

/// Returns the share, in `0..=1`, of the entities that occur in the candidate as they are written; `None` if there
/// are none to find.
///
/// An entity occurs in a text only if it cuts neither a word (`Ann` is not in `Anna`) nor a number (neither `200` nor
/// `1,200` is in `1,200,000`). White space is collapsed as in [`exact_match`](super::exact_match); case counts, so
/// lower-case both sides to ignore it. Blank entities are left out, and one that is listed twice counts twice.
/// Scripts without spaces between words must be segmented first.
///
/// ```
/// # use embosk::evaluate::text::entity_recall;
/// assert_eq!(entity_recall("Ann paid $1,200.", &["Ann", "$1,200", "Rome", "200"]), Some(0.5));
/// assert_eq!(entity_recall("Ann paid $1,200.", &[]), None);
/// ```
pub fn entity_recall(candidate: &str, entities: &[&str]) -> Option<f64> {
    let candidate = collapse_whitespace(candidate);
    let entities: Vec<String> = entities
        .iter()
        .map(|entity| collapse_whitespace(entity))
        .filter(|entity| !entity.is_empty())
        .collect();
    let found = entities.iter().filter(|entity| stands_in(entity, &candidate)).count();
    (!entities.is_empty()).then(|| found as f64 / entities.len() as f64)
}

/// Returns the share, in `0..=1`, of the candidate's entities that occur in the reference: how much of what the
/// candidate asserts is true. `None` if it asserts nothing.
///
/// Entities and their occurrences are as for [`entity_recall`]. The entities are labelled in the candidate, by a
/// person or a tagger.
///
/// ```
/// # use embosk::evaluate::text::entity_precision;
/// assert_eq!(entity_precision(&["Ann", "Oslo"], "Ann lives in Rome"), Some(0.5));
/// ```
pub fn entity_precision(candidate_entities: &[&str], reference: &str) -> Option<f64> {
    entity_recall(reference, candidate_entities)
}

/// Returns the stretches of a text that `spans` name. Offsets count characters (Unicode scalar values) from 0, and
/// the end is not included. `None` if a span is empty or ends beyond the text.
///
/// ```
/// # use embosk::evaluate::text::spans;
/// assert_eq!(spans("Zoë is in Rome", &[0..3, 10..14]), Some(vec!["Zoë", "Rome"]));
/// assert_eq!(spans("Zoë", &[0..4]), None);
/// ```
pub fn spans<'a>(text: &'a str, spans: &[Range<usize>]) -> Option<Vec<&'a str>> {
    let mut starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    starts.push(text.len());
    let stretch = |span: &Range<usize>| {
        (!span.is_empty()).then_some(())?;
        text.get(*starts.get(span.start)?..*starts.get(span.end)?)
    };
    spans.iter().map(stretch).collect()
}

fn collapse_whitespace(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether an entity occurs in a text. Occurrences may overlap, so every position is tried.
fn stands_in(entity: &str, text: &str) -> bool {
    text.char_indices().any(|(start, _)| {
        text[start..]
            .strip_prefix(entity)
            .is_some_and(|after| !runs_on(&text[..start], entity) && !runs_on(entity, after))
    })
}

/// Whether a word or a number continues from the end of `left` into `right`.
fn runs_on(left: &str, right: &str) -> bool {
    let (mut ahead, mut behind) = (right.chars(), left.chars().rev());
    let (Some(last), Some(first)) = (behind.next(), ahead.next()) else { return false };
    let digit = |symbol: Option<char>| symbol.is_some_and(|symbol| symbol.is_ascii_digit());
    (is_word(last) && is_word(first))
        || (digit(Some(last)) && is_point(first) && digit(ahead.next()))
        || (digit(behind.next()) && is_point(last) && digit(Some(first)))
}

fn is_point(symbol: char) -> bool {
    matches!(symbol, '.' | ',')
}

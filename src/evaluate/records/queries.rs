//! Questions that ask for records by what they say.

use std::collections::{BTreeMap, BTreeSet};

use super::draw::Draw;
use super::{Fact, FactKind, Record};

/// A query is not asked if it has fewer answers than this, or more than [`MOST_RELEVANT`].
const FEWEST_RELEVANT: usize = 2;
const MOST_RELEVANT: usize = 20;

/// Returns up to `n` questions about `records`, no two with the same text or for the same facts.
///
/// A question names one fact or two, and a record is relevant if it states all of them: judged by [`Record::facts`],
/// never by the text. Each has 2 to 20 relevant records. The combinations of facts take turns, so that no kind of
/// question dominates. If `records` do not hold `n` questions, fewer are returned. The same arguments give the same
/// questions in every version.
pub fn queries(records: &[Record], n: usize, seed: u64) -> Vec<RecordQuery> {
    let mut draw = Draw::new(*b"record querys v1", seed);
    let mut turns: Vec<_> = SHAPES.iter().map(|shape| candidates(shape, records, &mut draw)).collect();
    let mut queries = Vec::new();
    while queries.len() < n && turns.iter().any(|turn| !turn.is_empty()) {
        for (shape, turn) in SHAPES.iter().zip(&mut turns) {
            queries.extend(turn.pop().map(|(facts, relevant)| shape.ask(&facts, relevant, &mut draw)));
        }
    }
    queries.truncate(n);
    queries
}

/// A question and its answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordQuery {
    /// The question, as a user would type it.
    pub text: String,
    /// The records that answer it: ascending indices into the slice that [`queries`] was given.
    pub relevant: Vec<usize>,
}

/// The facts that a question names, and ways to put it: `{0}` is the first fact, `{1}` the second.
struct QueryShape {
    kinds: &'static [FactKind],
    phrasings: &'static [&'static str],
}

impl QueryShape {
    fn ask(&self, facts: &[Fact], relevant: Vec<usize>, draw: &mut Draw) -> RecordQuery {
        let phrasing = draw.one_of(self.phrasings);
        let put = |text: String, (slot, fact): (&str, &Fact)| text.replace(slot, fact.value);
        let text = ["{0}", "{1}"].into_iter().zip(facts).fold(phrasing.to_owned(), put);
        RecordQuery { text, relevant }
    }
}

/// The combinations of facts that enough records share, in random order.
fn candidates(shape: &QueryShape, records: &[Record], draw: &mut Draw) -> Vec<(Vec<Fact>, Vec<usize>)> {
    let mut postings: BTreeMap<Vec<Fact>, Vec<usize>> = BTreeMap::new();
    for (index, record) in records.iter().enumerate() {
        for facts in combinations(shape.kinds, &record.facts) {
            postings.entry(facts).or_default().push(index);
        }
    }
    let mut found: Vec<_> = postings.into_iter().collect();
    found.retain(|(_, relevant)| (FEWEST_RELEVANT..=MOST_RELEVANT).contains(&relevant.len()));
    draw.shuffle(&mut found);
    found
}

/// Every way to take one fact of each of `kinds`.
fn combinations(kinds: &[FactKind], facts: &[Fact]) -> BTreeSet<Vec<Fact>> {
    kinds.iter().fold(BTreeSet::from([Vec::new()]), |found, &kind| {
        let more = |taken: Vec<Fact>| {
            let next = facts.iter().filter(move |fact| fact.kind == kind);
            next.map(move |&fact| taken.iter().copied().chain([fact]).collect())
        };
        found.into_iter().flat_map(more).collect()
    })
}

const SHAPES: &[QueryShape] = {
    use FactKind::{Diagnosis, Drug, Employer, Month, Place, Topic};
    &[
        QueryShape {
            kinds: &[Place, Drug],
            phrasings: &["{1} patients in {0}", "who in {0} has {1} in their file?"],
        },
        QueryShape {
            kinds: &[Diagnosis, Month],
            phrasings: &["patients with {0} in {1}", "what do we have on {0} from {1}?"],
        },
        QueryShape { kinds: &[Employer, Place], phrasings: &["who is linked to {0} in {1}?", "{0} {1}"] },
        QueryShape {
            kinds: &[Topic, Place],
            phrasings: &["{0} in {1}", "whose file from {1} is about {0}?"],
        },
        QueryShape { kinds: &[Topic, Month], phrasings: &["{0} in {1}", "any {0} on file from {1}?"] },
        QueryShape {
            kinds: &[Drug, Diagnosis],
            phrasings: &["who takes {0} for {1}?", "{1} patients given {0}"],
        },
        QueryShape { kinds: &[Diagnosis, Place], phrasings: &["who in {1} has {0}?", "{0} cases in {1}"] },
        QueryShape {
            kinds: &[Employer, Topic],
            phrasings: &["{1} at {0}", "what do we know about {1} at {0}?"],
        },
        QueryShape {
            kinds: &[Employer, Month],
            phrasings: &["what happened at {0} in {1}?", "{0} records from {1}"],
        },
        QueryShape { kinds: &[Drug, Topic], phrasings: &["{0} {1}", "patients with a note on {1} and {0}"] },
        QueryShape {
            kinds: &[Diagnosis, Topic],
            phrasings: &["{1} because of {0}", "{1} of a patient with {0}"],
        },
        QueryShape {
            kinds: &[Drug],
            phrasings: &["whose file mentions {0}?", "patients with {0} in their notes"],
        },
        QueryShape { kinds: &[Diagnosis], phrasings: &["{0} patients", "whose record is about {0}?"] },
        QueryShape {
            kinds: &[Employer],
            phrasings: &["people connected with {0}", "what do we have on {0}?"],
        },
    ]
};

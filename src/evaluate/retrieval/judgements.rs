//! Which documents answer a query, and which of them a ranking found.

use rayon::prelude::*;

use super::Hits;

/// Fewer queries than these are not worth a thread.
const QUERIES: usize = 128;

/// Up to this many documents, a table of their grades (4 MiB) is faster than a search.
const TABLE: usize = 1 << 20;

/// The relevance judgements of a test collection, in the order of the queries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgements(pub Vec<Judged>);

impl Judgements {
    /// Returns the scores of `metric` for the queries, in their order, without queries for which it returns `None`,
    /// such as those without judgements. `rankings` is what [`search`](super::search) returned for the same queries.
    /// Compute several metrics in one call to look the documents up only once.
    ///
    /// ```
    /// # use embosk::evaluate::retrieval::{Judgements, mrr, ndcg};
    /// let judgements = Judgements(vec![[(7, 1)].into(), [].into()]);
    /// let rankings = [vec![(7, 0.9), (3, 0.1)], vec![(3, 0.8)]];
    /// let scores = judgements.scores(&rankings, |found| Some((ndcg(found, 10)?, mrr(found, 10)?)));
    /// assert_eq!(scores, [(1.0, 1.0)]);
    /// ```
    pub fn scores<T, M>(&self, rankings: &[Hits], metric: M) -> Vec<T>
    where
        M: Fn(&Graded<'_>) -> Option<T> + Sync,
        T: Send,
    {
        let documents = self.documents();
        let has_table = documents <= TABLE;
        let table = || if has_table { vec![0; documents] } else { Vec::new() };
        let score = |table: &mut Vec<i32>, (judged, ranking): (&Judged, &Hits)| {
            let ranking = ranking.iter().map(|&(document, _)| document);
            metric(&if has_table { judged.graded_by(table, ranking) } else { judged.graded(ranking) })
        };
        let queries = self.0.par_iter().zip(rankings).with_min_len(QUERIES);
        queries.map_init(table, score).flatten_iter().collect()
    }

    /// The least number of documents that there must be.
    fn documents(&self) -> usize {
        let last = self.0.iter().filter_map(|judged| judged.grades.last());
        last.map(|&(document, _)| document.saturating_add(1)).max().unwrap_or(0)
    }
}

/// The grades of the documents judged for one query, collected from documents and their grades. If a document occurs
/// twice, its last grade counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judged {
    /// The grades, sorted by document.
    grades: Vec<(usize, i32)>,
    /// The grades of relevant documents, the highest first, including absent ones.
    relevant: Vec<i32>,
    /// The grades of judged documents that the collection does not hold, the highest first.
    absent: Vec<i32>,
}

impl Judged {
    /// Returns each judged document and its grade, sorted by document.
    pub fn grades(&self) -> &[(usize, i32)] {
        &self.grades
    }

    /// Adds the grades of judged documents that the collection does not hold. No ranking finds them, but they
    /// count among the relevant ones, as in trec_eval and BEIR.
    ///
    /// ```
    /// # use embosk::evaluate::retrieval::{Judged, ndcg, recall};
    /// let judged = Judged::from([(7, 1)]).with_absent([1]);
    /// let found = judged.graded([7, 5]);
    /// assert_eq!(recall(&found, 10), Some(0.5));
    /// assert_eq!(ndcg(&found, 10), Some(1.0 / (1.0 + 1.0 / 3_f64.log2())));
    /// ```
    pub fn with_absent(mut self, grades: impl IntoIterator<Item = i32>) -> Self {
        self.absent.extend(grades);
        self.absent.sort_unstable_by(|a, b| b.cmp(a));
        let grades = self.grades.iter().map(|&(_, grade)| grade).chain(self.absent.iter().copied());
        self.relevant = relevant(grades);
        self
    }

    /// The grades of judged documents that the collection does not hold, the highest first.
    pub fn absent(&self) -> &[i32] {
        &self.absent
    }

    /// Whether anything is judged.
    fn is_judged(&self) -> bool {
        !(self.grades.is_empty() && self.absent.is_empty())
    }

    /// Turns a ranking of documents, the best first, into the grades that it found. No document may be in it twice.
    ///
    /// ```
    /// # use embosk::evaluate::retrieval::{Judged, recall};
    /// let judged = Judged::from([(7, 1), (3, 2)]);
    /// assert_eq!(recall(&judged.graded([5, 7]), 10), Some(0.5));
    /// ```
    pub fn graded(&self, ranking: impl IntoIterator<Item = usize>) -> Graded<'_> {
        let found = ranking.into_iter().map(|document| self.grade(document)).collect();
        Graded { found, relevant: &self.relevant, is_judged: self.is_judged() }
    }

    /// The same with a table of zeros, one for each document, which is all zeros again afterwards.
    fn graded_by(&self, table: &mut [i32], ranking: impl Iterator<Item = usize>) -> Graded<'_> {
        for &(document, grade) in &self.grades {
            table[document] = grade;
        }
        let found = ranking.map(|document| table.get(document).copied().unwrap_or(0)).collect();
        for &(document, _) in &self.grades {
            table[document] = 0;
        }
        Graded { found, relevant: &self.relevant, is_judged: self.is_judged() }
    }

    fn grade(&self, document: usize) -> i32 {
        let place = self.grades.binary_search_by_key(&document, |&(document, _)| document);
        place.map_or(0, |place| self.grades[place].1)
    }
}

impl FromIterator<(usize, i32)> for Judged {
    fn from_iter<I: IntoIterator<Item = (usize, i32)>>(grades: I) -> Self {
        let mut grades: Vec<(usize, i32)> = grades.into_iter().collect();
        // the last of each document comes first, and stays
        grades.reverse();
        grades.sort_by_key(|&(document, _)| document);
        grades.dedup_by_key(|&mut (document, _)| document);
        let relevant = relevant(grades.iter().map(|&(_, grade)| grade));
        Self { grades, relevant, absent: Vec::new() }
    }
}

/// The grades of relevant documents, the highest first.
fn relevant(grades: impl Iterator<Item = i32>) -> Vec<i32> {
    let mut relevant: Vec<i32> = grades.filter(|&grade| grade > 0).collect();
    relevant.sort_unstable_by(|a, b| b.cmp(a));
    relevant
}

impl<const N: usize> From<[(usize, i32); N]> for Judged {
    fn from(grades: [(usize, i32); N]) -> Self {
        grades.into_iter().collect()
    }
}

/// What a ranking found for one query ([`Judged::graded`]), to be scored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graded<'a> {
    /// The grade of each document of the ranking; 0 for one that was not judged.
    pub(super) found: Vec<i32>,
    /// The grades of all relevant documents, the highest first.
    pub(super) relevant: &'a [i32],
    /// Whether there are judgements for the query at all.
    pub(super) is_judged: bool,
}

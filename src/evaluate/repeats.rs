use super::report::{Report, Row};

/// A row, and the adversaries of the same defense that did exactly the same: their knowledge gained them nothing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DistinctRow<'a> {
    /// The first of the equal rows.
    pub row: &'a Row,
    /// The adversaries of the others.
    pub same: Vec<&'a str>,
}

impl Report {
    /// Returns the rows, and of equal ones only the first.
    ///
    /// Two rows of a defense are equal if all their scores are, and the scores of each text.
    pub fn distinct_rows(&self) -> Vec<DistinctRow<'_>> {
        let mut distinct: Vec<DistinctRow<'_>> = Vec::new();
        for row in &self.rows {
            match distinct.iter_mut().find(|other| row.repeats(other.row)) {
                // a stack that is given twice
                Some(first) if first.row.adversary == row.adversary => {}
                Some(first) => first.same.push(&row.adversary),
                None => distinct.push(DistinctRow { row, same: Vec::new() }),
            }
        }
        distinct
    }
}

impl Row {
    fn repeats(&self, other: &Self) -> bool {
        let is_attacked = self.n > 0 && self.n == other.n;
        is_attacked
            && self.defense == other.defense
            && self.scores == other.scores
            && self.texts == other.texts
    }
}

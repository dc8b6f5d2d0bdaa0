//! Linear assignment: gives each row its own column, at the least total cost.

use faer::MatRef;

/// Returns the column of each row. `costs` has at least as many columns as rows, and all values are finite.
///
/// It uses shortest augmenting paths with prices on rows and columns (Jonker & Volgenant 1987; the Hungarian method
/// of Kuhn 1955 and Munkres 1957): `O(rows² · columns)`.
pub(crate) fn assignment(costs: MatRef<'_, f64>) -> Vec<usize> {
    let columns = costs.ncols();
    let mut prices = Prices { rows: vec![0.0; costs.nrows()], columns: vec![0.0; columns] };
    let mut owner: Vec<Option<usize>> = vec![None; columns];
    for row in 0..costs.nrows() {
        let (mut column, before) = prices.shortest_path(costs, row, &owner);
        // along the path, each column goes to the row before it
        while let Some(previous) = before[column] {
            owner[column] = owner[previous];
            column = previous;
        }
        owner[column] = Some(row);
    }
    let mut found = vec![0; costs.nrows()];
    for (column, row) in owner.into_iter().enumerate() {
        if let Some(row) = row {
            found[row] = column;
        }
    }
    found
}

struct Prices {
    rows: Vec<f64>,
    columns: Vec<f64>,
}

impl Prices {
    /// The cheapest path from `row` to a column without an owner: that column, and for each column the previous one
    /// on the path, if any.
    fn shortest_path(
        &mut self,
        costs: MatRef<'_, f64>,
        row: usize,
        owner: &[Option<usize>],
    ) -> (usize, Vec<Option<usize>>) {
        let columns = owner.len();
        let (mut distance, mut before) = (vec![f64::INFINITY; columns], vec![None; columns]);
        let mut visited: Vec<usize> = Vec::new();
        let mut open: Vec<usize> = (0..columns).collect();
        let (mut row, mut from, mut travelled) = (row, None, 0.0);
        let start = row;
        loop {
            let (mut closest, mut place) = (f64::INFINITY, 0);
            for (at, &column) in open.iter().enumerate() {
                let through = travelled + costs[(row, column)] - self.rows[row] - self.columns[column];
                if through < distance[column] {
                    (distance[column], before[column]) = (through, from);
                }
                if distance[column] < closest {
                    (closest, place) = (distance[column], at);
                }
            }
            let column = open.swap_remove(place);
            travelled = closest;
            let Some(next) = owner[column] else {
                self.adjust(start, travelled, &distance, &visited, owner);
                return (column, before);
            };
            visited.push(column);
            (row, from) = (next, Some(column));
        }
    }

    fn adjust(
        &mut self,
        start: usize,
        travelled: f64,
        distance: &[f64],
        visited: &[usize],
        owner: &[Option<usize>],
    ) {
        self.rows[start] += travelled;
        for &column in visited {
            let left = travelled - distance[column];
            self.columns[column] -= left;
            if let Some(row) = owner[column] {
                self.rows[row] += left;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::Mat;
    use proptest::prelude::*;

    fn cost(costs: &Mat<f64>, columns: &[usize]) -> f64 {
        columns.iter().enumerate().map(|(row, &column)| costs[(row, column)]).sum()
    }

    /// The least cost over all ways to give each row from `row` on its own column.
    fn least(costs: &Mat<f64>, row: usize, taken: &mut Vec<usize>) -> f64 {
        if row == costs.nrows() {
            return cost(costs, taken);
        }
        let mut least_so_far = f64::INFINITY;
        for column in 0..costs.ncols() {
            if !taken.contains(&column) {
                taken.push(column);
                least_so_far = least_so_far.min(least(costs, row + 1, taken));
                taken.pop();
            }
        }
        least_so_far
    }

    proptest! {
        #[test]
        fn no_other_assignment_is_cheaper(
            values in prop::collection::vec(-10..10_i32, 42), rows in 1..6_usize, more in 0..2_usize,
        ) {
            let columns = rows + more;
            let costs = Mat::from_fn(rows, columns, |row, column| f64::from(values[row * columns + column]));
            let found = assignment(costs.as_ref());
            let mut distinct = found.clone();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(distinct.len(), rows);
            prop_assert!((cost(&costs, &found) - least(&costs, 0, &mut Vec::new())).abs() < 1e-9);
        }
    }

    #[test]
    fn a_shuffle_is_undone() {
        let place = |row: usize| (row * 7 + 3) % 50;
        let costs = Mat::from_fn(50, 50, |row, column| if place(row) == column { 0.0 } else { 1.0 });
        assert_eq!(assignment(costs.as_ref()), (0..50).map(place).collect::<Vec<_>>());
    }
}

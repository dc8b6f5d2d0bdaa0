//! Affine maps of rows.

use faer::{Mat, MatRef, Row};

/// Rows `x` go to `x · map + offset`.
#[derive(Debug, Clone)]
pub(super) struct Affine {
    pub(super) map: Mat<f64>,
    pub(super) offset: Row<f64>,
}

impl Affine {
    pub(super) fn linear(map: Mat<f64>) -> Self {
        let offset = Row::zeros(map.ncols());
        Self { map, offset }
    }

    pub(super) fn times(self, scale: f64) -> Self {
        Self { map: faer::Scale(scale) * self.map, offset: faer::Scale(scale) * self.offset }
    }

    pub(super) fn dimension(&self) -> usize {
        self.map.nrows()
    }

    pub(super) fn apply(&self, rows: MatRef<'_, f64>) -> Mat<f64> {
        let mut mapped = rows * &self.map;
        mapped.row_iter_mut().for_each(|mut row| row += &self.offset);
        mapped
    }
}

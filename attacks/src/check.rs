//! The checks of what a map is fitted on or applied to.

use ndarray::{ArrayView2, Axis};

use crate::Error;

pub(crate) fn check(protected: ArrayView2<'_, f32>, clean: ArrayView2<'_, f32>) -> Result<(), Error> {
    if protected.is_empty() || clean.is_empty() {
        return Err(Error::Empty("the set of pairs to fit on"));
    }
    if protected.nrows() != clean.nrows() {
        let (protected, clean) = (protected.nrows(), clean.nrows());
        return Err(Error::Setting(format!(
            "{protected} protected vectors do not pair with {clean} clean ones"
        )));
    }
    check_finite(protected)?;
    check_finite(clean)
}

pub(crate) fn check_finite(vectors: ArrayView2<'_, f32>) -> Result<(), Error> {
    let finite = |row: ndarray::ArrayView1<'_, f32>| row.iter().all(|value| value.is_finite());
    match vectors.axis_iter(Axis(0)).position(|row| !finite(row)) {
        Some(row) => Err(Error::NotFinite { row }),
        None => Ok(()),
    }
}

pub(crate) fn check_dimension(expected: usize, vectors: ArrayView2<'_, f32>) -> Result<(), Error> {
    match vectors.ncols() {
        found if found == expected => Ok(()),
        found => Err(Error::Dimension { expected, found }),
    }
}

//! A defense under test, the vectors that it gets, and how outputs are compared.

use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use crate::{Defense, Error, Registry, Rng, Role};

/// Nothing, or a description of how a law is broken.
pub(super) type Verdict = Result<(), String>;

pub(super) const ROLES: [Role; 2] = [Role::Document, Role::Query];

/// The part of a row's norm that another order of `f32` sums may change.
const TOLERANCE: f32 = 1e-5;

/// How a fresh defense under test is made, its dimension, and the registry that reads its spec.
pub(super) struct Subject<'a> {
    pub(super) dim: usize,
    pub(super) registry: &'a Registry,
    make: &'a dyn Fn() -> Box<dyn Defense>,
}

impl<'a> Subject<'a> {
    pub(super) fn new(dim: usize, registry: &'a Registry, make: &'a dyn Fn() -> Box<dyn Defense>) -> Self {
        Self { dim, registry, make }
    }

    pub(super) fn fresh(&self) -> Box<dyn Defense> {
        (self.make)()
    }

    /// Whether what comes out has the dimension of what goes in, so that vectors can be protected in place.
    pub(super) fn keeps_the_dimension(&self) -> bool {
        keeps(&*self.fresh(), self.dim)
    }

    pub(super) fn rows(&self, rows: usize) -> Array2<f32> {
        unit_rows(rows, self.dim)
    }
}

/// Rows of norm 1 in all directions, `[rows, dim]`.
pub(super) fn unit_rows(rows: usize, dim: usize) -> Array2<f32> {
    let mut rng = Rng::seeded(rows as u64);
    let mut normals = rng.standard_normals();
    let mut vectors = Array2::from_shape_simple_fn((rows, dim), || normals.draw() as f32);
    vectors.rows_mut().into_iter().for_each(|mut row| row /= row.dot(&row).sqrt());
    vectors
}

/// Returns what `defense` makes of a contiguous copy of `vectors`, always with the same randomness.
pub(super) fn protected(
    defense: &dyn Defense,
    role: Role,
    vectors: ArrayView2<'_, f32>,
) -> Result<Array2<f32>, String> {
    let mut copy = vectors.as_standard_layout().into_owned();
    accept(defense, role, &mut copy)?;
    Ok(copy)
}

/// Protects vectors that must not be refused.
pub(super) fn accept(defense: &dyn Defense, role: Role, vectors: &mut Array2<f32>) -> Verdict {
    let shape = vectors.dim();
    let refusal = attempt(defense, role, vectors);
    refusal.map_err(|error| refused(role, shape, &error))
}

/// Protects a view, in place, that must not be refused.
pub(super) fn accept_view(defense: &dyn Defense, role: Role, vectors: ArrayViewMut2<'_, f32>) -> Verdict {
    let shape = vectors.dim();
    let refusal = defense.protect(role, vectors, &mut rng());
    refusal.map_err(|error| refused(role, shape, &error))
}

fn refused(role: Role, shape: (usize, usize), error: &Error) -> String {
    format!("{role:?} vectors of shape {shape:?} are refused: {error}")
}

/// Protects vectors in place, or replaces them by the output if the defense changes the dimension.
pub(super) fn attempt(defense: &dyn Defense, role: Role, vectors: &mut Array2<f32>) -> Result<(), Error> {
    if keeps(defense, vectors.ncols()) {
        return defense.protect(role, vectors.view_mut(), &mut rng());
    }
    *vectors = defense.protect_owned(role, vectors.clone(), &mut rng())?;
    Ok(())
}

/// As [`attempt`], with ids.
pub(super) fn attempt_by_ids(
    defense: &dyn Defense,
    role: Role,
    ids: &[String],
    vectors: &mut Array2<f32>,
    seed: u64,
) -> Result<(), Error> {
    let ids: Vec<&[u8]> = ids.iter().map(String::as_bytes).collect();
    if keeps(defense, vectors.ncols()) {
        return defense.protect_with_ids(role, &ids, vectors.view_mut(), &mut Rng::seeded(seed));
    }
    *vectors = defense.protect_owned_with_ids(role, &ids, vectors.clone(), &mut Rng::seeded(seed))?;
    Ok(())
}

/// A dimension that the defense refuses counts as kept: `protect` refuses it too.
fn keeps(defense: &dyn Defense, dim: usize) -> bool {
    defense.dimension(dim).map_or(true, |output| output == dim)
}

/// Randomness that is always the same.
pub(super) fn rng() -> Rng {
    Rng::seeded(3)
}

pub(super) fn demand(holds: bool, broken: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(broken()) }
}

pub(super) fn demand_finite(vectors: &Array2<f32>, role: Role) -> Verdict {
    let row = vectors.rows().into_iter().position(|row| row.iter().any(|x| !x.is_finite()));
    demand(row.is_none(), || format!("row {} of {role:?} vectors is not finite", row.unwrap_or(0)))
}

/// Demands equal bits, so that even a NaN or the sign of a zero counts as a change.
pub(super) fn demand_same(found: &Array2<f32>, expected: &Array2<f32>, what: &str) -> Verdict {
    demand(found.mapv(f32::to_bits) == expected.mapv(f32::to_bits), || what.to_owned())
}

/// Demands rows that differ only by rounding.
pub(super) fn demand_close(found: ArrayView2<'_, f32>, expected: ArrayView2<'_, f32>, what: &str) -> Verdict {
    let mut rows = found.rows().into_iter().zip(expected.rows());
    let far = rows.position(|(found, expected)| {
        let allowed = TOLERANCE * expected.dot(&expected).sqrt().max(1.0);
        // Written so that a NaN is far from everything.
        !found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= allowed)
    });
    demand(far.is_none(), || format!("{what}: row {} differs", far.unwrap_or(0)))
}

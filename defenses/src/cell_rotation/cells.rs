//! Cells of a space, and how they are stored.

use std::fmt;
use std::path::Path;

use ndarray::{Array2, ArrayRef2, ArrayView2, Axis};

use super::complement::Complement;
use crate::codes::digits_of_fit;
use crate::parallel::for_pieces;
use crate::product::kmeans::{self, Centroids};
use crate::projection::eigen::eigenvectors;
use crate::stored::{Format, load};
use crate::{Error, Rng, check_finite};

const FORMAT: Format = Format {
    name: "embosk cells v",
    version: "1\n",
    otherwise: "cells begin with `embosk cells`; `embosk fit cells` or `Cells::to_bytes` gives them",
};

/// How far products of stored components may be from those of orthonormal ones.
const ORTHONORMAL: f32 = 1e-3;
/// The seed of the centroids that a cell is divided by.
const SEED: u64 = 7;
/// The most rounds of dividing; a million vectors in cells of a thousand take a dozen.
const ROUNDS: usize = 100;
/// The largest dimension, as of a [rotation](crate::Rotation).
const MAX_DIM: usize = 8192;

/// A division of the space into cells, by a few principal components.
///
/// A vector is in the cell whose centroid is nearest in these components. Cells are public: they hold averages of the
/// vectors that they were fitted on.
#[derive(Clone, PartialEq)]
pub struct Cells {
    max: usize,
    /// `[dims, dim]`, orthonormal rows
    components: Array2<f32>,
    /// `[cells, dims]`
    centroids: Array2<f32>,
    search: Centroids,
    complement: Complement,
}

impl Cells {
    /// Divides the space so that no cell holds more than `max` of the `stored` vectors, `[rows, dim]`, by `dims`
    /// principal components: the directions in which the vectors are longest. Too large a cell is divided in two
    /// until there is none; one whose vectors are all equal is left.
    ///
    /// As documents come, cells grow. [`sizes`](Self::sizes) says how large they have become.
    ///
    /// # Errors
    /// [`Error::Setting`] if `dims` is not from 1 to `dim`, `max` is 0, or there are fewer rows than components;
    /// [`Error::NotFinite`] for a row that holds no numbers.
    pub fn fit(stored: ArrayView2<'_, f32>, dims: usize, max: usize) -> Result<Self, Error> {
        let (rows, dim) = stored.dim();
        if !(1..=dim.min(MAX_DIM)).contains(&dims) {
            return Err(Error::Setting { name: "dims", expected: "from 1 to the vectors' dimension" });
        }
        if max == 0 {
            return Err(Error::Setting { name: "max", expected: "a whole number from 1 on" });
        }
        if rows < dims {
            return Err(Error::Setting {
                name: "stored",
                expected: "of at least as many rows as components",
            });
        }
        check_finite(&stored)?;
        let wide = stored.mapv(f64::from);
        let moments = wide.t().dot(&wide) / rows as f64;
        let components = eigenvectors(moments, dims).mapv(|x| x as f32);
        let points = stored.dot(&components.t());
        let centroids = divided(points.view(), max);
        Ok(Self::of(max, components, centroids))
    }

    fn of(max: usize, components: Array2<f32>, centroids: Array2<f32>) -> Self {
        let search = Centroids::new(centroids.view());
        let complement = Complement::of(components.view());
        Self { max, components, centroids, search, complement }
    }

    /// Returns how many cells there are.
    #[allow(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.centroids.nrows()
    }

    /// Returns how many components decide the cell.
    pub fn dims(&self) -> usize {
        self.components.nrows()
    }

    /// Returns the vectors' dimension.
    pub fn dim(&self) -> usize {
        self.components.ncols()
    }

    /// Returns how many vectors a cell should hold at most.
    pub fn max(&self) -> usize {
        self.max
    }

    /// Returns the cell of each of `vectors`, `[rows, dim]`, as a number from 0.
    ///
    /// # Errors
    /// [`Error::Dimension`] if the cells are of other vectors, and [`Error::NotFinite`] for a row that holds no
    /// numbers.
    pub fn of_vectors(&self, vectors: ArrayView2<'_, f32>) -> Result<Vec<usize>, Error> {
        self.check(&vectors)?;
        let mut places = vec![0; vectors.nrows()];
        for_pieces((places.as_mut_slice(), vectors), vectors.ncols(), 1, |_, (places, vectors)| {
            places.copy_from_slice(&self.nearest(vectors));
        });
        Ok(places)
    }

    /// Returns how many of `vectors`, `[rows, dim]`, each cell holds.
    ///
    /// # Errors
    /// As [`of_vectors`](Self::of_vectors).
    pub fn sizes(&self, vectors: ArrayView2<'_, f32>) -> Result<Vec<usize>, Error> {
        let mut sizes = vec![0; self.len()];
        for place in self.of_vectors(vectors)? {
            sizes[place] += 1;
        }
        Ok(sizes)
    }

    pub(super) fn nearest(&self, vectors: ArrayView2<'_, f32>) -> Vec<usize> {
        // sums in f64 and in order: on every machine, a vector is in the same cell
        let mut points = Array2::zeros((vectors.nrows(), self.dims()));
        for (mut point, vector) in points.rows_mut().into_iter().zip(vectors.rows()) {
            for (x, component) in point.iter_mut().zip(self.components.rows()) {
                let product = |(a, b): (&f32, &f32)| f64::from(*a) * f64::from(*b);
                *x = vector.iter().zip(component).map(product).fold(0.0, |sum, x| sum + x) as f32;
            }
        }
        let mut places = vec![0; vectors.nrows()];
        self.search.nearest_of_each(points.view(), |row, (place, _)| places[row] = place);
        places
    }

    pub(super) fn complement(&self) -> &Complement {
        &self.complement
    }

    pub(super) fn check(&self, vectors: &ArrayRef2<f32>) -> Result<(), Error> {
        check_finite(vectors)?;
        match vectors.ncols() {
            found if found == self.dim() || vectors.nrows() == 0 => Ok(()),
            found => Err(Error::Dimension { expected: self.dim(), found }),
        }
    }

    /// A few digits of a hash of the numbers.
    pub(super) fn digits(&self) -> String {
        digits_of_fit(self.numbers())
    }

    fn numbers(&self) -> impl Iterator<Item = &f32> {
        self.components.iter().chain(&self.centroids)
    }

    /// Returns the cells as bytes, for [`from_bytes`](Self::from_bytes).
    pub fn to_bytes(&self) -> Vec<u8> {
        FORMAT.write(&[self.len(), self.dims(), self.dim(), self.max], self.numbers())
    }

    /// Reads cells from what [`to_bytes`](Self::to_bytes) gave.
    ///
    /// # Errors
    /// [`Error::Fit`] if the bytes are not cells of a version known here, or are damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let count =
            |[cells, dims, dim, _]: [usize; 4]| dims.checked_mul(dim)?.checked_add(cells.checked_mul(dims)?);
        let ([cells, dims, dim, max], mut numbers) = FORMAT.read(bytes, count)?;
        if cells == 0 || max == 0 || !(1..=MAX_DIM).contains(&dim) || !(1..=dim).contains(&dims) {
            return Err(Error::Fit("its shape is not that of cells"));
        }
        if !numbers.iter().all(|x| x.abs() <= 1e30) {
            return Err(Error::Fit("it holds numbers that are not finite or beyond 1e30"));
        }
        let centroids = numbers.split_off(dims * dim);
        let misshapen = |_| Error::Fit("it does not hold as many numbers as its shape says");
        let components = Array2::from_shape_vec((dims, dim), numbers).map_err(misshapen)?;
        let centroids = Array2::from_shape_vec((cells, dims), centroids).map_err(misshapen)?;
        let products = components.dot(&components.t()) - Array2::<f32>::eye(dims);
        if products.iter().any(|far| far.abs() > ORTHONORMAL) {
            return Err(Error::Fit("its components are not orthonormal"));
        }
        Ok(Self::of(max, components, centroids))
    }

    /// Reads cells from the file at `path`.
    ///
    /// # Errors
    /// [`Error::FitFile`] if the file cannot be read or does not hold cells.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        load(path.as_ref(), Self::from_bytes)
    }
}

impl fmt::Debug for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Cells({} of at most {}, by {} of {} dimensions)",
            self.len(),
            self.max,
            self.dims(),
            self.dim()
        )
    }
}

/// Centroids, `[cells, dims]`, so that each is the nearest of at most `max` points, if points differ.
fn divided(points: ArrayView2<'_, f32>, max: usize) -> Array2<f32> {
    let rng = &mut Rng::seeded(SEED);
    let mut centroids = points.mean_axis(Axis(0)).unwrap_or_default().insert_axis(Axis(0));
    for _ in 0..ROUNDS {
        let members = members(points, &centroids);
        let mut next = Vec::new();
        let mut any = false;
        for (centroid, rows) in centroids.rows().into_iter().zip(members) {
            let own = points.select(Axis(0), &rows);
            let is_large = rows.len() > max && own.rows().into_iter().any(|row| row != own.row(0));
            if is_large {
                any = true;
                let halves = kmeans::fit(own.view(), 2, rng);
                next.extend(halves.axis_iter(Axis(0)).map(|half| half.to_owned()));
            } else if !rows.is_empty() {
                next.push(centroid.to_owned());
            }
        }
        let rows: Vec<_> = next.iter().map(|row| row.view()).collect();
        let Ok(now) = ndarray::stack(Axis(0), &rows) else { return centroids };
        centroids = now;
        if !any {
            break;
        }
    }
    centroids
}

/// The rows that are nearest to each centroid.
fn members(points: ArrayView2<'_, f32>, centroids: &Array2<f32>) -> Vec<Vec<usize>> {
    let mut members = vec![Vec::new(); centroids.nrows()];
    Centroids::new(centroids.view()).nearest_of_each(points, |row, (place, _)| members[place].push(row));
    members
}

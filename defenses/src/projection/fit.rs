//! Principal components of a sample, and how they are stored.

use ndarray::{Array1, Array2, ArrayView2, Axis, s};

use super::Projection;
use super::eigen::eigenvectors;
use super::linear::Linear;
use crate::codes::digits_of_fit;
use crate::stored::Format;
use crate::{Error, check_finite};

/// The largest dimension, as of a [rotation](crate::Rotation).
const MAX_DIM: usize = 8192;

/// Whitening multiplies no coordinate by more than this.
const MAX_WEIGHT: f64 = 100.0;

/// How far products of stored components may be from those of orthonormal ones.
const ORTHONORMAL: f32 = 1e-3;

const FORMAT: Format = Format {
    name: "embosk projection v",
    version: "1\n",
    otherwise: "a projection begins with `embosk projection`; `embosk fit projection` writes one",
};

/// How a [`Projection`] is fitted.
///
/// ```
/// use embosk_defenses::{Projection, ProjectionFit};
/// use ndarray::array;
///
/// let documents = array![[0.0_f32, 3.0, 0.1], [0.0, -3.0, 0.0], [0.1, 1.0, 0.0], [0.0, -1.0, 0.1]];
/// let queries = array![[0.0_f32, 2.0, 0.5], [0.1, 2.0, -0.5]];
/// let fit = ProjectionFit::new(2).whiten(true).queries(queries.view(), 0.5);
/// let projection: Projection = fit.fit(documents.view())?;
/// assert_eq!(projection.dims(), 2);
/// # Ok::<(), embosk_defenses::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ProjectionFit<'a> {
    dims: usize,
    whiten: bool,
    queries: Option<(ArrayView2<'a, f32>, f64)>,
}

impl<'a> ProjectionFit<'a> {
    /// Creates the fit of `dims` principal components: the orthonormal directions along which the sample varies
    /// most.
    pub fn new(dims: usize) -> Self {
        Self { dims, whiten: false, queries: None }
    }

    /// Sets whether the components are whitened: each coordinate is divided by its standard deviation, and all are
    /// multiplied by one number, so that their mean variance stays as it was. Noise then covers all components
    /// equally. No coordinate is multiplied by more than 100. Default: no.
    pub fn whiten(self, whiten: bool) -> Self {
        Self { whiten, ..self }
    }

    /// Weights the components by sample `queries`, `[rows, dim]`: directions along which queries vary are preferred.
    /// `weight`, from 0 to 1, is the share of the queries in the covariance whose eigenvectors are the components;
    /// documents and queries first get equal total variance. Default: only documents.
    pub fn queries(self, queries: ArrayView2<'a, f32>, weight: f64) -> Self {
        Self { queries: Some((queries, weight)), ..self }
    }

    /// Fits the projection to `sample`, `[rows, dim]`, vectors of documents as the projection will get them.
    ///
    /// The time is proportional to `rows · dim² + dim³`: seconds for 768 dimensions.
    ///
    /// # Errors
    /// [`Error::Setting`] if the number of components is not from 1 to `dim`, `dim` is more than 8192, the sample has
    /// no more rows than components, or the weight is not from 0 to 1; [`Error::Dimension`] if the queries have
    /// another dimension; [`Error::NotFinite`] for a row that is not finite.
    pub fn fit(&self, sample: ArrayView2<'_, f32>) -> Result<Projection, Error> {
        let (rows, dim) = sample.dim();
        if dim > MAX_DIM {
            return Err(Error::Setting { name: "sample", expected: "of at most 8192 dimensions" });
        }
        if !(1..=dim).contains(&self.dims) {
            return Err(Error::Setting { name: "dims", expected: "from 1 to the sample's dimension" });
        }
        if rows <= self.dims {
            return Err(Error::Setting { name: "sample", expected: "of more rows than components" });
        }
        check_finite(&sample)?;
        let sample = sample.mapv(f64::from);
        let mean = sample.sum_axis(Axis(0)) / rows as f64;
        let documents = covariance(sample, &mean);
        let directions = eigenvectors(self.weighted(documents.clone(), &mean)?, self.dims);
        Ok(Projection::of(Components::new(&mean, &directions, &documents, self.whiten).into(), self.dims))
    }

    fn weighted(&self, documents: Array2<f64>, mean: &Array1<f64>) -> Result<Array2<f64>, Error> {
        let Some((queries, weight)) = self.queries else { return Ok(documents) };
        if !(0.0..=1.0).contains(&weight) {
            return Err(Error::Setting { name: "weight", expected: "a number from 0 to 1" });
        }
        if queries.ncols() != mean.len() {
            return Err(Error::Dimension { expected: mean.len(), found: queries.ncols() });
        }
        if queries.nrows() == 0 {
            return Err(Error::Setting { name: "queries", expected: "one row at least" });
        }
        check_finite(&queries)?;
        // Queries are projected about the documents' mean too, so they vary about that.
        let queries = covariance(queries.mapv(f64::from), mean);
        let shares = [(documents, 1.0 - weight), (queries, weight)];
        Ok(shares.into_iter().fold(Array2::zeros((mean.len(), mean.len())), |sum, (covariance, share)| {
            let total = covariance.diag().sum();
            if total > 0.0 { sum + covariance * (share / total) } else { sum }
        }))
    }
}

/// The covariance, `[dim, dim]`, of `vectors`, `[rows, dim]`, about `mean`.
fn covariance(mut vectors: Array2<f64>, mean: &Array1<f64>) -> Array2<f64> {
    vectors -= mean;
    vectors.t().dot(&vectors) / vectors.nrows() as f64
}

/// What was fitted.
#[derive(PartialEq)]
pub(super) struct Components {
    pub(super) mean: Array1<f32>,
    /// The sample's variance along each direction.
    pub(super) variances: Vec<f32>,
    /// Orthonormal rows, `[components, dim]`.
    directions: Array2<f32>,
    pub(super) whitened: bool,
    /// Names the fit by its content.
    pub(super) digits: String,
}

impl Components {
    fn new(mean: &Array1<f64>, directions: &Array2<f64>, documents: &Array2<f64>, whitened: bool) -> Self {
        let along = directions.dot(documents);
        let variances =
            along.rows().into_iter().zip(directions.rows()).map(|(a, b)| a.dot(&b).max(0.0) as f32);
        let variances = variances.collect();
        Self::named(mean.mapv(|x| x as f32), variances, directions.mapv(|x| x as f32), whitened)
    }

    fn named(mean: Array1<f32>, variances: Vec<f32>, directions: Array2<f32>, whitened: bool) -> Self {
        let whiten = if whitened { 1.0 } else { 0.0 };
        let numbers = mean.iter().chain(&variances).chain(&directions).chain([&whiten]);
        let digits = digits_of_fit(numbers);
        Self { mean, variances, directions, whitened, digits }
    }

    /// The map to the first `dims` components.
    pub(super) fn linear(&self, dims: usize) -> Linear {
        let directions = self.directions.slice(s![..dims, ..]);
        Linear::fitted(self.mean.view(), directions, &self.weights(dims))
    }

    /// What each of the first `dims` coordinates is multiplied by.
    fn weights(&self, dims: usize) -> Vec<f64> {
        let variances = self.variances[..dims].iter().map(|&variance| f64::from(variance));
        let mean = variances.clone().sum::<f64>() / dims as f64;
        let weight = |variance: f64| if variance > 0.0 { libm::sqrt(mean / variance) } else { MAX_WEIGHT };
        variances.map(|variance| if self.whitened { weight(variance).min(MAX_WEIGHT) } else { 1.0 }).collect()
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let shape = [self.mean.len(), self.variances.len(), usize::from(self.whitened)];
        FORMAT.write(&shape, self.mean.iter().chain(&self.variances).chain(&self.directions))
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let count = |[dim, components, _]: [usize; 3]| {
            components.checked_mul(dim)?.checked_add(dim)?.checked_add(components)
        };
        let ([dim, components, whitened], numbers) = FORMAT.read(bytes, count)?;
        if !(1..=MAX_DIM).contains(&dim) || !(1..=dim).contains(&components) || whitened > 1 {
            return Err(Error::Fit("its shape is not that of a projection"));
        }
        if !numbers.iter().all(|x| x.abs() <= 1e30) {
            return Err(Error::Fit("it holds numbers that are not finite or beyond 1e30"));
        }
        let (mean, rest) = numbers.split_at(dim);
        let (variances, directions) = rest.split_at(components);
        let directions = Array2::from_shape_vec((components, dim), directions.to_vec())
            .map_err(|_| Error::Fit("it does not hold as many numbers as its shape says"))?;
        if !is_orthonormal(&directions) || variances.iter().any(|variance| *variance < 0.0) {
            return Err(Error::Fit("its components are not orthonormal, or a variance is negative"));
        }
        Ok(Self::named(Array1::from(mean.to_vec()), variances.to_vec(), directions, whitened == 1))
    }
}

fn is_orthonormal(rows: &Array2<f32>) -> bool {
    let products = rows.dot(&rows.t());
    products.indexed_iter().all(|((a, b), product)| {
        let expected = if a == b { 1.0 } else { 0.0 };
        (product - expected).abs() <= ORTHONORMAL
    })
}

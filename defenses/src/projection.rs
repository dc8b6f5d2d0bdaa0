mod eigen;
mod fit;
mod linear;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use ndarray::{Array2, ArrayRef2, ArrayView2, ArrayViewMut2};

pub use fit::ProjectionFit;

use crate::bound::Bound;
use crate::spec::{Part, Value};
use crate::stored::load;
use crate::{Defense, Error, Guarantee, Key, Rng, Role, Spec, check_finite};
use fit::Components;
use linear::Linear;

/// Names the defense and the version of its format: other directions need another label.
const PURPOSE: &str = "embosk projection v1";

/// Keeps a few coordinates of many: the principal components of a sample, or random directions under a key.
///
/// # What it does
/// Replaces each vector of `dim` coordinates by `dims` coordinates. What lies outside these directions is lost. There
/// are two kinds:
///
/// - **Fitted**, [`fit`](Self::fit): the coordinates of the vector, less the sample's mean, along the sample's first
///   principal components. The rows of the result are shorter than the vectors: their squared norms are at most the
///   share of the variance that the components hold. No distance becomes larger. [`ProjectionFit`] has the options:
///   whitened components, and components weighted by sample queries.
/// - **Keyed**, [`keyed`](Self::keyed): the coordinates along `dims` orthogonal directions that the key
///   determines, times `√(dim / dims)`, so that norms and inner products are kept on average (Johnson and
///   Lindenstrauss, 1984). It needs no sample, and keeps less of what a search needs.
///
/// [`first`](Self::first) takes the first components of a fit. Under one key, a smaller number of directions gives
/// the first of a larger one.
///
/// # Who it stops
/// With noise after it, an attacker who looks for a fact: what tells one name or figure from another mostly lies
/// outside the first components. A keyed projection also stops an attacker who has only vectors.
///
/// # Who it does not
/// - **Without noise, an attacker who can list candidates.** They project each and take the nearest. With 16
///   components of all-MiniLM-L6-v2, the right one of 64 candidates is the nearest each time.
/// - **An attacker who asks for the topic.** The first components hold it; that is why a search still works.
/// - **With a key, an attacker who has pairs** of text and vector: about `dims` of them show the directions.
///
/// The fit is not a key: it can be guessed well enough from vectors of the same kind. Its mean and its components are
/// averages of the sample's vectors, so fit on vectors that may be known.
///
/// # What it costs in retrieval
/// The order of the best few documents suffers most, and that of the best few hundred less. So a store that holds
/// coarse vectors finds candidates, which an application then ranks by the exact vectors. On Cranfield, 16 components
/// of all-MiniLM-L6-v2 alone keep 0.57 of nDCG@10; if the best 100 are ranked exactly, they keep 0.96. Compare coarse
/// vectors by cosine, even after noise. With noise of 0.1 on documents and queries and the best 200 ranked exactly,
/// 16 components keep 0.93 by cosine, 0.92 by inner product and 0.91 by distance.
///
/// # Order in a stack
/// First. A [`Rotation`](crate::Rotation) after it rotates the few coordinates that are left. `sigma` of
/// [`GaussianNoise`](crate::GaussianNoise) after it is the standard deviation of each of these coordinates, in the
/// unit of the vectors before the projection. Do not normalize between the two: a shorter row is meant to be covered
/// more. Noise of `sigma` has the same distribution before a projection and after it, unless the projection is
/// whitened.
///
/// # Fingerprint
/// `dims`, and the fit by its content, or the key and the dimension. Vectors of two projections cannot be compared.
///
/// # Default
/// None. With 16 components of all-MiniLM-L6-v2 and noise of 0.1, attackers pick the fact of a record from 64
/// candidates for 0.23 of the texts. A spec names the file of a fit, `fit=file:PATH`. A printed stack names the fit by
/// a few digits of its hash.
///
/// # Example
/// ```
/// use embosk_defenses::{Defense, Error, Projection, Rng, Role};
/// use ndarray::array;
///
/// let sample = array![[0.0_f32, 3.0, 0.1], [0.0, -3.0, 0.0], [0.1, 1.0, 0.0], [0.0, -1.0, 0.1]];
/// let projection = Projection::fit(sample.view(), 1)?;
/// let coarse = projection.protect_owned(Role::Document, sample.clone(), &mut Rng::from_os()?)?;
/// assert_eq!(coarse.dim(), (4, 1));
/// assert!((coarse[[0, 0]].abs() - 3.0).abs() < 0.01);
///
/// // The result does not fit in the place of the vectors:
/// let mut vectors = sample.clone();
/// let refused = projection.protect(Role::Document, vectors.view_mut(), &mut Rng::from_os()?);
/// assert!(matches!(refused, Err(Error::NotInPlace { input: 3, output: 1 })));
///
/// // Stored, and read again:
/// let again = Projection::from_bytes(&projection.to_bytes().unwrap_or_default())?;
/// assert_eq!(again.to_string(), projection.to_string());
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct Projection {
    source: Source,
    dims: usize,
}

#[derive(Clone)]
enum Source {
    Fitted { components: Arc<Components>, linear: Arc<Linear> },
    Keyed { fingerprint: String, linear: Arc<Bound<Linear>> },
}

impl Projection {
    /// Fits the projection to the first `dims` principal components of `sample`, `[rows, dim]`. The same sample
    /// gives the same components on any number of threads.
    ///
    /// # Errors
    /// As [`ProjectionFit::fit`].
    pub fn fit(sample: ArrayView2<'_, f32>, dims: usize) -> Result<Self, Error> {
        ProjectionFit::new(dims).fit(sample)
    }

    /// Creates the projection to `dims` directions under `key`. The directions are drawn when the first vectors
    /// come, and refuse vectors of another dimension from then on.
    ///
    /// # Errors
    /// [`Error::Setting`] if `dims` is not from 1 to 8192.
    pub fn keyed(key: &Key, dims: usize) -> Result<Self, Error> {
        if !(1..=8192).contains(&dims) {
            return Err(Error::Setting { name: "dims", expected: "a whole number from 1 to 8192" });
        }
        let draw = move |key: &Key, dim| Linear::draw(dim, dims, &mut key.rng(PURPOSE, dim));
        let linear = Arc::new(Bound::deferred(key, draw));
        Ok(Self { source: Source::Keyed { fingerprint: key.fingerprint(), linear }, dims })
    }

    /// Returns the projection to the first `dims` components or directions of this one.
    ///
    /// # Errors
    /// [`Error::Setting`] if `dims` is not from 1 to [`dims`](Self::dims), or if the projection is keyed: then
    /// create it with as many directions as it should have.
    pub fn first(&self, dims: usize) -> Result<Self, Error> {
        match &self.source {
            Source::Fitted { components, .. } if (1..=self.dims).contains(&dims) => {
                Ok(Self::of(Arc::clone(components), dims))
            }
            Source::Fitted { .. } => Err(Error::Setting {
                name: "dims",
                expected: "from 1 to the number of components of the fit",
            }),
            Source::Keyed { .. } => Err(Error::Setting { name: "dims", expected: "set with the key" }),
        }
    }

    /// Returns how many coordinates come out.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// Returns the variance of the sample along each component, largest first unless queries weighted the components.
    /// `None` if the projection is keyed.
    pub fn variances(&self) -> Option<&[f32]> {
        match &self.source {
            Source::Fitted { components, .. } => Some(&components.variances[..self.dims]),
            Source::Keyed { .. } => None,
        }
    }

    /// Returns the vectors, `[batch, dim]`, nearest to the sample's mean that this projection takes to `coarse`,
    /// `[batch, dims]`. Projected again, they become `coarse`, up to `f32` rounding. If the projection is keyed,
    /// they are the shortest such vectors.
    ///
    /// # Errors
    /// [`Error::Dimension`] if `coarse` has another dimension, [`Error::NotFinite`] for a row that is not finite, and
    /// [`Error::Setting`] if the projection is keyed and has not seen vectors, so that their dimension is not known.
    pub fn expand(&self, coarse: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        check_finite(&coarse)?;
        if coarse.ncols() != self.dims {
            return Err(Error::Dimension { expected: self.dims, found: coarse.ncols() });
        }
        match &self.source {
            Source::Fitted { linear, .. } => Ok(linear.expand(coarse)),
            Source::Keyed { linear, .. } => match linear.get() {
                Some(linear) => Ok(linear.expand(coarse)),
                None => Err(Error::Setting { name: "dim", expected: "known: protect vectors first" }),
            },
        }
    }

    /// Returns the fit as bytes, for [`from_bytes`](Self::from_bytes): all of its components, whatever
    /// [`first`](Self::first) took. `None` if the projection is keyed, since the key alone determines it.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        match &self.source {
            Source::Fitted { components, .. } => Some(components.to_bytes()),
            Source::Keyed { .. } => None,
        }
    }

    /// Reads a fit that was stored as [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// [`Error::Fit`] if the bytes are not a fit of a version known here, are damaged, or hold components that
    /// are not orthonormal.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let components = Components::from_bytes(bytes)?;
        let dims = components.variances.len();
        Ok(Self::of(Arc::new(components), dims))
    }

    /// Reads a fit from the file at `path`.
    ///
    /// # Errors
    /// [`Error::FitFile`] if the file cannot be read or does not hold a fit.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        load(path.as_ref(), Self::from_bytes)
    }

    fn of(components: Arc<Components>, dims: usize) -> Self {
        let linear = Arc::new(components.linear(dims));
        Self { source: Source::Fitted { components, linear }, dims }
    }

    /// Returns the map for these vectors, or nothing if there are no rows.
    fn linear(&self, vectors: &ArrayRef2<f32>) -> Result<Option<&Linear>, Error> {
        check_finite(vectors)?;
        if vectors.nrows() == 0 {
            return Ok(None);
        }
        self.dimension(vectors.ncols())?;
        match &self.source {
            Source::Fitted { linear, .. } => Ok(Some(linear)),
            Source::Keyed { linear, .. } => linear.of(vectors),
        }
    }

    fn part(&self) -> Part {
        let part = Part::new("projection");
        match &self.source {
            Source::Fitted { components, .. } => part.with("fit", Value::fit(&components.digits)),
            Source::Keyed { fingerprint, .. } => part.with("key", Value::fingerprint(fingerprint)),
        }
        .with("dims", self.dims)
    }
}

impl Defense for Projection {
    /// Refuses vectors of more than [`dims`](Self::dims) coordinates: see
    /// [`protect_owned`](Defense::protect_owned).
    fn protect(&self, role: Role, mut vectors: ArrayViewMut2<'_, f32>, rng: &mut Rng) -> Result<(), Error> {
        check_finite(&vectors)?;
        if vectors.nrows() == 0 {
            return Ok(());
        }
        let (input, output) = (vectors.ncols(), self.dimension(vectors.ncols())?);
        if output != input {
            return Err(Error::NotInPlace { input, output });
        }
        let coarse = self.protect_owned(role, vectors.to_owned(), rng)?;
        vectors.assign(&coarse);
        Ok(())
    }

    fn dimension(&self, input: usize) -> Result<usize, Error> {
        let bound = match &self.source {
            Source::Fitted { components, .. } => Some(components.mean.len()),
            Source::Keyed { linear, .. } => linear.dim(),
        };
        match bound {
            Some(expected) if expected != input => Err(Error::Dimension { expected, found: input }),
            None if input < self.dims => {
                Err(Error::Setting { name: "dims", expected: "at most the dimension of the vectors" })
            }
            _ => Ok(self.dims),
        }
    }

    fn protect_owned(&self, _: Role, vectors: Array2<f32>, _: &mut Rng) -> Result<Array2<f32>, Error> {
        let Some(linear) = self.linear(&vectors)? else { return Ok(Array2::zeros((0, self.dims))) };
        let coarse = linear.apply(vectors.view());
        // Whitening and directions under a key make some vectors longer.
        check_finite(&coarse)?;
        Ok(coarse)
    }

    /// A fit that is not whitened makes no distance larger. Nothing for the others: they stretch some distances.
    fn guarantee(&self) -> Guarantee {
        match &self.source {
            Source::Fitted { components, .. } if !components.whitened => Guarantee::Contraction,
            _ => Guarantee::None,
        }
    }

    fn spec(&self) -> Spec {
        self.part().into()
    }

    /// The fit or the key, `dims`, and with a key the dimension once it is known.
    fn space(&self) -> Spec {
        let part = self.part();
        Spec::from(match &self.source {
            Source::Fitted { .. } => part,
            Source::Keyed { linear, .. } => {
                linear.dim().into_iter().fold(part, |part, dim| part.with("dim", dim))
            }
        })
    }

    fn imitation(&self, rng: &mut Rng) -> Option<Arc<dyn Defense>> {
        match &self.source {
            Source::Fitted { .. } => None,
            Source::Keyed { .. } => {
                let own = Self::keyed(&Key::draw(rng), self.dims);
                own.ok().map(|own| Arc::new(own) as Arc<dyn Defense>)
            }
        }
    }

    fn unprotect(&self, _: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        Err(Error::not_invertible(self, "the directions that it leaves out are lost"))
    }
}

impl fmt::Display for Projection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spec().fmt(f)
    }
}

impl fmt::Debug for Projection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Projection({self})")
    }
}

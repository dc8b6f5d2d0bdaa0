mod groups;

use std::fmt;
use std::path::Path;

use ndarray::{Array2, ArrayRef2, ArrayView2, ArrayViewMut2, Axis};

use crate::codes::digits_of_fit;
use crate::parallel::for_pieces;
use crate::product::kmeans::Centroids;
use crate::spec::{Part, Value};
use crate::stored::{Format, load};
use crate::{Defense, Error, Guarantee, Rng, Role, Spec, check_finite};

const FORMAT: Format = Format {
    name: "embosk groups v",
    version: "1\n",
    otherwise: "groups begin with `embosk groups`; `embosk fit groups` writes them",
};

/// One vector for each group of documents, in place of their own.
///
/// # What it does
/// Replaces each document's vector by the nearest of a few: the means of groups of at least `k` documents
/// (microaggregation: Domingo-Ferrer and Mateo-Sanz, IEEE Trans. Knowl. Data Eng. 14, 2002). [`fit`](Self::fit)
/// makes the groups of the vectors that are stored, so that at least `k` of them share each vector. Queries pass
/// unchanged.
///
/// - **A new document** takes the vector of its group, which has one more then.
/// - **After deletions**, a group may have fewer than `k` documents. [`maintained`](Self::maintained) dissolves such
///   groups, and says which of the other documents have to be stored again.
///
/// # Who it stops
/// An attacker who asks which of several known texts a vector is of: at least `k` stored texts explain it equally
/// well. Averaging gains nothing, since nothing is drawn. This is what noise that leaves a search useful cannot do.
///
/// # Who it does not
/// - An attacker who asks for the topic: a group's mean shows what its texts have in common. Texts that say the
///   same are one group, whose mean tells all of it.
/// - An attacker who knows the other texts of a group, and subtracts their vectors.
/// - An attacker who sees the store before and after a change, if the groups were made anew.
/// - Documents that the groups were not made of: fewer than `k` of them may share a vector.
///
/// # What it costs in retrieval
/// The documents of a group come together, in an order of their own. With `k` = 4 on 10,000 records and
/// all-MiniLM-L6-v2, nDCG@10 falls from 0.684 to 0.647 if the application ranks 200 candidates by exact vectors. A
/// search of groups of four by themselves keeps far less.
///
/// # Order in a stack
/// After a [`Projection`](crate::Projection), with groups that were made of projected vectors, or alone. Noise after it
/// adds little: the vectors of a group would then differ, and their mean is the group's vector again.
///
/// # Fingerprint
/// Nothing: means are in the vectors' own space.
///
/// # Default
/// None. A spec names the file of the groups, `groups=file:PATH`; what is printed names them by a few digits of
/// their hash.
///
/// # Example
/// ```
/// use embosk_defenses::{Defense, Microaggregation, Rng, Role};
/// use ndarray::array;
///
/// let stored = array![[1.0_f32, 0.0], [0.0, 1.0], [0.9, 0.1], [0.1, 0.9], [0.0, 0.8]];
/// let groups = Microaggregation::fit(stored.view(), 2)?;
/// let protected = groups.protect_owned(Role::Document, stored, &mut Rng::from_os()?)?;
/// assert_eq!(protected.row(0), protected.row(2));
/// assert_eq!(protected.row(1), protected.row(3));
/// # Ok::<(), embosk_defenses::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Microaggregation {
    least: usize,
    /// `[groups, dim]`
    means: Array2<f32>,
    search: Centroids,
}

/// What is left of groups after documents came and went.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Maintained {
    /// The groups that are left.
    pub groups: Microaggregation,
    /// The rows whose vector changes: protect and store them again.
    pub changed: Vec<usize>,
}

impl Microaggregation {
    /// Makes groups of at least `k` of the `stored` vectors, `[rows, dim]`, so that the mean of its group is the nearest
    /// of all means to each of them. The same vectors give the same groups.
    ///
    /// The time goes with `rows² · dim / k`: most of a minute for 10,000 rows of 384 dimensions.
    ///
    /// # Errors
    /// [`Error::Setting`] if `k` is below 2, or there are fewer rows; [`Error::NotFinite`] for a row that holds no
    /// numbers.
    pub fn fit(stored: ArrayView2<'_, f32>, k: usize) -> Result<Self, Error> {
        if k < 2 {
            return Err(Error::Setting { name: "k", expected: "a whole number from 2 on" });
        }
        if stored.nrows() < k || stored.ncols() == 0 {
            return Err(Error::Setting {
                name: "stored",
                expected: "of at least as many rows as a group has",
            });
        }
        check_finite(&stored)?;
        let means = groups::means(stored, k);
        Ok(Self::of(k, means).dissolved(stored))
    }

    fn of(least: usize, means: Array2<f32>) -> Self {
        Self { least, search: Centroids::new(means.view()), means }
    }

    /// Returns how many documents a group has at least, and how many groups there are.
    pub fn size(&self) -> (usize, usize) {
        (self.least, self.means.nrows())
    }

    /// Returns the group of each of `vectors`, `[rows, dim]`, as a number from 0.
    ///
    /// # Errors
    /// [`Error::Dimension`] if the groups are of other vectors, and [`Error::NotFinite`] for a row that holds no
    /// numbers.
    pub fn groups(&self, vectors: ArrayView2<'_, f32>) -> Result<Vec<usize>, Error> {
        self.check(&vectors)?;
        Ok(self.nearest(vectors))
    }

    /// Returns the groups that still have as many of the `stored` vectors, `[rows, dim]`, as a group must have. The
    /// others are dissolved, and their rows take the nearest mean that is left.
    ///
    /// # Errors
    /// As [`groups`](Self::groups), and [`Error::Setting`] if there are fewer rows than a group must have.
    pub fn maintained(&self, stored: ArrayView2<'_, f32>) -> Result<Maintained, Error> {
        self.check(&stored)?;
        if stored.nrows() < self.least {
            return Err(Error::Setting {
                name: "stored",
                expected: "of at least as many rows as a group has",
            });
        }
        let groups = self.dissolved(stored);
        let means = |groups: &Self| {
            let places = groups.nearest(stored);
            places.into_iter().map(|place| groups.means.row(place).to_owned()).collect::<Vec<_>>()
        };
        let (before, after) = (means(self), means(&groups));
        let changed = (0..stored.nrows()).filter(|&row| before[row] != after[row]).collect();
        Ok(Maintained { groups, changed })
    }

    /// Dissolves groups of too few rows, the smallest first, until there is none. The last one has all rows.
    fn dissolved(&self, stored: ArrayView2<'_, f32>) -> Self {
        let mut places = self.nearest(stored);
        let mut sizes = vec![0_usize; self.means.nrows()];
        for &place in &places {
            sizes[place] += 1;
        }
        let mut kept: Vec<usize> = (0..sizes.len()).collect();
        loop {
            let smallest = (0..kept.len()).min_by_key(|&at| sizes[kept[at]]).unwrap_or(0);
            if kept.len() < 2 || sizes[kept[smallest]] >= self.least {
                return Self::of(self.least, self.means.select(Axis(0), &kept));
            }
            let dissolved = kept.remove(smallest);
            // the others keep their nearest mean
            let homeless: Vec<usize> = (0..places.len()).filter(|&row| places[row] == dissolved).collect();
            if homeless.is_empty() {
                continue;
            }
            let others = Self::of(self.least, self.means.select(Axis(0), &kept));
            let nearest = others.nearest(stored.select(Axis(0), &homeless).view());
            for (row, at) in homeless.into_iter().zip(nearest) {
                places[row] = kept[at];
                sizes[kept[at]] += 1;
            }
        }
    }

    fn nearest(&self, vectors: ArrayView2<'_, f32>) -> Vec<usize> {
        let mut places = vec![0; vectors.nrows()];
        for_pieces((places.as_mut_slice(), vectors), vectors.ncols(), 1, |_, (places, vectors)| {
            self.search.nearest_of_each(vectors, |row, (place, _)| places[row] = place);
        });
        places
    }

    fn check(&self, vectors: &ArrayRef2<f32>) -> Result<(), Error> {
        check_finite(vectors)?;
        match vectors.ncols() {
            found if found == self.means.ncols() || vectors.nrows() == 0 => Ok(()),
            found => Err(Error::Dimension { expected: self.means.ncols(), found }),
        }
    }

    /// Returns the groups as bytes, for [`from_bytes`](Self::from_bytes).
    pub fn to_bytes(&self) -> Vec<u8> {
        FORMAT.write(&[self.means.nrows(), self.means.ncols(), self.least], self.means.iter())
    }

    /// Reads groups from what [`to_bytes`](Self::to_bytes) gave.
    ///
    /// # Errors
    /// [`Error::Fit`] if the bytes are not groups of a version known here, or are damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let ([groups, dim, least], numbers) =
            FORMAT.read(bytes, |[groups, dim, _]: [usize; 3]| groups.checked_mul(dim))?;
        if groups == 0 || dim == 0 || least < 2 {
            return Err(Error::Fit("its shape is not that of groups"));
        }
        if !numbers.iter().all(|x| x.abs() <= 1e30) {
            return Err(Error::Fit("it holds numbers that are not finite or beyond 1e30"));
        }
        let means = Array2::from_shape_vec((groups, dim), numbers);
        let means = means.map_err(|_| Error::Fit("it does not hold as many numbers as its shape says"))?;
        Ok(Self::of(least, means))
    }

    /// Reads groups from the file at `path`.
    ///
    /// # Errors
    /// [`Error::FitFile`] if the file cannot be read or does not hold groups.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        load(path.as_ref(), Self::from_bytes)
    }
}

impl Defense for Microaggregation {
    fn protect(&self, role: Role, mut vectors: ArrayViewMut2<'_, f32>, _: &mut Rng) -> Result<(), Error> {
        self.check(&vectors)?;
        if role == Role::Document {
            let places = self.nearest(vectors.view());
            for (mut row, place) in vectors.rows_mut().into_iter().zip(places) {
                row.assign(&self.means.row(place));
            }
        }
        Ok(())
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::None
    }

    fn spec(&self) -> Spec {
        let part = Part::new("microaggregation").with("k", self.least);
        part.with("groups", Value::fit(&digits_of_fit(self.means.iter()))).into()
    }

    /// Nothing: means and clean vectors meet in one space.
    fn space(&self) -> Spec {
        Spec::new()
    }

    fn unprotect(&self, _: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        Err(Error::not_invertible(self, "it replaces the documents of a group by their mean"))
    }
}

impl fmt::Display for Microaggregation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spec().fmt(f)
    }
}

impl fmt::Debug for Microaggregation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Microaggregation({self})")
    }
}

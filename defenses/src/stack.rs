use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use crate::check::check_ids;
use crate::fingerprint::{self, Checked};
use crate::parallel::for_pieces;
use crate::rows::with_scratch;
use crate::{Codes, Defense, Error, Guarantee, Packing, Registry, Rerank, Rng, Role, Spec, check_finite};

/// Applies defenses one after the other, in the order written. A stack is itself a defense.
///
/// Cloning shares the parts. Either all parts change a batch or, on an error, none does.
///
/// A part may change the [dimension](Defense::dimension). [`protect_owned`](Defense::protect_owned) then
/// protects vectors; [`protect`](Defense::protect) refuses them and leaves them unchanged.
///
/// A stack is read from and printed as a [`Spec`]: parts separated by `|`, each `name(parameter=value, …)`,
/// with white space wherever you like; `none` is the empty stack.
///
/// | part | parameters |
/// |---|---|
/// | `dcpe` | `key`, as below; `beta`: see [`Dcpe`](crate::Dcpe) |
/// | `gaussian` | `sigma`; `key` (without it, the noise is fresh); `on`: `documents`, `queries` or, by default, `both`; `renormalize`: `true` or, by default, `false`: see [`GaussianNoise`](crate::GaussianNoise) |
/// | `microaggregation` | `groups`: `file:PATH`: see [`Microaggregation`](crate::Microaggregation) |
/// | `permutation` | `key`; `dim`, by default that of the first vectors: see [`Permutation`](crate::Permutation) |
/// | `projection` | `fit`: `file:PATH`, or `key`, as below; `dims`, which may be left out with a fit: see [`Projection`](crate::Projection) |
/// | `product_quantization` | `codebook`: `file:PATH`: see [`ProductQuantization`](crate::ProductQuantization) |
/// | `quantization` | `bits`; `scale`, a number or fitted scales as `file:PATH`, by default one for each vector; with a scale also `dither`, a key as below: see [`Quantization`](crate::Quantization) |
/// | `rerank` | `candidates`; `key`, as below, or none in an evaluation; `precision`: `int8`, the default, `f16` or `f32`; the last part: see [`Rerank`](crate::Rerank) |
/// | `rotation` | `key`: `env:NAME` or `file:PATH`; `dim`, by default that of the first vectors; `kind`: `haar`, the default, or `hadamard`: see [`Rotation`](crate::Rotation) |
/// | `scaling` | `key`: see [`Scaling`](crate::Scaling) |
///
/// A value that contains a comma, a parenthesis or a quotation mark is written in quotes:
/// `key=file:"keys (1)/k"`. A [`Registry`] adds your own defenses to those that a spec can name.
///
/// A spec names a key and never contains it. The key is read together with the spec, and prints as its
/// fingerprint, so a printed stack says which key it needs.
///
/// The order matters. Rounding after the noise keeps the noise's guarantee; rounding before it loses the
/// guarantee:
///
/// ```
/// use embosk_defenses::{Defense, Guarantee, Stack};
///
/// let good: Stack = "gaussian(sigma=0.01) | quantization(bits=8)".parse()?;
/// assert_eq!(good.guarantee(), Guarantee::GaussianMechanism { sigma: 0.01 });
///
/// let wrong: Stack = "quantization(bits=8) | gaussian(sigma=0.01)".parse()?;
/// assert_eq!(wrong.guarantee(), Guarantee::None);
/// # Ok::<(), embosk_defenses::Error>(())
/// ```
///
/// # Fingerprint
/// Vectors under one key cannot be searched with queries under another key, nor vectors of a rotation with
/// queries of a permutation: the search returns nonsense, without an error. Store the stack's
/// [fingerprint](Self::fingerprint) beside the vectors, and check it before the first query:
///
/// ```
/// use embosk_defenses::{Error, Key, Rotation, Stack};
///
/// let key = Key::generate()?;
/// let stored = Stack::new().with(Rotation::new(&key, 384)?).fingerprint();
/// assert!(stored.starts_with("embosk2 rotation(key="));
///
/// let same = Stack::new().with(Rotation::deferred(&key));
/// assert_eq!(same.check_fingerprint(&stored)?.warning(), None);
///
/// let other = Stack::new().with(Rotation::hadamard(&key, 384)?);
/// assert!(matches!(other.check_fingerprint(&stored), Err(Error::OtherSpace(_))));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Stack(Vec<Arc<dyn Defense>>);

impl Stack {
    /// Creates the empty stack, which changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the stack with `defense` after its parts.
    pub fn with(mut self, defense: impl Defense) -> Self {
        self.push(defense);
        self
    }

    /// Adds `defense` after the existing parts.
    pub fn push(&mut self, defense: impl Defense) {
        self.0.push(Arc::new(defense));
    }

    /// Returns how many parts there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no parts.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the text to store beside the vectors that this stack protects, for
    /// [`check_fingerprint`](Self::check_fingerprint).
    ///
    /// It is one line of ASCII, such as `embosk2 rotation(key=84375e6e, kind=haar, dim=384) | scaling(key=84375e6e)`,
    /// and holds no secret. It states everything that decides the [space](Defense::space) of documents and queries:
    /// the defenses that change it, in order, with their keys, kinds, settings, fits and dimension. Anything that
    /// documents and queries need not share, such as noise, is left out. If no part changes the space, it is
    /// `embosk2 none`.
    ///
    /// The dimension of a [deferred](crate::Rotation::deferred) part is known, and printed, once it has seen
    /// vectors. Do not compare two fingerprints as texts: `check_fingerprint` takes into account that an
    /// unknown dimension matches any.
    pub fn fingerprint(&self) -> String {
        fingerprint::of(&self.space())
    }

    /// Checks that `stored`, the [`fingerprint`](Self::fingerprint) of stored vectors, is that of this
    /// stack's space.
    ///
    /// Old fingerprints, which name only keys, are still accepted. If the keys match, the result carries a
    /// [warning](Checked::warning) with the fingerprint to store instead.
    ///
    /// # Errors
    /// [`Error::OtherSpace`] with the first difference, such as another key or another kind of rotation, and
    /// [`Error::Setting`] if `stored` is not a fingerprint.
    pub fn check_fingerprint(&self, stored: &str) -> Result<Checked, Error> {
        fingerprint::check(stored.trim(), self)
    }

    /// Returns what packs the vectors: the last part, if it is a quantization.
    pub fn last_packing(&self) -> Option<Packing<'_>> {
        self.0.last().and_then(Defense::packing)
    }

    /// Returns the first part whose strength is meant for vectors of norm 1: see [`Defense::assumes_unit_norm`].
    pub fn part_for_unit_norm(&self, role: Role) -> Option<&dyn Defense> {
        self.0.iter().find(|part| part.assumes_unit_norm(role)).map(|part| &**part)
    }

    /// Protects `vectors`, `[batch, dim]`, and returns them as the packed codes of the last part, a quantization.
    /// Decoded by it, they are what [`protect_owned`](Defense::protect_owned) returns, or with `ids`
    /// [`protect_owned_with_ids`](Defense::protect_owned_with_ids).
    ///
    /// # Errors
    /// [`Error::Setting`] if the last part is not a quantization, and otherwise as those methods.
    pub fn protect_packed(
        &self,
        role: Role,
        ids: Option<&[&[u8]]>,
        vectors: Array2<f32>,
        rng: &mut Rng,
    ) -> Result<Codes, Error> {
        let (Some(packing), [before @ .., _]) = (self.last_packing(), self.0.as_slice()) else {
            return Err(Error::Setting { name: "codes", expected: "of a stack that ends in a quantization" });
        };
        let before = Self(before.to_vec());
        let vectors = match ids {
            Some(ids) => before.protect_owned_with_ids(role, ids, vectors, rng)?,
            None => before.protect_owned(role, vectors, rng)?,
        };
        packing.encode(vectors.view())
    }

    /// Refuses a part that says how candidates are ordered, and is not the last.
    fn check_order(&self) -> Result<(), Error> {
        match self.0.split_last() {
            Some((_, rest)) if rest.iter().any(|part| part.reranking().is_some()) => {
                Err(Error::Setting { name: "rerank", expected: "the last part of a stack, and there once" })
            }
            _ => Ok(()),
        }
    }

    /// Changes `vectors` by each of `parts` in turn. On an error they are unchanged.
    fn in_turn<'a>(
        &self,
        mut parts: impl ExactSizeIterator<Item = &'a Arc<dyn Defense>>,
        mut vectors: ArrayViewMut2<'_, f32>,
        mut change: impl FnMut(&dyn Defense, ArrayViewMut2<'_, f32>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.check_order()?;
        match parts.len() {
            0 => check_finite(&vectors),
            1 => parts.try_for_each(|only| change(&**only, vectors.view_mut())),
            _ => with_scratch(vectors.len(), |copy| {
                let copy = ArrayViewMut2::from_shape(vectors.dim(), copy);
                let mut before = copy.expect("as many numbers as the vectors have");
                assign(before.view_mut(), vectors.view());
                let done = parts.try_for_each(|part| change(&**part, vectors.view_mut()));
                if done.is_err() {
                    assign(vectors, before.view());
                }
                done
            }),
        }
    }
}

impl Defense for Stack {
    fn protect(&self, role: Role, vectors: ArrayViewMut2<'_, f32>, rng: &mut Rng) -> Result<(), Error> {
        self.in_turn(self.0.iter(), vectors, |part, vectors| part.protect(role, vectors, rng))
    }

    fn protect_with_ids(
        &self,
        role: Role,
        ids: &[&[u8]],
        vectors: ArrayViewMut2<'_, f32>,
        rng: &mut Rng,
    ) -> Result<(), Error> {
        check_ids(ids, &vectors)?;
        self.in_turn(self.0.iter(), vectors, |part, vectors| part.protect_with_ids(role, ids, vectors, rng))
    }

    fn uses_ids(&self, role: Role) -> bool {
        self.0.iter().any(|part| part.uses_ids(role))
    }

    fn assumes_unit_norm(&self, role: Role) -> bool {
        self.part_for_unit_norm(role).is_some()
    }

    fn dimension(&self, input: usize) -> Result<usize, Error> {
        self.0.iter().try_fold(input, |dim, part| part.dimension(dim))
    }

    fn protect_owned(&self, role: Role, vectors: Array2<f32>, rng: &mut Rng) -> Result<Array2<f32>, Error> {
        self.check_order()?;
        if self.is_empty() {
            check_finite(&vectors)?;
        }
        self.0.iter().try_fold(vectors, |vectors, part| part.protect_owned(role, vectors, rng))
    }

    fn protect_owned_with_ids(
        &self,
        role: Role,
        ids: &[&[u8]],
        vectors: Array2<f32>,
        rng: &mut Rng,
    ) -> Result<Array2<f32>, Error> {
        self.check_order()?;
        check_ids(ids, &vectors)?;
        if self.is_empty() {
            check_finite(&vectors)?;
        }
        let mut parts = self.0.iter();
        parts.try_fold(vectors, |vectors, part| part.protect_owned_with_ids(role, ids, vectors, rng))
    }

    /// Leaves out what follows a part that changes the dimension by its key: those parts take vectors of that
    /// dimension.
    fn reduced(&self, vectors: Array2<f32>) -> Result<Array2<f32>, Error> {
        let mut reduced = vectors;
        for part in &self.0 {
            let input = reduced.ncols();
            reduced = part.reduced(reduced)?;
            if reduced.ncols() != part.dimension(input)? {
                break;
            }
        }
        Ok(reduced)
    }

    fn guarantee(&self) -> Guarantee {
        self.0.iter().fold(Guarantee::Isometry, |so_far, part| so_far.then(part.guarantee()))
    }

    fn spec(&self) -> Spec {
        self.0.iter().flat_map(|part| part.spec().parts().to_vec()).collect()
    }

    fn space(&self) -> Spec {
        self.0.iter().flat_map(|part| part.space().parts().to_vec()).collect()
    }

    fn imitation(&self, rng: &mut Rng) -> Option<Arc<dyn Defense>> {
        let own: Vec<_> = self.0.iter().map(|part| part.imitation(rng)).collect();
        let keyed = own.iter().any(Option::is_some);
        let parts = own.into_iter().zip(&self.0).map(|(own, part)| own.unwrap_or_else(|| Arc::clone(part)));
        keyed.then(|| Arc::new(Self(parts.collect())) as Arc<dyn Defense>)
    }

    fn reranking(&self) -> Option<Rerank> {
        self.0.last().and_then(Defense::reranking)
    }

    /// Undoes the parts from the last to the first. A part without an inverse is found before any vector is read.
    fn unprotect(&self, vectors: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        for part in &self.0 {
            part.unprotect(ArrayViewMut2::from_shape((0, 0), &mut []).expect("no numbers"))?;
        }
        self.in_turn(self.0.iter().rev(), vectors, |part, vectors| part.unprotect(vectors))
    }

    fn undo_key(&self, mut vectors: ArrayViewMut2<'_, f32>) -> Result<bool, Error> {
        let (mut any, mut is_reduced) = (false, false);
        for part in self.0.iter().rev() {
            let is_keyed = part.imitation(&mut Rng::seeded(0)).is_some();
            // What a key did before the dimension changed cannot be undone in place.
            if is_reduced && is_keyed {
                return Ok(false);
            }
            match part.undo_key(vectors.view_mut())? {
                true => any = true,
                false if is_keyed => return Ok(false),
                false => {}
            }
            is_reduced |= part.dimension(vectors.ncols()).ok() != Some(vectors.ncols());
        }
        Ok(any)
    }
}

fn assign(to: ArrayViewMut2<'_, f32>, from: ArrayView2<'_, f32>) {
    let dim = to.ncols();
    for_pieces((to, from), dim, 1, |_, (mut to, from)| to.assign(&from));
}

impl FromIterator<Arc<dyn Defense>> for Stack {
    fn from_iter<I: IntoIterator<Item = Arc<dyn Defense>>>(parts: I) -> Self {
        Self(parts.into_iter().collect())
    }
}

impl FromStr for Stack {
    type Err = Error;

    /// Reads a spec of this crate's defenses: see [`Registry::parse`].
    ///
    /// # Errors
    /// [`Error::Spec`] with the position at which it cannot be read, [`Error::Setting`] if a value is out of
    /// range, and errors of reading the key if it names one.
    fn from_str(spec: &str) -> Result<Self, Error> {
        Registry::default().parse(spec)
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.0.split_first() else {
            return f.write_str("none");
        };
        first.fmt(f)?;
        rest.iter().try_for_each(|part| write!(f, " | {part}"))
    }
}

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ndarray::{Array2, ArrayViewMut2};

use embosk_defenses::{Checked, Norms, OtherNorms};

use crate::embedder::{AnyEmbedder, Async, AsyncEmbedder, from_rows};
use crate::{BoxError, Defense, Embedder, Error, Rng, Role, Stack};

/// An embedding function with defenses behind it, so that only protected vectors come out.
///
/// Every call draws fresh randomness from the operating system. There is no seed to set, so a fixed
/// one cannot ship by accident.
///
/// It is not an [`Embedder`] itself, for two reasons. Evaluations and caches rely on an embedder returning
/// the same vectors each time, but random defenses change them from call to call. And code that protects
/// vectors twice should do so visibly.
///
/// ```
/// use embosk::{BoxError, GaussianNoise, Key, Protected, Rotation};
/// use ndarray::Array2;
///
/// let embed = |texts: &[&str]| -> Result<Array2<f32>, BoxError> { Ok(Array2::ones((texts.len(), 8))) };
///
/// let key = Key::generate()?;
/// let protected = Protected::new(embed).with(Rotation::new(&key, 8)?).with(GaussianNoise::new(0.01)?);
/// assert_eq!(protected.embed_documents(&["a letter", "a bill"])?.dim(), (2, 8));
/// assert_eq!(protected.embed_queries(&["what do I owe?".to_owned()])?.dim(), (1, 8));
/// # Ok::<(), embosk::Error>(())
/// ```
///
/// # Async
/// Wrap an async client in [`Async`]; both methods are then awaited. No executor is needed other than the one
/// that polls them:
///
/// ```
/// # use embosk::{BoxError, Protected, Quantization};
/// use embosk::embedder::Async;
/// use ndarray::Array2;
///
/// async fn embed(texts: Vec<String>) -> Result<Array2<f32>, BoxError> {
///     Ok(Array2::ones((texts.len(), 8))) // asks a server here
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let protected = Protected::new(Async(embed)).with(Quantization::new(8)?);
/// assert_eq!(protected.embed_documents(&["a letter"]).await?.dim(), (1, 8));
/// # Ok::<(), embosk::Error>(())
/// # })?;
/// # Ok::<(), BoxError>(())
/// ```
///
/// # Coarse vectors and sealed exact ones
/// Noise that hides facts from whoever reads the store also costs its search. [`sealed`](Self::sealed) keeps both: the
/// store searches protected vectors, and the holder of the key orders what it finds by exact ones.
///
/// # Existing vectors
/// Vectors that exist already are protected in place, as a matrix, as one slice of rows, or as separate rows:
///
/// ```
/// # use embosk::{BoxError, Protected, Quantization};
/// use embosk::Role;
/// # let embed = |texts: &[&str]| -> Result<ndarray::Array2<f32>, BoxError> {
/// #     Ok(ndarray::Array2::ones((texts.len(), 2)))
/// # };
/// # let protected = Protected::new(embed).with(Quantization::new(1)?);
///
/// let mut matrix = ndarray::array![[3.0_f32, -4.0]];
/// protected.protect(Role::Document, matrix.view_mut())?;
///
/// let mut slice = [3.0, -4.0, 1.0, 2.0];
/// protected.protect_rows(Role::Document, &mut slice, 2)?;
///
/// let mut rows = vec![vec![3.0, -4.0], vec![1.0, 2.0]];
/// protected.protect_vecs(Role::Document, &mut rows)?;
/// # assert_eq!(matrix[[0, 0]], -matrix[[0, 1]]);
/// # assert_eq!(slice[..2], [matrix[[0, 0]], matrix[[0, 1]]]);
/// # assert_eq!(rows.concat(), slice);
/// # Ok::<(), embosk::Error>(())
/// ```
///
/// # Norms
/// The strength of noise is [meant for](Defense::assumes_unit_norm) vectors of norm 1: the same noise on longer vectors
/// hides less. Nothing is printed here. [`norms`](Self::norms) and [`norm_warning`](Self::norm_warning) say what was
/// seen, so ask after the first batch; [`on_other_norms`](Self::on_other_norms) refuses other norms or scales them.
///
/// ```
/// # use embosk::{BoxError, GaussianNoise, Protected};
/// use embosk::Role;
/// use embosk::defenses::OtherNorms;
/// # let embed = |texts: &[&str]| -> Result<ndarray::Array2<f32>, BoxError> {
/// #     Ok(ndarray::Array2::ones((texts.len(), 100)))
/// # };
///
/// let protected = Protected::new(embed).with(GaussianNoise::new(0.1)?); // the embedder's vectors have norm 10
/// protected.embed_documents(&["a letter"])?;
/// assert!(protected.norm_warning(Role::Document).is_some_and(|warning| warning.contains("mean norm of 10.000")));
///
/// let refusing = protected.on_other_norms(OtherNorms::Refuse);
/// assert!(refusing.embed_documents(&["a letter"]).is_err());
/// # Ok::<(), embosk::Error>(())
/// ```
#[derive(Clone)]
pub struct Protected<E> {
    embedder: E,
    defenses: Stack,
    other_norms: OtherNorms,
    /// The norms of clean documents and of clean queries so far.
    seen: Arc<Mutex<[Option<Norms>; 2]>>,
}

impl<E: AnyEmbedder> Protected<E> {
    /// Wraps `embedder`, without any defense yet.
    pub fn new(embedder: E) -> Self {
        Self { embedder, defenses: Stack::new(), other_norms: OtherNorms::Accept, seen: Arc::default() }
    }
}

impl<E> Protected<E> {
    /// Adds `defense`, which may be a whole [`Stack`], after the existing ones.
    pub fn with(mut self, defense: impl Defense) -> Self {
        self.defenses.push(defense);
        self
    }

    /// Sets what is done with vectors of another norm than 1 if the strength of a defense is meant for norm 1.
    /// Default: [`OtherNorms::Accept`], which protects them as they are.
    pub fn on_other_norms(self, other_norms: OtherNorms) -> Self {
        Self { other_norms, ..self }
    }

    /// Returns the norms of the clean vectors of `role` that were protected so far, by this value and its clones, before
    /// any was scaled. `None` if there were none.
    pub fn norms(&self, role: Role) -> Option<Norms> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)[place(role)]
    }

    /// Says what is wrong if the vectors of `role` had other norms than a defense is meant for, and were protected as
    /// they are: see [`Norms::warning`].
    pub fn norm_warning(&self, role: Role) -> Option<String> {
        let norms = self.norms(role).filter(|_| self.other_norms == OtherNorms::Accept)?;
        norms.warning(&self.defenses, role)
    }

    /// Returns the text to store beside the vectors. It says in which space they are: see
    /// [`Stack::fingerprint`].
    pub fn fingerprint(&self) -> String {
        self.defenses.fingerprint()
    }

    /// Checks that vectors with the fingerprint `stored` are in the space of these defenses. The result may
    /// carry a warning.
    ///
    /// # Errors
    /// [`Error::Defense`] if they are not: see [`Stack::check_fingerprint`].
    pub fn check_fingerprint(&self, stored: &str) -> Result<Checked, Error> {
        Ok(self.defenses.check_fingerprint(stored)?)
    }

    /// Protects `vectors`, `[batch, dim]`, in place.
    ///
    /// # Errors
    /// [`Error::Defense`] if a defense refuses the vectors, or changes their dimension: then call
    /// [`protect_owned`](Self::protect_owned). The vectors are unchanged.
    pub fn protect(&self, role: Role, vectors: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        self.check()?;
        self.in_place(role, None, vectors)
    }

    /// Protects `vectors`, `[batch, dim]`, and returns what they become: `[batch, dim]`, or of another dimension if
    /// a defense [changes](Defense::dimension) it, as a [`Projection`](crate::Projection) does.
    ///
    /// # Errors
    /// [`Error::Defense`] if a defense refuses the vectors.
    pub fn protect_owned(&self, role: Role, vectors: Array2<f32>) -> Result<Array2<f32>, Error> {
        self.check()?;
        self.coarse(role, vectors)
    }

    /// Protects vectors in place, which are stored one after the other in `rows` with `dim` numbers each.
    ///
    /// # Errors
    /// [`Error::Setting`] if `rows` does not hold whole rows, and [`Error::Defense`] as
    /// [`protect`](Self::protect). The vectors are then unchanged.
    pub fn protect_rows(&self, role: Role, rows: &mut [f32], dim: usize) -> Result<(), Error> {
        let numbers = rows.len();
        let whole = if dim == 0 { numbers == 0 } else { numbers.is_multiple_of(dim) };
        let shape = (numbers.checked_div(dim).unwrap_or(0), dim);
        match ArrayViewMut2::from_shape(shape, rows) {
            Ok(rows) if whole => self.protect(role, rows),
            _ => Err(Error::Setting(format!(
                "{numbers} numbers do not make whole rows of {dim}; give the dimension that the vectors have"
            ))),
        }
    }

    /// Protects separate rows, one vector each, in place. If a defense changes the dimension, the rows change their
    /// length.
    ///
    /// # Errors
    /// [`Error::Ragged`] if the rows differ in length, and [`Error::Defense`] if a defense refuses the
    /// vectors. They are then unchanged.
    pub fn protect_vecs(&self, role: Role, rows: &mut [Vec<f32>]) -> Result<(), Error> {
        let matrix = self.protect_owned(role, from_rows(rows)?)?;
        for (row, protected) in rows.iter_mut().zip(matrix.rows()) {
            row.clear();
            row.extend(protected);
        }
        Ok(())
    }

    /// Protects what the embedder returned for this many texts.
    fn protected(
        &self,
        role: Role,
        texts: usize,
        embedded: Result<Array2<f32>, BoxError>,
    ) -> Result<Array2<f32>, Error> {
        let vectors = embedded.map_err(Error::Embedder)?;
        if vectors.nrows() != texts {
            return Err(Error::Rows { texts, rows: vectors.nrows() });
        }
        self.protect_owned(role, vectors)
    }

    /// Protects `vectors`, `[batch, dim]`, in place, with an id for each row: see
    /// [`Defense::protect_with_ids`].
    ///
    /// # Errors
    /// As [`protect`](Self::protect), and unless there are as many ids as rows.
    pub fn protect_with_ids<I: AsRef<[u8]>>(
        &self,
        role: Role,
        ids: &[I],
        vectors: ArrayViewMut2<'_, f32>,
    ) -> Result<(), Error> {
        self.check()?;
        let ids: Vec<&[u8]> = ids.iter().map(AsRef::as_ref).collect();
        self.in_place(role, Some(&ids), vectors)
    }

    /// Protects `vectors`, `[batch, dim]`, with an id for each row, and returns what they become: see
    /// [`protect_owned`](Self::protect_owned).
    ///
    /// # Errors
    /// [`Error::Defense`] if a defense refuses the vectors, or the number of ids is not the number of rows.
    pub fn protect_owned_with_ids<I: AsRef<[u8]>>(
        &self,
        role: Role,
        ids: &[I],
        vectors: Array2<f32>,
    ) -> Result<Array2<f32>, Error> {
        self.check()?;
        self.coarse_with_ids(role, ids, vectors)
    }

    /// Undoes [`protect`](Self::protect) on `vectors`, `[batch, dim]`, in place, if the defenses are rotations,
    /// permutations and scalings: see [`Defense::unprotect`].
    ///
    /// # Errors
    /// [`Error::Defense`] if a defense cannot be undone, or refuses the vectors. They are then unchanged.
    pub fn unprotect(&self, vectors: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        Ok(self.defenses.unprotect(vectors)?)
    }

    /// Refuses to protect vectors without the sealed part that the stack asks for.
    fn check(&self) -> Result<(), Error> {
        if self.defenses.reranking().is_some() {
            return Err(Error::Setting(
                "the stack ends in `rerank`, so exact vectors are to be sealed beside the protected ones; call \
                 `reranked` or `sealed` first, or leave the part out"
                    .into(),
            ));
        }
        Ok(())
    }

    pub(crate) fn embedder(&self) -> &E {
        &self.embedder
    }

    pub(crate) fn stack(&self) -> &Stack {
        &self.defenses
    }

    /// Returns the coarse vectors that a store searches, for vectors whose exact form is sealed or kept.
    pub(crate) fn coarse(&self, role: Role, exact: Array2<f32>) -> Result<Array2<f32>, Error> {
        self.owned(role, None, exact)
    }

    /// The same, with an id for each row.
    pub(crate) fn coarse_with_ids<I: AsRef<[u8]>>(
        &self,
        role: Role,
        ids: &[I],
        exact: Array2<f32>,
    ) -> Result<Array2<f32>, Error> {
        let ids: Vec<&[u8]> = ids.iter().map(AsRef::as_ref).collect();
        self.owned(role, Some(&ids), exact)
    }

    fn owned(
        &self,
        role: Role,
        ids: Option<&[&[u8]]>,
        mut vectors: Array2<f32>,
    ) -> Result<Array2<f32>, Error> {
        let (stack, rng) = (&self.defenses, &mut Rng::from_os()?);
        let norms = self.other_norms.check(stack, role, &vectors)?;
        self.other_norms.scale(stack, role, vectors.view_mut());
        let protected = match ids {
            Some(ids) => stack.protect_owned_with_ids(role, ids, vectors, rng)?,
            None => stack.protect_owned(role, vectors, rng)?,
        };
        self.saw(role, norms);
        Ok(protected)
    }

    /// As [`owned`](Self::owned). On an error, the vectors are unchanged, so what may be scaled is changed as a copy.
    fn in_place(
        &self,
        role: Role,
        ids: Option<&[&[u8]]>,
        mut vectors: ArrayViewMut2<'_, f32>,
    ) -> Result<(), Error> {
        let (stack, rng) = (&self.defenses, &mut Rng::from_os()?);
        let norms = self.other_norms.check(stack, role, &vectors)?;
        let mut change = |vectors: ArrayViewMut2<'_, f32>| match ids {
            Some(ids) => stack.protect_with_ids(role, ids, vectors, rng),
            None => stack.protect(role, vectors, rng),
        };
        if self.other_norms.scales(stack, role) {
            let mut scaled = vectors.to_owned();
            self.other_norms.scale(stack, role, scaled.view_mut());
            change(scaled.view_mut())?;
            vectors.assign(&scaled);
        } else {
            change(vectors)?;
        }
        self.saw(role, norms);
        Ok(())
    }

    fn saw(&self, role: Role, norms: Option<Norms>) {
        let Some(norms) = norms else { return };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = &mut seen[place(role)];
        *seen = Some(seen.map_or(norms, |before| before.and(norms)));
    }
}

fn place(role: Role) -> usize {
    usize::from(role == Role::Query)
}

impl<E: Embedder> Protected<E> {
    /// Embeds documents, `[texts, dim]`, and protects the vectors.
    ///
    /// # Errors
    /// [`Error::Embedder`] if the embedding function fails, [`Error::Rows`] if it returns more or fewer rows
    /// than texts, and [`Error::Defense`] if a defense refuses the vectors.
    pub fn embed_documents(&self, texts: &[impl AsRef<str>]) -> Result<Array2<f32>, Error> {
        self.embed(Role::Document, texts)
    }

    /// Embeds queries, `[texts, dim]`, and protects the vectors.
    ///
    /// # Errors
    /// As [`embed_documents`](Self::embed_documents).
    pub fn embed_queries(&self, texts: &[impl AsRef<str>]) -> Result<Array2<f32>, Error> {
        self.embed(Role::Query, texts)
    }

    fn embed(&self, role: Role, texts: &[impl AsRef<str>]) -> Result<Array2<f32>, Error> {
        let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        self.protected(role, texts.len(), self.embedder.embed(role, &texts))
    }
}

impl<E: AsyncEmbedder> Protected<Async<E>> {
    /// Embeds documents, `[texts, dim]`, and protects the vectors.
    ///
    /// The task that awaits the vectors also protects them, which takes about a microsecond per vector.
    ///
    /// # Errors
    /// [`Error::Embedder`] if the embedding function fails, [`Error::Rows`] if it returns more or fewer rows
    /// than texts, and [`Error::Defense`] if a defense refuses the vectors.
    pub async fn embed_documents(&self, texts: &[impl AsRef<str>]) -> Result<Array2<f32>, Error> {
        self.embed(Role::Document, texts).await
    }

    /// Embeds queries, `[texts, dim]`, and protects the vectors.
    ///
    /// # Errors
    /// As [`embed_documents`](Self::embed_documents).
    pub async fn embed_queries(&self, texts: &[impl AsRef<str>]) -> Result<Array2<f32>, Error> {
        self.embed(Role::Query, texts).await
    }

    async fn embed(&self, role: Role, texts: &[impl AsRef<str>]) -> Result<Array2<f32>, Error> {
        let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        self.protected(role, texts.len(), self.embedder.0.embed(role, &texts).await)
    }
}

impl<E> fmt::Debug for Protected<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protected").field("defenses", &self.defenses).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedder::ByRole;
    use crate::{GaussianNoise, Key, Projection, Quantization, Rotation};

    #[expect(clippy::unnecessary_wraps, reason = "an embedder may fail")]
    fn ones(texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        Ok(Array2::ones((texts.len(), 4)))
    }

    #[test]
    fn noise_differs_from_call_to_call() -> Result<(), Error> {
        let protected = Protected::new(ones).with(GaussianNoise::new(0.1)?);
        assert_ne!(protected.embed_documents(&["a"])?, protected.embed_documents(&["a"])?);
        assert_ne!(protected.embed_queries(&["a"])?, protected.embed_queries(&["a"])?);
        Ok(())
    }

    #[test]
    fn another_key_than_the_stored_vectors_have_is_an_error() -> Result<(), Error> {
        let under = |byte| -> Result<_, Error> {
            Ok(Protected::new(ones).with(Rotation::new(&Key::from_bytes([byte; 32]), 4)?))
        };
        let stored = under(1)?.fingerprint();
        assert_eq!(under(1)?.check_fingerprint(&stored)?.warning(), None);
        let refused = under(2)?.check_fingerprint(&stored);
        assert!(matches!(refused, Err(Error::Defense(embosk_defenses::Error::OtherSpace(_)))), "{refused:?}");
        Ok(())
    }

    #[test]
    fn keyed_noise_by_id_is_the_same_in_every_batch() -> Result<(), Error> {
        let protected = Protected::new(ones).with(GaussianNoise::keyed(&Key::from_bytes([1; 32]), 0.1)?);
        let with = |ids: &[&str]| -> Result<Array2<f32>, Error> {
            let mut vectors = Array2::ones((ids.len(), 4));
            protected.protect_with_ids(Role::Document, ids, vectors.view_mut())?;
            Ok(vectors)
        };
        let (both, one) = (with(&["a", "b"])?, with(&["b"])?);
        assert_eq!(both.row(1), one.row(0));
        assert_ne!(both.row(0), both.row(1));
        assert!(protected.protect_with_ids(Role::Query, &["a"], Array2::ones((2, 4)).view_mut()).is_err());
        Ok(())
    }

    #[test]
    fn norms_are_kept_by_role_and_shared_by_clones() -> Result<(), Error> {
        let protected = Protected::new(ones).with(GaussianNoise::new(0.1)?.on(Role::Document));
        assert_eq!(protected.norms(Role::Document), None);
        protected.clone().embed_documents(&["a", "b"])?;
        protected.protect(Role::Query, ndarray::array![[0.5, 0.0], [0.0, 1.5]].view_mut())?;
        let [of_documents, of_queries] =
            [Role::Document, Role::Query].map(|role| protected.norms(role).expect("it has seen some"));
        assert_eq!((of_documents.rows, of_documents.mean), (2, 2.0));
        assert_eq!((of_queries.rows, of_queries.least, of_queries.largest), (2, 0.5, 1.5));
        let warning = protected.norm_warning(Role::Document).expect("the noise is meant for norm 1");
        assert!(warning.contains("mean norm of 2.000"), "{warning}");
        assert_eq!(protected.norm_warning(Role::Query), None);

        let before = protected.norms(Role::Document);
        let refused = protected.protect(Role::Document, ndarray::array![[f32::NAN]].view_mut());
        assert!(refused.is_err() && protected.norms(Role::Document) == before, "{refused:?}");
        Ok(())
    }

    #[test]
    fn other_norms_are_refused_and_change_nothing() -> Result<(), Error> {
        let refusing = Protected::new(ones).with(GaussianNoise::new(0.1)?).on_other_norms(OtherNorms::Refuse);
        let mut vectors = ndarray::array![[1.0, 0.0], [0.0, 10.0]];
        let refused = refusing.protect(Role::Document, vectors.view_mut());
        assert!(
            matches!(&refused, Err(Error::Defense(embosk_defenses::Error::OtherNorm { row: 1, .. }))),
            "{refused:?}"
        );
        assert_eq!(vectors, ndarray::array![[1.0, 0.0], [0.0, 10.0]]);
        assert!(refusing.embed_queries(&["a"]).is_err());
        refusing.protect(Role::Document, Array2::eye(3).view_mut())
    }

    #[test]
    fn normalizing_is_the_same_as_normalizing_before() -> Result<(), Error> {
        // keyed noise, which is the same each time
        let noise = GaussianNoise::keyed(&Key::from_bytes([1; 32]), 0.1)?;
        let plain = Protected::new(ones).with(noise);
        let normalizing = plain.clone().on_other_norms(OtherNorms::Normalize);
        let long = ndarray::array![[6.0_f32, 8.0], [0.0, -0.5]];
        let unit = ndarray::array![[0.6_f32, 0.8], [0.0, -1.0]];
        let expected = plain.protect_owned(Role::Document, unit.clone())?;
        assert_eq!(normalizing.protect_owned(Role::Document, long.clone())?, expected);
        let mut in_place = long.clone();
        normalizing.protect(Role::Document, in_place.view_mut())?;
        assert_eq!(in_place, expected);
        let by_id = plain.protect_owned_with_ids(Role::Query, &["a", "b"], unit)?;
        let mut in_place = long.clone();
        normalizing.protect_with_ids(Role::Query, &["a", "b"], in_place.view_mut())?;
        assert_eq!(in_place, by_id);
        assert_eq!(normalizing.norm_warning(Role::Document), None);

        let mut kept = long.clone();
        assert!(normalizing.protect_with_ids(Role::Query, &["a"], kept.view_mut()).is_err());
        assert_eq!(kept, long);
        Ok(())
    }

    #[test]
    fn without_defenses_vectors_pass_through() -> Result<(), Error> {
        assert_eq!(Protected::new(ones).embed_documents(&["a", "b"])?, Array2::<f32>::ones((2, 4)));
        assert_eq!(Protected::new(ones).embed_documents(&[""; 0])?.nrows(), 0);
        Ok(())
    }

    #[test]
    fn a_missing_row_and_a_failing_embedder_are_errors() {
        let short =
            |texts: &[&str]| -> Result<Array2<f32>, BoxError> { Ok(Array2::ones((texts.len() - 1, 4))) };
        let rows = Protected::new(short).embed_documents(&["a", "b"]);
        assert!(matches!(rows, Err(Error::Rows { texts: 2, rows: 1 })), "{rows:?}");

        let failing = |_: &[&str]| -> Result<Array2<f32>, BoxError> { Err("no network".into()) };
        let failed = Protected::new(failing).embed_queries(&["a"]);
        assert!(matches!(failed, Err(Error::Embedder(_))), "{failed:?}");
    }

    #[test]
    fn vectors_that_are_refused_never_come_out() {
        let broken = |texts: &[&str]| -> Result<Array2<f32>, BoxError> {
            Ok(Array2::from_elem((texts.len(), 4), f32::NAN))
        };
        let refused = Protected::new(broken).embed_documents(&["a"]);
        let Err(Error::Defense(embosk_defenses::Error::NotFinite { row: 0 })) = refused else {
            panic!("{refused:?}");
        };
    }

    #[test]
    fn the_embedder_is_told_the_role() -> Result<(), Error> {
        let by_role = ByRole(|role: Role, texts: &[&str]| -> Result<Array2<f32>, BoxError> {
            Ok(Array2::from_elem((texts.len(), 1), if role == Role::Query { 1.0 } else { 2.0 }))
        });
        let protected = Protected::new(by_role);
        let owned: Vec<String> = Vec::from(["a".to_owned()]);
        assert_eq!(protected.embed_documents(&["a"])?, ndarray::array![[2.0]]);
        assert_eq!(protected.embed_queries(&owned)?, ndarray::array![[1.0]]);
        Ok(())
    }

    #[test]
    fn what_was_protected_is_unprotected_unless_noise_was_added() -> Result<(), Error> {
        let protected = Protected::new(ones).with(Rotation::new(&Key::from_bytes([1; 32]), 4)?);
        let mut vectors = protected.embed_documents(&["a"])?;
        protected.unprotect(vectors.view_mut())?;
        assert!(vectors.iter().all(|value| (value - 1.0).abs() < 1e-5));
        let refused = protected.with(GaussianNoise::new(0.1)?).unprotect(vectors.view_mut());
        assert!(
            matches!(refused, Err(Error::Defense(embosk_defenses::Error::NotInvertible { .. }))),
            "{refused:?}"
        );
        Ok(())
    }

    #[test]
    fn rows_are_protected_as_a_matrix_is() -> Result<(), Error> {
        let protected = Protected::new(ones).with(Rotation::new(&Key::from_bytes([1; 32]), 3)?);
        let mut matrix = ndarray::array![[1.0, 2.0, 3.0], [4.0, 5.0, 7.0]];
        let mut slice = matrix.iter().copied().collect::<Vec<f32>>();
        let mut rows: Vec<Vec<f32>> = slice.chunks(3).map(<[f32]>::to_vec).collect();
        protected.protect(Role::Document, matrix.view_mut())?;
        protected.protect_rows(Role::Document, &mut slice, 3)?;
        protected.protect_vecs(Role::Document, &mut rows)?;
        let expected: Vec<f32> = matrix.iter().copied().collect();
        assert_eq!((&slice, &rows.concat()), (&expected, &expected));
        protected.protect_vecs(Role::Query, &mut [])?;
        Ok(())
    }

    #[test]
    fn a_projection_changes_the_dimension_where_vectors_are_owned() -> Result<(), Error> {
        let protected = Protected::new(ones).with(Projection::keyed(&Key::from_bytes([1; 32]), 2)?);
        let coarse = protected.embed_documents(&["a", "b"])?;
        assert_eq!(coarse.dim(), (2, 2));
        let owned = protected.protect_owned(Role::Document, Array2::ones((2, 4)))?;
        let by_id = protected.protect_owned_with_ids(Role::Document, &["a", "b"], Array2::ones((2, 4)))?;
        assert_eq!((&owned, &by_id), (&coarse, &coarse));
        let mut rows = vec![vec![1.0; 4]];
        protected.protect_vecs(Role::Query, &mut rows)?;
        assert_eq!(rows, [coarse.row(0).to_vec()]);

        let mut in_place = Array2::ones((1, 4));
        let refused = protected.protect(Role::Document, in_place.view_mut()).expect_err("it does not fit");
        assert!(refused.to_string().contains("call `protect_owned`"), "{refused}");
        assert!(protected.protect_rows(Role::Document, &mut [1.0; 4], 4).is_err());
        assert!(protected.protect_with_ids(Role::Document, &["a"], in_place.view_mut()).is_err());
        assert_eq!(in_place, Array2::<f32>::ones((1, 4)));
        Ok(())
    }

    #[test]
    fn rows_that_are_not_whole_or_equally_long_are_refused_and_unchanged() -> Result<(), Error> {
        let protected = Protected::new(ones).with(Quantization::new(8)?);
        let mut slice = [1.0, 2.0, 3.0, 4.0];
        for dim in [3, 5, 0] {
            let refused = protected.protect_rows(Role::Document, &mut slice, dim);
            assert!(matches!(refused, Err(Error::Setting(_))), "{refused:?}");
        }
        let mut rows = vec![vec![1.0, 2.0], vec![3.0, 4.0], vec![5.0]];
        let refused = protected.protect_vecs(Role::Document, &mut rows);
        assert!(matches!(refused, Err(Error::Ragged { row: 2, expected: 2, found: 1 })), "{refused:?}");
        rows[2].push(f32::NAN);
        assert!(matches!(protected.protect_vecs(Role::Document, &mut rows), Err(Error::Defense(_))));
        assert_eq!((slice, &rows[..2]), ([1.0, 2.0, 3.0, 4.0], &[vec![1.0, 2.0], vec![3.0, 4.0]][..]));
        Ok(())
    }
}

use std::fmt;

use ndarray::{Array2, ArrayViewMut2};

use embosk_defenses::Checked;

use crate::{Defense, Embedder, Error, Rng, Role, Stack};

/// An embedding function with defenses behind it: what comes out is protected already.
///
/// Every call draws fresh randomness from the operating system; there is no seed to set, so a fixed
/// one cannot ship by accident.
///
/// It is not an [`Embedder`] itself, for two reasons. Documents and queries may be protected in
/// different ways, and `embed` would choose between them silently. And whoever embeds twice must see
/// that protected vectors differ from call to call where a defense is random.
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
/// assert_eq!(protected.embed_queries(&["what do I owe?"])?.dim(), (1, 8));
/// # Ok::<(), embosk::Error>(())
/// ```
///
/// Vectors that exist already, or come from an async client, are protected in place:
///
/// ```
/// # use embosk::{BoxError, Protected, Quantization};
/// use embosk::Role;
/// # let embed = |texts: &[&str]| -> Result<ndarray::Array2<f32>, BoxError> {
/// #     Ok(ndarray::Array2::ones((texts.len(), 2)))
/// # };
/// # let protected = Protected::new(embed).with(Quantization::new(1)?);
///
/// let mut vectors = ndarray::array![[3.0_f32, -4.0]];
/// protected.protect(Role::Document, vectors.view_mut())?;
/// # assert_eq!(vectors[[0, 0]], -vectors[[0, 1]]);
/// # Ok::<(), embosk::Error>(())
/// ```
#[derive(Clone)]
pub struct Protected<E> {
    embedder: E,
    defenses: Stack,
}

impl<E> Protected<E> {
    /// `embedder` without any defense yet.
    pub fn new(embedder: E) -> Self {
        Self { embedder, defenses: Stack::new() }
    }

    /// Adds `defense`, which may be a whole [`Stack`], after those that are there.
    pub fn with(mut self, defense: impl Defense) -> Self {
        self.defenses.push(defense);
        self
    }

    /// Returns the text to store beside the vectors, which says in which space they are: see
    /// [`Stack::fingerprint`].
    pub fn fingerprint(&self) -> String {
        self.defenses.fingerprint()
    }

    /// Checks that vectors with the fingerprint `stored` are in the space of these defenses. What is returned may
    /// carry a warning.
    ///
    /// # Errors
    /// [`Error::Defense`] where they are not: see [`Stack::check_fingerprint`].
    pub fn check_fingerprint(&self, stored: &str) -> Result<Checked, Error> {
        Ok(self.defenses.check_fingerprint(stored)?)
    }

    /// Protects `vectors`, `[batch, dim]`, in place.
    ///
    /// # Errors
    /// [`Error::Defense`] where a defense refuses them; they are then as they were.
    pub fn protect(&self, role: Role, vectors: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        Ok(self.defenses.protect(role, vectors, &mut Rng::from_os()?)?)
    }

    /// Protects `vectors`, `[batch, dim]`, in place, where each row has an id: see
    /// [`Defense::protect_with_ids`].
    ///
    /// # Errors
    /// As [`protect`](Self::protect), and where there are not as many ids as rows.
    pub fn protect_with_ids<I: AsRef<[u8]>>(
        &self,
        role: Role,
        ids: &[I],
        vectors: ArrayViewMut2<'_, f32>,
    ) -> Result<(), Error> {
        let ids: Vec<&[u8]> = ids.iter().map(AsRef::as_ref).collect();
        Ok(self.defenses.protect_with_ids(role, &ids, vectors, &mut Rng::from_os()?)?)
    }
}

impl<E: Embedder> Protected<E> {
    /// Embeds texts that are to be searched: protected vectors, `[texts, dim]`.
    ///
    /// # Errors
    /// [`Error::Embedder`] where the embedding function fails, [`Error::Rows`] where it returns more
    /// or fewer rows than texts, and [`Error::Defense`] where a defense refuses them.
    pub fn embed_documents(&self, texts: &[&str]) -> Result<Array2<f32>, Error> {
        self.embed(Role::Document, texts)
    }

    /// Embeds texts that search: protected vectors, `[texts, dim]`.
    ///
    /// # Errors
    /// As [`embed_documents`](Self::embed_documents).
    pub fn embed_queries(&self, texts: &[&str]) -> Result<Array2<f32>, Error> {
        self.embed(Role::Query, texts)
    }

    fn embed(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, Error> {
        let mut vectors = self.embedder.embed(texts).map_err(Error::Embedder)?;
        if vectors.nrows() != texts.len() {
            return Err(Error::Rows { texts: texts.len(), rows: vectors.nrows() });
        }
        self.protect(role, vectors.view_mut())?;
        Ok(vectors)
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
    use crate::{BoxError, GaussianNoise, Key, Rotation};

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
    fn without_defenses_vectors_pass_through() -> Result<(), Error> {
        assert_eq!(Protected::new(ones).embed_documents(&["a", "b"])?, Array2::<f32>::ones((2, 4)));
        assert_eq!(Protected::new(ones).embed_documents(&[])?.nrows(), 0);
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
}

//! Rows that only the holder of a key can open.

mod half;
mod layout;
mod precision;
mod refusal;
#[cfg(test)]
mod tests;

use std::fmt;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};
use ndarray::{Array2, ArrayView1, ArrayView2};
use zeroize::Zeroizing;

use self::layout::{Header, Kind, NONCE_BYTES};
pub use self::precision::Precision;
pub use self::refusal::Refusal;
use crate::rng::fill_from_os;
use crate::{Defense, Error, Key, Stack, fingerprint};

/// The label under which the key of sealed rows is derived; part of the storage format.
const LABEL: &str = "embosk sealed v1";

/// Seals exact vectors, texts and metadata, so that a store can keep them without being able to read them.
///
/// **Seal the text first.** Most stores keep a chunk's text beside its vector. No defense of the vector helps
/// against someone who reads that text. [`seal_text`](Self::seal_text) seals it under the same key.
///
/// Sealing is authenticated encryption (XChaCha20-Poly1305). It is not a [`Defense`]: a sealed vector cannot be
/// searched. It is stored beside a *coarse* vector that can: the store finds candidates by the coarse vectors, and
/// the application opens the candidates and orders them exactly. `embosk::Protected::sealed` does both, and
/// [`Rerank`](crate::Rerank) is its name in a spec.
///
/// # What a row is bound to
/// A row opens only
///
/// - under the key that sealed it;
/// - for its own id, so a store cannot pass one row off as another. Ids must be unique: two rows with one id
///   can be swapped. An older version of a row under the same id opens too;
/// - for its own field, if it is a text, so a title cannot be passed off as the chunk;
/// - under the stack that it is [bound to](Self::bound_to).
///
/// # Who it stops
/// Whoever reads the store, a backup or the traffic to the store without the key. They learn how long each row is,
/// and so the length of each text and the dimension of each vector.
///
/// # Who it does not
/// Whoever has the key reads everything. An operator also sees which rows a query opens.
///
/// # What it costs
/// 61 bytes per row, and 4 more for a vector's scale at [`Precision::Int8`], the default. See [`Precision`] for what
/// rounding costs in retrieval.
///
/// # Example
/// ```
/// use embosk_defenses::{Error, GaussianNoise, Key, Refusal, Sealer, Stack};
/// use ndarray::array;
///
/// let stack = Stack::new().with(GaussianNoise::new(0.1)?);
/// let sealer = Sealer::new(&Key::generate()?).bound_to(&stack);
///
/// let sealed = sealer.seal_vector("row 7", array![0.6, -0.8].view())?;
/// let opened = sealer.open_vector("row 7", &sealed)?;
/// assert!((opened[0] - 0.6).abs() < 0.01);
///
/// let text = sealer.seal_text("row 7", "chunk", "Ann Lee owes 420 euros.")?;
/// assert_eq!(*sealer.open_text("row 7", "chunk", &text)?, "Ann Lee owes 420 euros.");
///
/// let swapped = sealer.open_text("row 8", "chunk", &text);
/// assert!(matches!(swapped, Err(Error::Sealed { row: 0, refusal: Refusal::Altered })));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    /// The key's public digits, as bytes.
    key: [u8; 4],
    /// The space of the stack's vectors, without what may not be known yet.
    space: String,
    precision: Precision,
}

impl Sealer {
    /// Creates a sealer under `key`, which may also be the key of other defenses.
    pub fn new(key: &Key) -> Self {
        let secret = key.derive(LABEL, 0);
        Self {
            cipher: XChaCha20Poly1305::new((&*secret).into()),
            key: key.digits(),
            space: space_of(&Stack::new()),
            precision: Precision::default(),
        }
    }

    /// Binds rows to the stack whose vectors are stored beside them: a row does not open under another stack.
    ///
    /// What counts is the stack's [space](Defense::space) without dimensions, which a stack may not know before
    /// its first vectors, and without `rerank`. Noise does not count. Default: the empty stack.
    pub fn bound_to(self, stack: &dyn Defense) -> Self {
        Self { space: space_of(stack), ..self }
    }

    /// Sets how vectors are rounded before they are sealed. Default: [`Precision::Int8`]. Rows of any precision
    /// are opened.
    pub fn precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Seals one vector, `[dim]`, for the row `id`.
    ///
    /// # Errors
    /// As [`seal_vectors`](Self::seal_vectors).
    pub fn seal_vector(&self, id: impl AsRef<[u8]>, vector: ArrayView1<'_, f32>) -> Result<Vec<u8>, Error> {
        let mut sealed = self.seal_vectors(&[id], vector.insert_axis(ndarray::Axis(0)))?;
        Ok(sealed.swap_remove(0))
    }

    /// Seals `vectors`, `[rows, dim]`, with one id per row.
    ///
    /// # Errors
    /// [`Error::RowIds`] unless there are as many ids as rows, [`Error::NotFinite`] as
    /// [`check_finite`](crate::check_finite), [`Error::EmptyId`] with the first row whose id is empty,
    /// [`Error::Setting`] for numbers that the precision cannot hold, and [`Error::Randomness`] if the operating system
    /// provides none.
    pub fn seal_vectors(
        &self,
        ids: &[impl AsRef<[u8]>],
        vectors: ArrayView2<'_, f32>,
    ) -> Result<Vec<Vec<u8>>, Error> {
        check_sealed_ids(ids, vectors.nrows())?;
        crate::check_finite(&vectors)?;
        let nonces = nonces(ids.len())?;
        let kind = self.precision.kind();
        let rows = ids.iter().zip(vectors.rows()).zip(&nonces);
        rows.map(|((id, vector), nonce)| {
            let plain = self.precision.encode(vector)?;
            self.seal(Place { kind, field: "", id: id.as_ref() }, &plain, nonce)
        })
        .collect()
    }

    /// Opens the vector of the row `id`. It wipes itself from memory when it is dropped.
    ///
    /// # Errors
    /// As [`open_each`](Self::open_each).
    pub fn open_vector(&self, id: impl AsRef<[u8]>, sealed: &[u8]) -> Result<Zeroizing<Vec<f32>>, Error> {
        let mut opened = Zeroizing::new(Vec::new());
        self.open_each([(id, sealed)], |_, vector| opened.extend_from_slice(vector))?;
        Ok(opened)
    }

    /// Opens the vectors of several rows, `[rows, dim]`, in their order.
    ///
    /// # Errors
    /// As [`open_each`](Self::open_each), and [`Error::Sealed`] if the vectors have different dimensions.
    pub fn open_vectors(
        &self,
        ids: &[impl AsRef<[u8]>],
        sealed: &[impl AsRef<[u8]>],
    ) -> Result<Array2<f32>, Error> {
        if ids.len() != sealed.len() {
            return Err(Error::RowIds { rows: sealed.len(), ids: ids.len() });
        }
        let (mut vectors, mut odd) = (Array2::zeros((ids.len(), 0)), None);
        self.open_each(ids.iter().zip(sealed), |row, vector| {
            if row == 0 {
                vectors = Array2::zeros((ids.len(), vector.len()));
            }
            match (vectors.ncols(), vector.len()) {
                (expected, found) if expected == found => {
                    vectors.row_mut(row).assign(&ArrayView1::from(vector));
                }
                (expected, found) => {
                    odd.get_or_insert((row, Refusal::Dimension { expected, found }));
                }
            }
        })?;
        odd.map_or(Ok(vectors), |(row, refusal)| Err(Error::Sealed { row, refusal }))
    }

    /// Opens the vectors of `rows`, pairs of an id and sealed bytes, one after the other, and calls `each` with
    /// the row's place, counted from 0, and its vector. The memory that they are opened in is wiped at the end.
    ///
    /// # Errors
    /// [`Error::Sealed`] with the first row that does not open, and why. `each` was then called for the rows
    /// before it.
    pub fn open_each(
        &self,
        rows: impl IntoIterator<Item = (impl AsRef<[u8]>, impl AsRef<[u8]>)>,
        mut each: impl FnMut(usize, &[f32]),
    ) -> Result<(), Error> {
        let mut plain = Zeroizing::new(Vec::new());
        let mut vector = Zeroizing::new(Vec::new());
        for (row, (id, sealed)) in rows.into_iter().enumerate() {
            self.open_into(&mut plain, Wanted::Vector, ("", id.as_ref()), sealed.as_ref())
                .and_then(|kind| Precision::decode(kind, &plain, &mut vector))
                .map_err(|refusal| Error::Sealed { row, refusal })?;
            each(row, &vector);
        }
        Ok(())
    }

    /// Seals a text for the row `id`: the chunk that was embedded, or metadata such as a title. `field` names
    /// which; it is not stored, and opening must name it again.
    ///
    /// # Errors
    /// As [`seal_texts`](Self::seal_texts).
    pub fn seal_text(&self, id: impl AsRef<[u8]>, field: &str, text: &str) -> Result<Vec<u8>, Error> {
        let mut sealed = self.seal_texts(&[id], field, &[text])?;
        Ok(sealed.swap_remove(0))
    }

    /// Seals one text for each of several rows, with one id per text: see [`seal_text`](Self::seal_text).
    ///
    /// # Errors
    /// [`Error::RowIds`] unless there are as many ids as texts, [`Error::EmptyId`] with the first row whose id is
    /// empty, [`Error::Setting`] for a text of 4 GiB or more, and [`Error::Randomness`] if the operating system
    /// provides none.
    pub fn seal_texts(
        &self,
        ids: &[impl AsRef<[u8]>],
        field: &str,
        texts: &[impl AsRef<str>],
    ) -> Result<Vec<Vec<u8>>, Error> {
        check_sealed_ids(ids, texts.len())?;
        let nonces = nonces(ids.len())?;
        let rows = ids.iter().zip(texts).zip(&nonces);
        rows.map(|((id, text), nonce)| {
            self.seal(Place { kind: Kind::Text, field, id: id.as_ref() }, text.as_ref().as_bytes(), nonce)
        })
        .collect()
    }

    /// Opens the text `field` of the row `id`. It wipes itself from memory when it is dropped.
    ///
    /// # Errors
    /// [`Error::Sealed`], with row 0, if it does not open.
    pub fn open_text(
        &self,
        id: impl AsRef<[u8]>,
        field: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<String>, Error> {
        let refused = |refusal| Error::Sealed { row: 0, refusal };
        let mut plain = Zeroizing::new(Vec::new());
        self.open_into(&mut plain, Wanted::Text, (field, id.as_ref()), sealed).map_err(refused)?;
        let text = String::from_utf8(std::mem::take(&mut *plain));
        // what was sealed was a text, so this cannot happen; the bytes are wiped all the same
        text.map(Zeroizing::new).map_err(|error| {
            drop(Zeroizing::new(error.into_bytes()));
            refused(Refusal::Altered)
        })
    }

    /// Opens a vector of the row `id` and seals it again under `new`, exactly as it is: a change of key or stack does
    /// not round it again.
    ///
    /// # Errors
    /// [`Error::Sealed`], with row 0, if it does not open, and [`Error::Randomness`] if the operating system
    /// provides none.
    pub fn rekey_vector(&self, new: &Self, id: impl AsRef<[u8]>, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        self.rekey(new, Wanted::Vector, ("", id.as_ref()), sealed)
    }

    /// Opens the text `field` of the row `id` and seals it again under `new`.
    ///
    /// # Errors
    /// As [`rekey_vector`](Self::rekey_vector).
    pub fn rekey_text(
        &self,
        new: &Self,
        id: impl AsRef<[u8]>,
        field: &str,
        sealed: &[u8],
    ) -> Result<Vec<u8>, Error> {
        self.rekey(new, Wanted::Text, (field, id.as_ref()), sealed)
    }

    fn rekey(&self, new: &Self, wanted: Wanted, of: (&str, &[u8]), sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let mut plain = Zeroizing::new(Vec::new());
        let opened = self.open_into(&mut plain, wanted, of, sealed);
        let kind = opened.map_err(|refusal| Error::Sealed { row: 0, refusal })?;
        let (field, id) = of;
        new.seal(Place { kind, field, id }, &plain, &nonces(1)?[0])
    }

    /// Seals `plain`. A nonce must be used only once.
    fn seal(&self, place: Place<'_>, plain: &[u8], nonce: &[u8; NONCE_BYTES]) -> Result<Vec<u8>, Error> {
        let Ok(len) = u32::try_from(plain.len()) else {
            return Err(Error::Setting { name: "a sealed text", expected: "shorter than 4 GiB" });
        };
        let header = Header { kind: place.kind, key: self.key, space: layout::digest(&self.space), len };
        let mut sealed = Vec::with_capacity(layout::sealed_len(plain.len()));
        sealed.extend(header.to_bytes());
        sealed.extend(nonce);
        let (head, body) = (header.to_bytes(), sealed.len());
        sealed.extend(plain);
        let data = layout::associated(&head, &self.space, place.field, place.id);
        let tag = self
            .cipher
            .encrypt_inout_detached(&XNonce::from(*nonce), &data, (&mut sealed[body..]).into())
            .expect("a message of less than 4 GiB is not too long");
        sealed.extend(tag);
        Ok(sealed)
    }

    /// Opens `sealed` into `plain`, whose former content is wiped.
    fn open_into(
        &self,
        plain: &mut Zeroizing<Vec<u8>>,
        wanted: Wanted,
        (field, id): (&str, &[u8]),
        sealed: &[u8],
    ) -> Result<Kind, Refusal> {
        let (header, head, nonce, body, tag) = layout::parts(sealed)?;
        wanted.check(header.kind)?;
        if header.key != self.key {
            return Err(Refusal::key(header.key, self.key));
        }
        if header.space != layout::digest(&self.space) {
            return Err(Refusal::OtherStack);
        }
        // grown anew, the former content would be left behind
        if plain.capacity() < body.len() {
            *plain = Zeroizing::new(Vec::with_capacity(body.len()));
        }
        plain.clear();
        plain.extend_from_slice(body);
        let data = layout::associated(head, &self.space, field, id);
        let (nonce, tag) = (XNonce::from(*nonce), Tag::from(*tag));
        self.cipher
            .decrypt_inout_detached(&nonce, &data, plain.as_mut_slice().into(), &tag)
            .map_err(|_| Refusal::Altered)?;
        Ok(header.kind)
    }
}

/// Where a row belongs, and what it holds.
#[derive(Clone, Copy)]
struct Place<'a> {
    kind: Kind,
    field: &'a str,
    id: &'a [u8],
}

/// What is to be opened.
#[derive(Clone, Copy)]
enum Wanted {
    Vector,
    Text,
}

impl Wanted {
    fn check(self, kind: Kind) -> Result<(), Refusal> {
        match (self, kind) {
            (Self::Vector, Kind::Text) => Err(Refusal::Kind { expected: "a vector", found: "a text" }),
            (Self::Text, Kind::Text) | (Self::Vector, _) => Ok(()),
            (Self::Text, _) => Err(Refusal::Kind { expected: "a text", found: "a vector" }),
        }
    }
}

/// Refuses ids of other rows than these, and empty ones.
fn check_sealed_ids(ids: &[impl AsRef<[u8]>], rows: usize) -> Result<(), Error> {
    if ids.len() != rows {
        return Err(Error::RowIds { rows, ids: ids.len() });
    }
    match ids.iter().position(|id| id.as_ref().is_empty()) {
        Some(row) => Err(Error::EmptyId { row }),
        None => Ok(()),
    }
}

/// The stack's fingerprint without dimensions, and without how its candidates are ordered.
fn space_of(stack: &dyn Defense) -> String {
    let space = stack.space();
    let parts = space.parts().iter().filter(|part| part.name() != "rerank");
    fingerprint::of(&parts.map(|part| part.without("dim")).collect())
}

/// Draws `count` nonces from the operating system, all at once.
fn nonces(count: usize) -> Result<Vec<[u8; NONCE_BYTES]>, Error> {
    let mut nonces = vec![[0; NONCE_BYTES]; count];
    fill_from_os(nonces.as_flattened_mut())?;
    Ok(nonces)
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer")
            .field("key", &base16ct::lower::encode_string(&self.key))
            .field("space", &self.space)
            .field("precision", &self.precision)
            .finish_non_exhaustive()
    }
}

impl Precision {
    /// Returns how many bytes a sealed vector of `dim` dimensions takes.
    pub fn sealed_bytes(self, dim: usize) -> usize {
        layout::sealed_len(self.plain_bytes(dim))
    }
}

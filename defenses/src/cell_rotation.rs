mod cells;
mod complement;

use std::fmt;
use std::sync::{Arc, OnceLock};

use ndarray::{ArrayView2, ArrayViewMut2};
use zeroize::Zeroizing;

pub use cells::Cells;

use crate::hadamard::Hadamard;
use crate::parallel::for_pieces;
use crate::spec::{Part, Value};
use crate::{Defense, Error, Guarantee, Key, Rng, Role, Spec};

/// A secret rotation of its own for each cell of the space.
///
/// # What it does
/// The space is divided into cells ([`Cells`]): a few principal components decide which cell a vector is in. These
/// components stay as they are. Everything else, the part of a vector that is orthogonal to them, is rotated under the
/// key, in each cell differently. Two vectors in one cell keep their inner product. Of two vectors in different cells,
/// the inner product of the components is left, and the rest becomes a small number that only the key explains. So one
/// query searches all cells: exactly in its own, and by topic in the others. The idea is SHARD's (arXiv 2606.27976),
/// where a query visits several cells.
///
/// # Who it stops
/// An attacker without pairs: a cloud is as large as a cell, and clouds of a thousand vectors are hardly ever aligned.
/// An attacker with pairs needs as many as a [rotation](crate::Rotation) takes, but for each cell. `leaked` and
/// `unpaired` attack cell by cell.
///
/// # Who it does not
/// - An attacker who has the key.
/// - An attacker who has many pairs for each cell, or pairs in the one cell that matters.
/// - An attacker who asks for the topic, which the components show.
///
/// Equal texts stay equal, and everyone can tell which cell a vector is in.
///
/// # What it costs in retrieval
/// Documents of other cells are ordered by topic alone. With [`Rerank`](crate::Rerank) at the end of the stack, the
/// application orders the candidates by exact vectors.
///
/// # Order in a stack
/// First, or after a fitted [`Projection`](crate::Projection), with cells that were fitted on what it gives. Noise comes
/// after it.
///
/// # Fingerprint
/// The key and the cells.
///
/// # Default
/// None. A spec names the file of the cells, `fit=file:PATH`, which `embosk fit cells` writes.
///
/// # Example
/// ```
/// use embosk_defenses::{CellRotation, Cells, Defense, Key, Rng, Role};
/// use ndarray::{Array2, array};
///
/// let stored = Array2::from_shape_fn((40, 6), |(row, column)| ((row * 7 + column * 5) % 11) as f32 - 5.0);
/// let cells = Cells::fit(stored.view(), 2, 10)?;
/// let rotation = CellRotation::new(&Key::generate()?, cells)?;
/// let mut vectors = stored.clone();
/// rotation.protect(Role::Document, vectors.view_mut(), &mut Rng::from_os()?)?;
/// rotation.restore(vectors.view_mut())?;
/// assert!((vectors - stored).iter().all(|difference| difference.abs() < 1e-5));
/// # Ok::<(), embosk_defenses::Error>(())
/// ```
#[derive(Clone)]
pub struct CellRotation {
    key: Key,
    cells: Arc<Cells>,
    rotations: Arc<[OnceLock<Hadamard>]>,
    /// The cell of all vectors, if they are not looked up.
    only: Option<usize>,
}

impl CellRotation {
    /// Creates the rotations of `cells` under `key`. Each is drawn when the first vector of its cell comes.
    ///
    /// # Errors
    /// [`Error::Setting`] if the cells' components leave nothing to rotate: there must be two dimensions more than
    /// components.
    pub fn new(key: &Key, cells: Cells) -> Result<Self, Error> {
        if cells.dim() < cells.dims() + 2 {
            return Err(Error::Setting {
                name: "dims",
                expected: "at least two fewer components than dimensions",
            });
        }
        Ok(Self::of(key.clone(), Arc::new(cells)))
    }

    fn of(key: Key, cells: Arc<Cells>) -> Self {
        let rotations = (0..cells.len()).map(|_| OnceLock::new()).collect();
        Self { key, cells, rotations, only: None }
    }

    /// Undoes [`protect`](Defense::protect) on `vectors`, `[batch, dim]`, up to `f32` rounding. Vectors with noise may
    /// be taken for those of a neighboring cell.
    ///
    /// # Errors
    /// As `protect`.
    pub fn restore(&self, vectors: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        self.turn(vectors, Hadamard::undo)
    }

    fn turn(
        &self,
        vectors: ArrayViewMut2<'_, f32>,
        turn: fn(&Hadamard, ArrayViewMut2<'_, f32>),
    ) -> Result<(), Error> {
        self.cells.check(&vectors)?;
        let complement = self.cells.complement();
        let size = complement.size();
        for_pieces(vectors, self.cells.dim(), 1, |_, mut vectors| {
            let places = match self.only {
                Some(cell) => vec![cell; vectors.nrows()],
                None => self.cells.nearest(vectors.view()),
            };
            let mut part = Zeroizing::new(vec![0.0_f32; size]);
            for (mut row, cell) in vectors.rows_mut().into_iter().zip(places) {
                complement.change(row.view_mut(), &mut part, |part| {
                    let part = ArrayViewMut2::from_shape((1, size), part).expect("one row");
                    turn(self.rotation(cell), part);
                });
            }
        });
        Ok(())
    }

    /// The label names the version of the format; what is drawn is as large as the vectors' other part.
    fn rotation(&self, cell: usize) -> &Hadamard {
        let size = self.cells.complement().size();
        self.rotations[cell].get_or_init(|| Hadamard::draw(size, &mut self.key.rng("embosk cells v1", cell)))
    }
}

impl Defense for CellRotation {
    fn protect(&self, _: Role, vectors: ArrayViewMut2<'_, f32>, _: &mut Rng) -> Result<(), Error> {
        self.turn(vectors, Hadamard::apply)
    }

    /// Nothing: between cells, distances change.
    fn guarantee(&self) -> Guarantee {
        Guarantee::None
    }

    fn cells(&self, vectors: ArrayView2<'_, f32>) -> Result<Option<Vec<usize>>, Error> {
        self.cells.of_vectors(vectors).map(Some)
    }

    fn in_cell(&self, cell: usize) -> Option<Arc<dyn Defense>> {
        (cell < self.cells.len()).then(|| Arc::new(Self { only: Some(cell), ..self.clone() }) as _)
    }

    fn spec(&self) -> Spec {
        let part = Part::new("cells").with("key", Value::fingerprint(&self.key.fingerprint()));
        part.with("max", self.cells.max()).with("fit", Value::fit(&self.cells.digits())).into()
    }

    fn undo_key(&self, vectors: ArrayViewMut2<'_, f32>) -> Result<bool, Error> {
        self.restore(vectors).map(|()| true)
    }

    fn unprotect(&self, vectors: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        self.restore(vectors)
    }

    fn imitation(&self, rng: &mut Rng) -> Option<Arc<dyn Defense>> {
        Some(Arc::new(Self::of(Key::draw(rng), Arc::clone(&self.cells))))
    }
}

impl fmt::Display for CellRotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spec().fmt(f)
    }
}

impl fmt::Debug for CellRotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CellRotation({self})")
    }
}

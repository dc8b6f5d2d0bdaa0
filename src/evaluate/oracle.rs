//! The clean embedder as the attacker queries it: cached in memory and, while there is room, on disk, so that no text
//! is embedded twice.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};

use embosk_attacks::WhiteBox;
use ndarray::{Array2, ArrayView1, Axis};

use crate::embedder::{EmbeddingCache, embed_checked};
use crate::{BoxError, Embedder, Error, Role};

/// Rows are kept up to about this many bytes; then the cache is emptied.
const BYTES: usize = 256 << 20;

/// Hypotheses are kept on disk only while the file has at most this many bytes: there may be millions.
const BYTES_ON_DISK: u64 = 2 << 30;

/// How many texts go to the embedder between two reports of progress.
const BATCH: usize = 1024;

/// An embedder in the role of the oracle, with a cache.
pub(super) struct CachedOracle<'a> {
    embedder: &'a dyn Embedder,
    /// The cache on disk, which serves later evaluations.
    disk: Option<&'a EmbeddingCache>,
    dimension: usize,
    documents: RefCell<Rows>,
    /// Stays empty if the embedder has no roles.
    queries: RefCell<Rows>,
    embedded: Cell<usize>,
    progress: &'a dyn Fn(&str),
    label: RefCell<String>,
}

type Rows = HashMap<String, Box<[f32]>>;

impl<'a> CachedOracle<'a> {
    pub(super) fn new(embedder: &'a dyn Embedder, dimension: usize, progress: &'a dyn Fn(&str)) -> Self {
        let (documents, queries) = (RefCell::default(), RefCell::default());
        let (embedded, label) = (Cell::default(), RefCell::default());
        Self { embedder, disk: None, dimension, documents, queries, embedded, progress, label }
    }

    /// Also looks for vectors on disk, and stores them there.
    pub(super) fn on_disk(self, disk: Option<&'a EmbeddingCache>) -> Self {
        Self { disk, ..self }
    }

    /// Sets what the following queries are for, as progress shows it.
    pub(super) fn label(&self, label: String) {
        self.embedded.set(0);
        (self.progress)(&label);
        self.label.replace(label);
    }

    /// What the embedder says about its vectors' norm.
    pub(super) fn has_unit_norm(&self) -> Option<bool> {
        self.embedder.has_unit_norm()
    }

    fn embed_as(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        let rows =
            if role == Role::Query && self.embedder.has_roles() { &self.queries } else { &self.documents };
        let mut rows = rows.borrow_mut();
        let mut missing = unique(texts.iter().copied().filter(|text| !rows.contains_key(*text)));
        if (rows.len() + missing.len()) * (self.dimension * size_of::<f32>() + 128) > BYTES {
            rows.clear();
            missing = unique(texts.iter().copied());
        }
        if !missing.is_empty() {
            let fresh = match self.disk {
                Some(disk) => disk.embed_within(BYTES_ON_DISK, self.embedder, role, &missing, |_| ()),
                None => embed_checked(self.embedder, role, &missing),
            };
            let fresh = fresh.map_err(cause)?;
            let owned = |row: ArrayView1<'_, f32>| row.iter().copied().collect();
            rows.extend(missing.iter().zip(fresh.rows()).map(|(text, row)| ((*text).to_owned(), owned(row))));
            self.report(missing.len());
        }
        let values =
            texts.iter().filter_map(|text| rows.get(*text)).flat_map(|row| row.iter().copied()).collect();
        Ok(Array2::from_shape_vec((texts.len(), self.dimension), values)?)
    }

    fn report(&self, texts: usize) {
        self.embedded.set(self.embedded.get() + texts);
        (self.progress)(&format!("{}: {} oracle queries", self.label.borrow(), self.embedded.get()));
    }
}

impl embosk_attacks::Oracle for CachedOracle<'_> {
    fn embed(&self, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        self.embed_as(Role::Document, texts)
    }

    fn embed_queries(&self, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        self.embed_as(Role::Query, texts)
    }

    fn white_box(&self) -> Option<&dyn WhiteBox> {
        self.embedder.white_box()
    }
}

/// The cause for an attack's error, which already says that the embedding function failed.
fn cause(error: Error) -> BoxError {
    match error {
        Error::Embedder(cause) => cause,
        error => error.into(),
    }
}

fn unique<'t>(texts: impl Iterator<Item = &'t str>) -> Vec<&'t str> {
    let mut seen = HashSet::new();
    texts.filter(|text| seen.insert(*text)).collect()
}

/// Embeds all `texts`, with progress, `[texts, dim]`.
pub(super) fn embed_all(
    embedder: &dyn Embedder,
    role: Role,
    texts: &[String],
    progress: impl Fn(usize),
) -> Result<Array2<f32>, Error> {
    let mut done = 0;
    let mut parts = Vec::new();
    for batch in texts.chunks(BATCH) {
        progress(done);
        let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
        parts.push(embed_checked(embedder, role, &batch)?);
        done += batch.len();
    }
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    ndarray::concatenate(Axis(0), &views)
        .map_err(|_| Error::Embedder("its vectors differ in dimension from batch to batch".into()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp)]
mod tests {
    use std::sync::Mutex;

    use embosk_attacks::Oracle as _;

    use super::*;
    use crate::embedder::{ByRole, Described, Identity};

    #[test]
    fn a_text_is_embedded_once_and_rows_keep_their_order() {
        let calls = Mutex::new(Vec::new());
        let embedder = |texts: &[&str]| -> Result<Array2<f32>, BoxError> {
            calls.lock().unwrap().extend(texts.iter().map(ToString::to_string));
            Ok(Array2::from_shape_fn((texts.len(), 1), |(row, _)| texts[row].len() as f32))
        };
        let oracle = CachedOracle::new(&embedder, 1, &|_| ());
        assert_eq!(oracle.embed(&["a", "bbb", "a"]).unwrap().into_raw_vec_and_offset().0, [1.0, 3.0, 1.0]);
        assert_eq!(oracle.embed(&["cc", "bbb", ""]).unwrap().into_raw_vec_and_offset().0, [2.0, 3.0, 0.0]);
        assert_eq!(oracle.embed(&[]).unwrap().dim(), (0, 1));
        assert_eq!(*calls.lock().unwrap(), ["a", "bbb", "cc", ""]);
    }

    #[test]
    fn documents_and_queries_are_kept_apart_where_the_embedder_has_roles() {
        let calls = Mutex::new(0);
        let embedder = ByRole(|role: Role, texts: &[&str]| -> Result<Array2<f32>, BoxError> {
            *calls.lock().unwrap() += texts.len();
            Ok(Array2::from_elem((texts.len(), 1), f32::from(u8::from(role == Role::Query))))
        });
        let oracle = CachedOracle::new(&embedder, 1, &|_| ());
        for _ in 0..2 {
            assert_eq!(oracle.embed(&["a"]).unwrap()[[0, 0]], 0.0);
            assert_eq!(oracle.embed_queries(&["a"]).unwrap()[[0, 0]], 1.0);
        }
        assert_eq!(*calls.lock().unwrap(), 2);
        let plain = |texts: &[&str]| -> Result<Array2<f32>, BoxError> {
            *calls.lock().unwrap() += texts.len();
            Ok(Array2::zeros((texts.len(), 1)))
        };
        let oracle = CachedOracle::new(&plain, 1, &|_| ());
        assert_eq!(oracle.embed(&["a"]).unwrap(), oracle.embed_queries(&["a"]).unwrap());
        assert_eq!(*calls.lock().unwrap(), 3, "one text, one question");
    }

    #[test]
    fn a_later_oracle_embeds_only_what_is_new() {
        let calls = Mutex::new(Vec::new());
        let lengths = |texts: &[&str]| -> Result<Array2<f32>, BoxError> {
            calls.lock().unwrap().extend(texts.iter().map(ToString::to_string));
            Ok(Array2::from_shape_fn((texts.len(), 1), |(row, _)| texts[row].len() as f32))
        };
        let embedder = Described::new(lengths).identity(Identity::new("", "lengths"));
        let place = tempfile::tempdir().unwrap();
        for texts in [["a", "bbb"], ["bbb", "cc"]] {
            let disk = EmbeddingCache::new(place.path()).unwrap();
            let oracle = CachedOracle::new(&embedder, 1, &|_| ()).on_disk(Some(&disk));
            let expected: Vec<f32> = texts.iter().map(|text| text.len() as f32).collect();
            assert_eq!(oracle.embed(&texts).unwrap().into_raw_vec_and_offset().0, expected);
        }
        assert_eq!(*calls.lock().unwrap(), ["a", "bbb", "cc"]);
    }

    #[test]
    fn a_failing_embedder_is_named_once() {
        let failing = |_: &[&str]| -> Result<Array2<f32>, BoxError> { Err("no network".into()) };
        let error = CachedOracle::new(&failing, 1, &|_| ()).embed(&["a"]).unwrap_err();
        let error = Error::from(embosk_attacks::Error::Oracle(error));
        assert_eq!(error.to_string(), "the embedding function failed: no network");
    }

    #[test]
    fn an_embedder_that_does_not_fit_is_an_error() {
        let short = |_: &[&str]| -> Result<Array2<f32>, BoxError> { Ok(Array2::zeros((1, 2))) };
        let holed = |texts: &[&str]| -> Result<Array2<f32>, BoxError> {
            Ok(Array2::from_elem((texts.len(), 2), f32::NAN))
        };
        let texts = ["a", "b"].map(String::from);
        assert!(matches!(
            embed_all(&short, Role::Document, &texts, |_| ()),
            Err(Error::Rows { texts: 2, rows: 1 })
        ));
        assert!(matches!(embed_all(&holed, Role::Query, &texts, |_| ()), Err(Error::Embedder(_))));
    }
}

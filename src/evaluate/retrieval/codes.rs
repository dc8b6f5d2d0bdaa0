//! Exact search in packed vectors, without unpacking them, for users who store codes and want to know how retrieval
//! on them does. An evaluation searches the vectors that the codes stand for, so that all stacks are searched in the
//! same way. Most stacks are not stored as such codes, and decoding may break ties of codes by rounding.

use std::ops::Range;

use embosk_defenses::Codes;
use ndarray::ArrayView2;

use super::Hits;
use super::search::{check, search_blocks};
use crate::Error;

/// Returns the `k` documents of highest cosine for each query, if both are codes of 8 bits
/// ([`Quantization`](embosk_defenses::Quantization) with `bits=8`). It computes dot products of the bytes, in whole
/// numbers.
///
/// A vector's own scale does not change a cosine, so this is the ranking of the decoded vectors. Scales per dimension
/// do change it, but codes of such a quantization are compared as they are. A vector of zeros has the cosine 0. Ties
/// and results are as in [`search`](super::search).
///
/// # Errors
/// If the codes are not of 8 bits, the widths differ, or there is not one id for each document.
///
/// ```
/// # use embosk::evaluate::retrieval::search_i8;
/// # use embosk::Quantization;
/// # use ndarray::array;
/// let bytes = Quantization::new(8)?;
/// let documents = bytes.encode(array![[1.0, 0.0], [0.0, 1.0]].view())?;
/// let queries = bytes.encode(array![[0.2, 0.1]].view())?;
/// let found = search_i8(&documents, &queries, 1, &["a", "b"].map(String::from))?;
/// assert_eq!(found[0][0].0, 0);
/// # Ok::<(), embosk::Error>(())
/// ```
pub fn search_i8(documents: &Codes, queries: &Codes, k: usize, ids: &[String]) -> Result<Vec<Hits>, Error> {
    let width = |codes: &Codes| codes.dim();
    check_codes("8 bits", documents, queries, width)?;
    check(shape(documents), shape(queries), ids)?;
    let (documents, queries) = (Bytes::new(documents), Bytes::new(queries));
    Ok(search_blocks(queries.norms.len(), k, ids, |of, among, scores| {
        each(&of, &among, scores, |query, document| {
            let norms = queries.norms[query] * documents.norms[document];
            let dot = dot(queries.row(query), documents.row(document)) as f64;
            if norms > 0.0 { (dot / norms) as f32 } else { 0.0 }
        });
    }))
}

/// Returns the `k` documents of lowest Hamming distance for each query, if both are codes of 1 bit
/// ([`Quantization`](embosk_defenses::Quantization) with `bits=1`).
///
/// The score is `1 − 2 · distance / dim`, which is the cosine of the vectors of signs. So this is the ranking of the
/// decoded vectors; a zero counts as a plus sign. Ties, of which there are many, are broken as by
/// [`search`](super::search).
///
/// # Errors
/// If the codes are not of 1 bit, the widths differ, or there is not one id for each document.
///
/// ```
/// # use embosk::evaluate::retrieval::search_bits;
/// # use embosk::Quantization;
/// # use ndarray::array;
/// let bits = Quantization::new(1)?;
/// let documents = bits.encode(array![[1.0, -2.0, 3.0, 1.0], [1.0, 2.0, 3.0, 1.0]].view())?;
/// let queries = bits.encode(array![[0.1, -0.1, 0.4, -0.2]].view())?;
/// let found = search_bits(&documents, &queries, 2, &["a", "b"].map(String::from))?;
/// assert_eq!(found, [vec![(0, 0.5), (1, 0.0)]]);
/// # Ok::<(), embosk::Error>(())
/// ```
pub fn search_bits(documents: &Codes, queries: &Codes, k: usize, ids: &[String]) -> Result<Vec<Hits>, Error> {
    check_codes("1 bit", documents, queries, |codes| codes.dim().div_ceil(8))?;
    check(shape(documents), shape(queries), ids)?;
    let dim = documents.dim() as f64;
    let count = queries.bytes().nrows();
    let (documents, queries) = (Words::new(documents), Words::new(queries));
    Ok(search_blocks(count, k, ids, |of, among, scores| {
        each(&of, &among, scores, |query, document| {
            let distance = hamming(queries.row(query), documents.row(document));
            if dim > 0.0 { (1.0 - 2.0 * f64::from(distance) / dim) as f32 } else { 0.0 }
        });
    }))
}

fn check_codes(
    bits: &str,
    documents: &Codes,
    queries: &Codes,
    width: impl Fn(&Codes) -> usize,
) -> Result<(), Error> {
    if [documents, queries].iter().all(|codes| codes.bytes().ncols() == width(codes)) {
        return Ok(());
    }
    Err(Error::Setting(format!(
        "the codes are not of {bits} a dimension; encode both sides with such a quantization"
    )))
}

fn shape(codes: &Codes) -> (usize, usize) {
    (codes.bytes().nrows(), codes.dim())
}

fn each(
    queries: &Range<usize>,
    documents: &Range<usize>,
    scores: &mut [f32],
    score: impl Fn(usize, usize) -> f32,
) {
    // the documents of a tile stay in the innermost cache while all queries pass by
    const TILE: usize = 32;
    for first in documents.clone().step_by(TILE) {
        let tile = first..documents.end.min(first + TILE);
        for (query, scores) in queries.clone().zip(scores.chunks_mut(documents.len())) {
            for document in tile.clone() {
                scores[document - documents.start] = score(query, document);
            }
        }
    }
}

/// Codes of 8 bits and their lengths.
struct Bytes<'a> {
    bytes: ArrayView2<'a, u8>,
    norms: Vec<f64>,
}

impl<'a> Bytes<'a> {
    fn new(codes: &'a Codes) -> Self {
        let mut codes = Self { bytes: codes.bytes(), norms: Vec::new() };
        let norm = |row| (dot(codes.row(row), codes.row(row)) as f64).sqrt();
        codes.norms = (0..codes.bytes.nrows()).map(norm).collect();
        codes
    }

    fn row(&self, row: usize) -> &[u8] {
        let width = self.bytes.ncols();
        self.bytes.as_slice().map_or(&[], |bytes| &bytes[row * width..][..width])
    }
}

/// The dot product. Stretches are short enough for 32 bits: 2¹⁶ · 2¹⁴ < 2³¹.
fn dot(a: &[u8], b: &[u8]) -> i64 {
    const STRETCH: usize = 1 << 16;
    let product = |(&a, &b): (&u8, &u8)| i32::from(a.cast_signed()) * i32::from(b.cast_signed());
    let stretch = |(a, b): (&[u8], &[u8])| i64::from(a.iter().zip(b).map(product).sum::<i32>());
    a.chunks(STRETCH).zip(b.chunks(STRETCH)).map(stretch).sum()
}

/// Codes of 1 bit, 64 dimensions to a word; the unused bits of a row's last word are 0.
struct Words {
    words: Vec<u64>,
    width: usize,
}

impl Words {
    fn new(codes: &Codes) -> Self {
        let bytes = codes.bytes();
        let width = bytes.ncols().div_ceil(8);
        let mut words = Vec::with_capacity(bytes.nrows() * width);
        for row in bytes.rows() {
            let row = row.to_vec();
            words.extend(
                row.chunks(8).map(|eight| eight.iter().fold(0, |word, &byte| word << 8 | u64::from(byte))),
            );
        }
        Self { words, width }
    }

    fn row(&self, row: usize) -> &[u64] {
        &self.words[row * self.width..][..self.width]
    }
}

fn hamming(a: &[u64], b: &[u64]) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
}

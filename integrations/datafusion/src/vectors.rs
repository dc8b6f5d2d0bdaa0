//! A column of vectors as a matrix, and back.

use std::iter::repeat_n;
use std::ops::Range;
use std::sync::Arc;

use datafusion_common::arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, LargeListArray, ListArray, UInt64Array,
};
use datafusion_common::arrow::buffer::OffsetBuffer;
use datafusion_common::arrow::compute::{cast, take};
use datafusion_common::arrow::datatypes::{DataType, FieldRef, Float32Type};
use embosk::ndarray::Array2;

/// What rounds to a number that float16 has is less than this.
const END_OF_F16: f32 = 65520.0;

/// Refuses a column that holds no vectors.
pub(crate) fn check(kind: &DataType) -> Result<(), String> {
    match child(kind) {
        Some(child) if child.data_type().is_floating() => Ok(()),
        _ => Err(format!(
            "the first argument is of type {kind}; vectors are List, LargeList or FixedSizeList of Float16, Float32 or \
             Float64"
        )),
    }
}

/// Returns the rows that have a vector, and these vectors; `None` if no row has one.
pub(crate) fn read(array: &dyn Array) -> Result<Option<(Vec<usize>, Array2<f32>)>, String> {
    let (numbers, spans) = spans(array)?;
    let Some((first, span)) = spans.first() else { return Ok(None) };
    let dim = span.len();
    if dim == 0 {
        return Err(format!(
            "row {first} of the batch (counted from 0) has a vector without numbers; make it null"
        ));
    }
    let other = spans.iter().find(|(_, span)| span.len() != dim);
    if let Some((row, span)) = other {
        return Err(format!(
            "row {row} of the batch (counted from 0) has {} numbers, but row {first} has {dim}; make all vectors of a \
             column equally long",
            span.len()
        ));
    }
    let numbers = cast(&numbers, &DataType::Float32).map_err(|error| error.to_string())?;
    let numbers = numbers.as_primitive::<Float32Type>();
    let mut values = Vec::with_capacity(spans.len() * dim);
    for (row, span) in &spans {
        let bad = |what: &str| Err(format!("row {row} of the batch (counted from 0) holds {what}"));
        if numbers.null_count() > 0 && span.clone().any(|at| numbers.is_null(at)) {
            return bad("a null within its vector; make the whole vector null, or give all its numbers");
        }
        let vector = &numbers.values()[span.clone()];
        if !vector.iter().all(|value| value.is_finite()) {
            return bad("NaN, an infinity or a number too large for float32");
        }
        values.extend_from_slice(vector);
    }
    let rows: Vec<usize> = spans.into_iter().map(|(row, _)| row).collect();
    let vectors = Array2::from_shape_vec((rows.len(), dim), values).map_err(|error| error.to_string())?;
    Ok(Some((rows, vectors)))
}

/// Returns an array of `length` rows of type `kind`, with `vectors` in these `rows` and nulls in the others.
pub(crate) fn write(
    vectors: &Array2<f32>,
    rows: &[usize],
    length: usize,
    kind: &DataType,
) -> Result<ArrayRef, String> {
    let lists = lists(vectors, kind)?;
    if rows.len() == length {
        return Ok(lists);
    }
    let mut places = vec![None; length];
    for (at, &row) in rows.iter().enumerate() {
        places[row] = Some(at as u64);
    }
    take(&lists, &UInt64Array::from(places), None).map_err(|error| error.to_string())
}

/// Returns a dimension as the length of a FixedSizeList.
pub(crate) fn length(dim: usize) -> Result<i32, String> {
    i32::try_from(dim).map_err(|_| format!("a list cannot have {dim} numbers"))
}

fn child(kind: &DataType) -> Option<&FieldRef> {
    match kind {
        DataType::List(child) | DataType::LargeList(child) | DataType::FixedSizeList(child, _) => Some(child),
        _ => None,
    }
}

/// Where the vectors of rows that have one are, and the numbers that they are in.
type Spans = (ArrayRef, Vec<(usize, Range<usize>)>);

/// Only the numbers between the first and the last vector are returned: a batch may be a piece of a large array.
fn spans(array: &dyn Array) -> Result<Spans, String> {
    let kind = array.data_type();
    let ends: Vec<usize> = match kind {
        DataType::List(_) => array.as_list::<i32>().offsets().iter().map(|&end| end as usize).collect(),
        DataType::LargeList(_) => array.as_list::<i64>().offsets().iter().map(|&end| end as usize).collect(),
        DataType::FixedSizeList(_, dim) => {
            let first = array.as_fixed_size_list().value_offset(0) as usize;
            (0..=array.len()).map(|row| first + row * *dim as usize).collect()
        }
        _ => return Err(format!("vectors are of type {kind}")),
    };
    let numbers = match kind {
        DataType::List(_) => array.as_list::<i32>().values(),
        DataType::LargeList(_) => array.as_list::<i64>().values(),
        _ => array.as_fixed_size_list().values(),
    };
    let (first, last) = (ends[0], ends[array.len()]);
    let spans = (0..array.len()).filter(|&row| array.is_valid(row));
    let spans = spans.map(|row| (row, ends[row] - first..ends[row + 1] - first)).collect();
    Ok((numbers.slice(first, last - first), spans))
}

/// The vectors as lists of type `kind`.
fn lists(vectors: &Array2<f32>, kind: &DataType) -> Result<ArrayRef, String> {
    let (rows, dim) = vectors.dim();
    let child = child(kind).ok_or_else(|| format!("vectors are of type {kind}"))?;
    if child.data_type() == &DataType::Float16 && vectors.iter().any(|value| value.abs() >= END_OF_F16) {
        return Err(
            "a number does not fit into float16 once it is protected; store the vectors as float32".into()
        );
    }
    let numbers: ArrayRef = Arc::new(Float32Array::from_iter_values(vectors.iter().copied()));
    let numbers = cast(&numbers, child.data_type()).map_err(|error| error.to_string())?;
    let child = Arc::clone(child);
    let lists: Result<ArrayRef, _> = match kind {
        DataType::FixedSizeList(_, dim) => {
            FixedSizeListArray::try_new(child, *dim, numbers, None).map(|lists| Arc::new(lists) as ArrayRef)
        }
        DataType::LargeList(_) => {
            LargeListArray::try_new(child, OffsetBuffer::from_lengths(repeat_n(dim, rows)), numbers, None)
                .map(|lists| Arc::new(lists) as ArrayRef)
        }
        _ => {
            if i32::try_from(rows * dim).is_err() {
                return Err(
                    "a batch has more numbers than a List counts; take LargeList, or smaller batches".into(),
                );
            }
            ListArray::try_new(child, OffsetBuffer::from_lengths(repeat_n(dim, rows)), numbers, None)
                .map(|lists| Arc::new(lists) as ArrayRef)
        }
    };
    lists.map_err(|error| error.to_string())
}

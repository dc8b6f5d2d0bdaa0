//! A column of vectors: lists of numbers in Arrow's memory layout, and matrices.

mod numbers;

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Float16Type, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, FixedSizeListArray, GenericListArray, OffsetSizeTrait, PrimitiveArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, FieldRef, Schema};
use ndarray::Array2;

use self::numbers::Real;
use super::Batch;

/// A column of vectors: where it is, and how it stores them.
#[derive(Debug, Clone)]
pub(super) struct VectorColumn {
    pub(super) index: usize,
    pub(super) field: FieldRef,
    pub(super) number: Number,
    /// The dimension of its vectors, once one was read or if the column states it.
    dim: Option<usize>,
}

/// What a coordinate is stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    F16,
    F32,
    F64,
}

impl VectorColumn {
    /// Finds the column with this name, and refuses one of another type.
    pub(super) fn find(schema: &Schema, name: &str) -> Result<Self, String> {
        let index = find(schema, name)?;
        let field = Arc::clone(&schema.fields()[index]);
        let refused = || {
            format!(
                "column \"{name}\" is {}, and vectors are lists of float16, float32 or float64 (List, LargeList or \
                 FixedSizeList)",
                field.data_type()
            )
        };
        let (child, dim) = match field.data_type() {
            DataType::List(child) | DataType::LargeList(child) => (child, None),
            DataType::FixedSizeList(child, length) => (child, Some(*length as usize)),
            _ => return Err(refused()),
        };
        let number = match child.data_type() {
            DataType::Float16 => Number::F16,
            DataType::Float32 => Number::F32,
            DataType::Float64 => Number::F64,
            _ => return Err(refused()),
        };
        if dim == Some(0) {
            return Err(format!("column \"{name}\": its vectors have no coordinates"));
        }
        Ok(Self { index, field, number, dim })
    }

    pub(super) fn name(&self) -> &str {
        self.field.name()
    }

    /// Returns the dimension, once it is known.
    pub(super) fn dim(&self) -> Option<usize> {
        self.dim
    }

    /// Reads the vectors of a batch whose first row is row `first` of the file.
    pub(super) fn read(&mut self, array: &dyn Array, first: usize) -> Result<Batch, String> {
        let spans = spans(array)?;
        let mut rows = Vec::with_capacity(spans.len());
        for (row, span) in &spans {
            let row = first + row;
            match self.dim {
                None if span.is_empty() => {
                    return Err(format!(
                        "row {row} (counted from 0), column \"{}\": its vector has no coordinates",
                        self.name()
                    ));
                }
                None => self.dim = Some(span.len()),
                Some(dim) if dim != span.len() => {
                    return Err(format!(
                        "row {row} (counted from 0), column \"{}\": its vector has {} coordinates, those before it have {dim}",
                        self.name(),
                        span.len()
                    ));
                }
                Some(_) => {}
            }
            rows.push(row);
        }
        let dim = self.dim.unwrap_or_default();
        let values = children(array)?;
        let values = match self.number {
            Number::F16 => self.values::<Float16Type>(values, &spans, first),
            Number::F32 => self.values::<Float32Type>(values, &spans, first),
            Number::F64 => self.values::<Float64Type>(values, &spans, first),
        }?;
        let vectors = Array2::from_shape_vec((rows.len(), dim), values).map_err(|error| error.to_string())?;
        Ok(Batch { vectors, rows, ids: None })
    }

    fn values<T>(
        &self,
        values: &dyn Array,
        spans: &[(usize, Range<usize>)],
        first: usize,
    ) -> Result<Vec<f32>, String>
    where
        T: ArrowPrimitiveType<Native: Real>,
    {
        let values = values.as_primitive::<T>();
        let mut read = Vec::with_capacity(spans.len() * self.dim.unwrap_or_default());
        for (row, span) in spans {
            let bad = |place: usize, what: &str| {
                let row = first + row;
                format!(
                    "row {row} (counted from 0), column \"{}\": coordinate {place} is {what}",
                    self.name()
                )
            };
            if values.null_count() > 0
                && let Some(place) = span.clone().position(|at| values.is_null(at))
            {
                return Err(bad(place, "null; give each vector all its coordinates, or none at all"));
            }
            let from = read.len();
            read.extend(values.values()[span.clone()].iter().map(|value| value.narrow()));
            if let Some(place) = read[from..].iter().position(|value| !value.is_finite()) {
                return Err(bad(place, "NaN, an infinity or too large for float32"));
            }
        }
        Ok(read)
    }

    /// Returns the field for vectors of `dim` dimensions.
    pub(super) fn changed_field(&self, dim: usize) -> Field {
        let kind = match self.field.data_type() {
            DataType::FixedSizeList(child, _) => DataType::FixedSizeList(Arc::clone(child), list_length(dim)),
            other => other.clone(),
        };
        self.field.as_ref().clone().with_data_type(kind)
    }

    /// Returns an array of `vectors` of this column's type; rows that are null in `before` stay null.
    pub(super) fn write(&self, vectors: &Array2<f32>, before: &dyn Array) -> Result<ArrayRef, String> {
        match self.number {
            Number::F16 => self.array::<Float16Type>(vectors, before),
            Number::F32 => self.array::<Float32Type>(vectors, before),
            Number::F64 => self.array::<Float64Type>(vectors, before),
        }
    }

    fn array<T>(&self, vectors: &Array2<f32>, before: &dyn Array) -> Result<ArrayRef, String>
    where
        T: ArrowPrimitiveType<Native: Real>,
    {
        let (nulls, rows, dim) = (before.nulls().cloned(), before.len(), vectors.ncols());
        let widened = vectors.iter().map(|value| self.widen::<T>(*value)).collect::<Result<Vec<_>, _>>()?;
        match self.field.data_type() {
            DataType::FixedSizeList(child, _) => {
                let values = match &nulls {
                    None => widened,
                    Some(nulls) => spread(&widened, nulls, dim),
                };
                let values = Arc::new(PrimitiveArray::<T>::new(values.into(), None));
                let list = FixedSizeListArray::try_new(Arc::clone(child), list_length(dim), values, nulls);
                list.map(|list| Arc::new(list) as ArrayRef).map_err(|error| error.to_string())
            }
            DataType::List(child) => list::<i32, T>(child, widened, dim, rows, nulls),
            DataType::LargeList(child) => list::<i64, T>(child, widened, dim, rows, nulls),
            other => Err(format!("column \"{}\" is {other}", self.name())),
        }
    }

    /// The number that is stored, unless it is too large for that.
    pub(super) fn widen<T: ArrowPrimitiveType<Native: Real>>(&self, value: f32) -> Result<T::Native, String> {
        T::Native::widen(value).ok_or_else(|| {
            format!(
                "column \"{}\": a coordinate becomes too large for float16; store the vectors as float32",
                self.name()
            )
        })
    }
}

/// Returns where a column is, by its name.
pub(super) fn find(schema: &Schema, name: &str) -> Result<usize, String> {
    let named = |field: &&FieldRef| field.name() == name;
    match schema.fields().iter().filter(named).count() {
        1 => schema.index_of(name).map_err(|error| error.to_string()),
        0 => {
            let names: Vec<_> = schema.fields().iter().map(|field| format!("\"{}\"", field.name())).collect();
            Err(format!("there is no column \"{name}\"; the columns are {}", names.join(", ")))
        }
        _ => Err(format!("there are several columns \"{name}\"; rename all but one")),
    }
}

/// Which values are those of each row that is not null.
fn spans(array: &dyn Array) -> Result<Vec<(usize, Range<usize>)>, String> {
    let present = (0..array.len()).filter(|row| array.is_valid(*row));
    Ok(match array.data_type() {
        DataType::List(_) => of_offsets(present, array.as_list::<i32>()),
        DataType::LargeList(_) => of_offsets(present, array.as_list::<i64>()),
        DataType::FixedSizeList(_, _) => {
            let list = array.as_fixed_size_list();
            let (start, length) = (|row| list.value_offset_at(row), list.value_length() as usize);
            present.map(|row| (row, start(row)..start(row) + length)).collect()
        }
        other => return Err(format!("a batch has vectors of type {other}")),
    })
}

fn of_offsets<O: OffsetSizeTrait>(
    rows: impl Iterator<Item = usize>,
    list: &GenericListArray<O>,
) -> Vec<(usize, Range<usize>)> {
    let offsets = list.value_offsets();
    rows.map(|row| (row, offsets[row].as_usize()..offsets[row + 1].as_usize())).collect()
}

fn children(array: &dyn Array) -> Result<&dyn Array, String> {
    Ok(match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().values(),
        DataType::LargeList(_) => array.as_list::<i64>().values(),
        DataType::FixedSizeList(_, _) => array.as_fixed_size_list().values(),
        other => return Err(format!("a batch has vectors of type {other}")),
    })
}

/// A dimension as Arrow counts. No vector has as many coordinates as would not fit.
fn list_length(dim: usize) -> i32 {
    i32::try_from(dim).unwrap_or(i32::MAX)
}

/// The values of all rows, with zeros in those that are null.
fn spread<T: Copy + Default>(values: &[T], nulls: &NullBuffer, dim: usize) -> Vec<T> {
    let mut all = vec![T::default(); nulls.len() * dim];
    for (row, values) in nulls.valid_indices().zip(values.chunks_exact(dim.max(1))) {
        all[row * dim..][..dim].copy_from_slice(values);
    }
    all
}

fn list<O: OffsetSizeTrait, T: ArrowPrimitiveType>(
    child: &FieldRef,
    values: Vec<T::Native>,
    dim: usize,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, String> {
    if !O::IS_LARGE && i32::try_from(rows.saturating_mul(dim)).is_err() {
        return Err("it has more numbers than a list with 32-bit offsets holds in one batch".into());
    }
    let length = |row| if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) { dim } else { 0 };
    let offsets = OffsetBuffer::<O>::from_lengths((0..rows).map(length));
    let values = Arc::new(PrimitiveArray::<T>::new(values.into(), None));
    let list = GenericListArray::<O>::try_new(Arc::clone(child), offsets, values, nulls);
    list.map(|list| Arc::new(list) as ArrayRef).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;

//! The function as DataFusion plans and calls it.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, ptr};

use datafusion_common::arrow::array::{Array, ArrayRef, new_null_array};
use datafusion_common::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{DataFusionError, Result, ScalarValue};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use embosk::defenses::Error;
use embosk::{Defense, OtherNorms, Registry, Rng, Role, Stack};

use crate::{ids, vectors};

/// More stacks than this are not kept.
const MOST: usize = 64;

/// `protect(vector, 'spec' [, id])`.
#[derive(Debug)]
pub(crate) struct Protect {
    signature: Signature,
    registry: Registry,
    other_norms: OtherNorms,
    /// By spec and dimension: a keyed transform belongs to one dimension.
    stacks: Mutex<HashMap<(String, usize), Arc<Stack>>>,
}

impl Protect {
    pub(crate) fn new(registry: Registry, other_norms: OtherNorms) -> Self {
        // of the same arguments the same, as long as keys are
        let signature = Signature::user_defined(Volatility::Stable);
        Self { signature, registry, other_norms, stacks: Mutex::default() }
    }

    /// Refuses a spec that cannot be read, or whose result would not be repeatable.
    fn check(&self, spec: &str, has_ids: bool) -> Result<()> {
        let spec = self.registry.spec(spec).map_err(refused)?;
        if let Some(fresh) = spec.fresh_noise(Role::Document) {
            return Err(refused(format!(
                "`{fresh}` draws fresh noise, and a query that runs again would give other bytes; take keyed noise, as \
                 in gaussian(sigma=0.01, key=env:NAME), and give the column of ids"
            )));
        }
        if spec.has_keyed_noise(Role::Document) && !has_ids {
            return Err(refused(
                "the spec has keyed noise, which is drawn by the id of each row; give the column of ids: \
                 protect(vector, 'spec', id)",
            ));
        }
        Ok(())
    }

    /// The stack of a spec for vectors of `dim` dimensions.
    fn stack(&self, spec: &str, dim: usize) -> Result<Arc<Stack>> {
        let mut stacks = self.stacks.lock().unwrap_or_else(PoisonError::into_inner);
        let of = (spec.to_owned(), dim);
        if let Some(stack) = stacks.get(&of) {
            return Ok(Arc::clone(stack));
        }
        let stack = Arc::new(self.registry.parse(spec).map_err(failed)?);
        if stacks.len() >= MOST {
            stacks.clear();
        }
        stacks.insert(of, Arc::clone(&stack));
        Ok(stack)
    }

    fn protected(
        &self,
        array: &dyn Array,
        spec: &str,
        ids: Option<&ArrayRef>,
        kind: &DataType,
    ) -> Result<ArrayRef> {
        let Some((rows, mut clean)) = vectors::read(array).map_err(failed)? else {
            return Ok(new_null_array(kind, array.len()));
        };
        let stack = self.stack(spec, clean.ncols())?;
        let checked = self.other_norms.check(&stack, Role::Document, &clean);
        checked.map_err(|error| failed(in_batch(error, &rows)))?;
        self.other_norms.scale(&stack, Role::Document, clean.view_mut());
        let mut rng = Rng::from_os().map_err(failed)?;
        let protected = match ids.filter(|_| stack.uses_ids(Role::Document)) {
            None => stack.protect_owned(Role::Document, clean, &mut rng),
            Some(ids) => {
                let ids = ids::read(ids, &rows).map_err(failed)?;
                let ids: Vec<&[u8]> = ids.iter().map(Vec::as_slice).collect();
                stack.protect_owned_with_ids(Role::Document, &ids, clean, &mut rng)
            }
        };
        vectors::write(&protected.map_err(failed)?, &rows, array.len(), kind).map_err(failed)
    }
}

impl ScalarUDFImpl for Protect {
    fn name(&self) -> &'static str {
        "protect"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, kinds: &[DataType]) -> Result<Vec<DataType>> {
        let ([vector, _] | [vector, _, _]) = kinds else {
            return Err(refused(format!(
                "it takes a vector, a spec and perhaps an id, not {} arguments",
                kinds.len()
            )));
        };
        vectors::check(vector).map_err(refused)?;
        kinds.get(2).map_or(Ok(()), ids::check).map_err(refused)?;
        Ok(kinds.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Err(refused("its result depends on the spec"))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let spec = text(args.scalar_arguments.get(1).copied().flatten())?;
        self.check(spec, args.arg_fields.len() > 2)?;
        let vector = &args.arg_fields[0];
        let kind = match vector.data_type() {
            DataType::FixedSizeList(child, dim) => {
                let dim = usize::try_from(*dim).unwrap_or_default();
                let dim = self.stack(spec, dim)?.dimension(dim).map_err(refused)?;
                DataType::FixedSizeList(Arc::clone(child), vectors::length(dim).map_err(refused)?)
            }
            kind => kind.clone(),
        };
        Ok(Arc::new(Field::new(self.name(), kind, vector.is_nullable())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_one = args.args.iter().all(|one| matches!(one, ColumnarValue::Scalar(_)));
        let rows = if is_one { 1 } else { args.number_rows };
        let vectors = args.args[0].to_array(rows)?;
        let spec = match &args.args[1] {
            ColumnarValue::Scalar(spec) => text(Some(spec))?,
            ColumnarValue::Array(_) => text(None)?,
        };
        let ids = args.args.get(2).map(|ids| ids.to_array(rows)).transpose()?;
        let made = self.protected(&vectors, spec, ids.as_ref(), args.return_field.data_type())?;
        Ok(if is_one {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&made, 0)?)
        } else {
            ColumnarValue::Array(made)
        })
    }
}

/// A function is equal to itself alone: another may have other keys.
impl PartialEq for Protect {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self, other)
    }
}

impl Eq for Protect {}

impl Hash for Protect {
    fn hash<H: Hasher>(&self, state: &mut H) {
        ptr::hash(self, state);
    }
}

/// What is wrong with a row, which is counted in the batch. `rows` are those that have a vector.
fn in_batch(error: Error, rows: &[usize]) -> String {
    let error = match error {
        Error::OtherNorm { row, norm, defense } => Error::OtherNorm { row: rows[row], norm, defense },
        error => error,
    };
    format!("in its batch, {error}")
}

/// The text of the spec, which must be a constant.
fn text(spec: Option<&ScalarValue>) -> Result<&str> {
    spec.and_then(|spec| spec.try_as_str().flatten())
        .ok_or_else(|| refused("the spec is a constant: protect(vector, 'rotation(key=env:NAME)')"))
}

/// An error of the plan.
fn refused(error: impl fmt::Display) -> DataFusionError {
    DataFusionError::Plan(format!("protect: {error}"))
}

/// An error of the run.
fn failed(error: impl fmt::Display) -> DataFusionError {
    DataFusionError::Execution(format!("protect: {error}"))
}

//! The loop around the models.

use ndarray::ArrayView2;

use super::Vec2Text;
use crate::{Error, Inversion, Oracle};

pub(super) fn run(_: &Vec2Text, _: ArrayView2<'_, f32>, _: &Oracle<'_>) -> Result<Vec<Inversion>, Error> {
    Err(Error::Setting("in the making".into()))
}

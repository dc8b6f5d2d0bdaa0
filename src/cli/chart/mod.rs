//! What charts share: sizes, axes, marks and colours, as static SVG.

mod frame;
pub(crate) mod mark;
mod picture;
mod style;

pub(crate) use frame::{Frame, Scale, number};
pub(crate) use mark::{Mark, Words};
pub(crate) use picture::{Figure, Size, at, escape, file};
pub(crate) use style::style;

//! Numbers that coordinates are stored as.

use half::f16;

/// A number that is protected as an `f32`.
pub(in super::super) trait Real: Copy + Default {
    /// Rounds to the nearest `f32`.
    fn narrow(self) -> f32;

    /// Returns the number for a finite `f32`, rounded to the nearest, unless it would be an infinity.
    fn widen(value: f32) -> Option<Self>;
}

impl Real for f16 {
    fn narrow(self) -> f32 {
        self.to_f32()
    }

    fn widen(value: f32) -> Option<Self> {
        Some(Self::from_f32(value)).filter(|value| value.is_finite())
    }
}

impl Real for f32 {
    fn narrow(self) -> f32 {
        self
    }

    fn widen(value: f32) -> Option<Self> {
        Some(value)
    }
}

impl Real for f64 {
    fn narrow(self) -> f32 {
        self as f32
    }

    fn widen(value: f32) -> Option<Self> {
        Some(value.into())
    }
}

//! Numbers of half precision (IEEE 754 binary16), so that no further crate is needed.

/// The nearest number of half precision, ties to even; `None` beyond the largest, 65,504.
pub(super) fn from_f32(number: f32) -> Option<u16> {
    let magnitude = f64::from(number.abs());
    let sign = if number.is_sign_negative() { 0x8000 } else { 0 };
    // The least step is 2^-24; from 2^-14 on, a number has 11 significant bits.
    let exponent = if number == 0.0 { -14 } else { magnitude.log2_floor().max(-14) };
    let steps = (magnitude * f64::from(10 - exponent).exp2()).round_ties_even() as u32;
    // The bits of a half are in the order of the numbers, so a carry moves on to the next exponent.
    let bits = ((exponent + 14) as u32) * 1024 + steps;
    (bits < 0x7c00).then_some(sign | bits as u16)
}

pub(super) fn to_f32(half: u16) -> f32 {
    let (exponent, fraction) = (i32::from(half >> 10 & 0x1f), f32::from(half & 0x3ff));
    let magnitude = match exponent {
        0 => fraction * 2_f32.powi(-24),
        _ => (1024.0 + fraction) * 2_f32.powi(exponent - 25),
    };
    if half & 0x8000 == 0 { magnitude } else { -magnitude }
}

trait Floor {
    fn log2_floor(self) -> i32;
}

impl Floor for f64 {
    /// The exponent of a positive, normal number.
    fn log2_floor(self) -> i32 {
        (self.to_bits() >> 52) as i32 - 1023
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of numpy's `float16`.
    #[test]
    fn numbers_are_those_of_the_standard() {
        let cases: [(f32, u16); 12] = [
            (0.0, 0),
            (-0.0, 0x8000),
            (1.0, 0x3c00),
            (-2.0, 0xc000),
            (65504.0, 0x7bff),
            (65519.0, 0x7bff),
            (0.1, 0x2e66),
            (5.960_464_5e-8, 0x0001),
            (2.980_232_2e-8, 0x0000),
            (6.097_555e-5, 0x03ff),
            (0.333_333_34, 0x3555),
            (1.000_488_3, 0x3c00),
        ];
        for (number, bits) in cases {
            assert_eq!(from_f32(number), Some(bits), "{number}");
        }
        assert_eq!((from_f32(65520.0), from_f32(1e30)), (None, None));
    }

    #[test]
    fn every_half_is_read_and_written_back() {
        for bits in (0..=u16::MAX).filter(|bits| bits & 0x7c00 != 0x7c00) {
            assert_eq!(from_f32(to_f32(bits)), Some(bits));
        }
    }
}

use std::fmt;

/// How two vectors are compared. The higher the score, the more alike they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Similarity {
    /// The cosine of the angle between them; 0 if one of them is zero.
    #[default]
    Cosine,
    /// Their inner product.
    Dot,
    /// Their Euclidean distance, negated.
    Euclidean,
    /// The sum of the distances along each axis, negated.
    Manhattan,
}

impl Similarity {
    /// Returns its name in `similarity_fn_name` of a sentence-transformers folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Dot => "dot",
            Self::Euclidean => "euclidean",
            Self::Manhattan => "manhattan",
        }
    }

    /// Returns the score of two vectors of the same dimension, computed in `f64`. If one is longer, the rest of it is
    /// not read.
    pub fn of(self, a: &[f32], b: &[f32]) -> f64 {
        match self {
            Self::Cosine => {
                let lengths = (sum(a, a, |x, y| x * y) * sum(b, b, |x, y| x * y)).sqrt();
                if lengths > 0.0 { sum(a, b, |x, y| x * y) / lengths } else { 0.0 }
            }
            Self::Dot => sum(a, b, |x, y| x * y),
            Self::Euclidean => -sum(a, b, |x, y| (x - y) * (x - y)).sqrt(),
            Self::Manhattan => -sum(a, b, |x, y| (x - y).abs()),
        }
    }
}

/// Sums in eight lanes, so that the compiler can use wide registers.
fn sum(a: &[f32], b: &[f32], of: impl Fn(f64, f64) -> f64) -> f64 {
    const LANES: usize = 8;
    let pairs = a.len().min(b.len());
    let ((a, a_rest), (b, b_rest)) = (a[..pairs].as_chunks::<LANES>(), b[..pairs].as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += of(f64::from(*a), f64::from(*b));
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| of(f64::from(*a), f64::from(*b)));
    lanes.iter().sum::<f64>() + rest.sum::<f64>()
}

impl fmt::Display for Similarity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_what_they_are_called() {
        let (a, b) = ([3.0, 4.0], [4.0, 3.0]);
        let table = [
            (Similarity::Cosine, 0.96),
            (Similarity::Dot, 24.0),
            (Similarity::Euclidean, -2.0_f64.sqrt()),
            (Similarity::Manhattan, -2.0),
        ];
        for (similarity, expected) in table {
            assert!((similarity.of(&a, &b) - expected).abs() < 1e-12, "{similarity}");
            let long = |of: [f32; 2]| of.repeat(10);
            let ten = similarity.of(&long(a), &long(b));
            let expected = match similarity {
                Similarity::Cosine => expected,
                Similarity::Euclidean => expected * 10.0_f64.sqrt(),
                _ => expected * 10.0,
            };
            assert!((ten - expected).abs() < 1e-9, "{similarity}, 20 dimensions");
        }
        assert_eq!(Similarity::Cosine.of(&[0.0], &[1.0]).to_bits(), 0.0_f64.to_bits());
    }
}

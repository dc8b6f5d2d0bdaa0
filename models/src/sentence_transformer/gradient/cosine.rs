//! The cosine and its gradient.

/// Returns the cosine of two vectors, and its gradient with respect to the first. Both are 0 if a vector is zero.
pub(super) fn cosine(vector: &[f32], target: &[f32]) -> (f32, Vec<f32>) {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let (length, other) = (dot(vector, vector).sqrt(), dot(target, target).sqrt());
    if length == 0.0 || other == 0.0 {
        return (0.0, vec![0.0; vector.len()]);
    }
    let cosine = dot(vector, target) / (length * other);
    let along = |(own, target): (&f32, &f32)| {
        (f64::from(*target) / (length * other) - f64::from(*own) * cosine / (length * length)) as f32
    };
    (cosine as f32, vector.iter().zip(target).map(along).collect())
}

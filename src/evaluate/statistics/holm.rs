/// Adjusts the p-values of several claims by Holm's step-down method (Scandinavian Journal of Statistics 6, 1979). If
/// all claims with an adjusted value of at most α are made together, none of them is false with a probability of at
/// least 1 − α, however the tests depend on each other.
///
/// The order is that of `p_values`, which lie in `0..=1`; one that is not a number counts as 1.
///
/// ```
/// # use embosk::evaluate::statistics::holm;
/// assert_eq!(holm(&[0.02, 0.5, 0.01]), [0.04, 0.5, 0.03]);
/// ```
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let n = p_values.len();
    let p = |claim: usize| if p_values[claim].is_nan() { 1.0 } else { p_values[claim] };
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| p(a).total_cmp(&p(b)));
    let mut adjusted = vec![1.0; n];
    let mut largest = 0.0_f64;
    for (rank, claim) in order.into_iter().enumerate() {
        largest = largest.max((n - rank) as f64 * p(claim)).min(1.0);
        adjusted[claim] = largest;
    }
    adjusted
}

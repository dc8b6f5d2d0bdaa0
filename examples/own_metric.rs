//! A user's own metric in an evaluation: the report contains it, and a budget limits it.
//!
//! The embedder and the attack are toys, so the example runs in a second:
//! `cargo run --release --features evaluate --example own_metric`.

use std::fmt;

use embosk::attacks::{self, Attack, Inversion, Resources};
use embosk::evaluate::adversaries::Naive;
use embosk::evaluate::{Budget, Corpus, Evaluation, Metric, Outcome, Report};
use embosk::{BoxError, GaussianNoise, Stack};
use ndarray::{Array2, ArrayView2};

fn main() -> Result<(), BoxError> {
    let corpus = Corpus::records(300, 0);
    let attack = Nearest(corpus.texts().to_vec());
    let report = Evaluation::new(letter_pairs)
        .corpus(corpus)
        .attack(attack)
        .samples(60)
        .adversary(Naive)
        .defense(Stack::new())
        .defense(Stack::new().with(GaussianNoise::new(0.2)?))
        .metric(digits_back())
        .metric(Metric::leak_of("digit_leak", "digits"))
        .run()?;

    let undefended = report.rows[0].score("digits").ok_or("it was not measured")?;
    assert!(undefended.low <= undefended.value && undefended.value <= undefended.high);
    assert!(report.to_json()?.contains("\"digits\": {"));

    let verdict = report.check(&Budget::new().limit("digits", 0.5))?;
    println!("{verdict}");
    assert_eq!(verdict.outcome, Outcome::Fail, "without a defense, more than half of the digits come back");
    assert!(verdict.open().any(|finding| finding.metric == "digits" && finding.defense == "none"));

    // the report can be kept, and checked against another budget later
    let kept = Report::from_json(&report.to_json_full()?)?;
    assert_eq!(kept.check(&Budget::new().limit("digits", 0.5))?, verdict);
    Ok(())
}

/// Returns the share of a text's numbers that occur in the output. A text without a number does not count.
fn digits_back() -> Metric {
    Metric::mean("digits", |pair| {
        let numbers = numbers(pair.truth);
        let found = numbers.iter().filter(|number| self::numbers(pair.output).contains(number)).count();
        (!numbers.is_empty()).then(|| found as f64 / numbers.len() as f64)
    })
    .heading("digits")
    .needs("texts with numbers")
    .signature("runs-of-digits")
}

fn numbers(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_ascii_digit()).filter(|run| !run.is_empty()).collect()
}

/// Returns a unit vector made from the pairs of adjacent letters of each text.
#[expect(clippy::unnecessary_wraps, reason = "an embedder may fail")]
fn letter_pairs(texts: &[&str]) -> Result<Array2<f32>, BoxError> {
    let mut vectors = Array2::<f32>::zeros((texts.len(), 64));
    for (text, mut row) in texts.iter().zip(vectors.rows_mut()) {
        for pair in text.as_bytes().windows(2) {
            row[(usize::from(pair[0]) * 31 + usize::from(pair[1]) * 17) % 64] += 1.0;
        }
        let norm = row.dot(&row).sqrt().max(1e-9);
        row /= norm;
    }
    Ok(vectors)
}

/// An attack that knows many texts and returns the one whose vector is nearest.
#[derive(Debug)]
struct Nearest(Vec<String>);

impl fmt::Display for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nearest of {}", self.0.len())
    }
}

impl Attack for Nearest {
    fn invert(
        &self,
        vectors: ArrayView2<'_, f32>,
        resources: &Resources<'_>,
    ) -> Result<Vec<Inversion>, attacks::Error> {
        let texts: Vec<&str> = self.0.iter().map(String::as_str).collect();
        let cosines = vectors.dot(&resources.oracle.embed(&texts).map_err(attacks::Error::Oracle)?.t());
        let nearest = |row: ndarray::ArrayView1<'_, f32>| {
            let best = (0..texts.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0);
            let output = texts[best].to_owned();
            Inversion { steps: vec![], output, cosine: row[best], queries: texts.len(), local_gain: 0.0 }
        };
        Ok(cosines.rows().into_iter().map(nearest).collect())
    }
}

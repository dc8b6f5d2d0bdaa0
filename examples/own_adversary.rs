//! A user's own adversary, which undoes a secret permutation of coordinates by sorting them by their means.
//!
//! Run with `cargo run --release --features evaluate --example own_adversary`. The embedder and the attack
//! are toys, so that no model is needed.

use std::fmt;

use embosk::attacks::{self, Attack, Inversion, Resources};
use embosk::embedder::{Described, Identity, Normalizer};
use embosk::evaluate::adversaries::{
    Adversary, Argument, Knowledge, KnownDefense, Mapped, Naive, NamedAdversary, Needs, Registry, Restored,
};
use embosk::evaluate::{Corpus, Evaluation};
use embosk::{BoxError, Error, Key, Permutation, Stack};
use ndarray::{Array2, ArrayView2, Axis};

fn main() -> Result<(), BoxError> {
    let corpus = Corpus::records(1000, 0);
    // as the command line reads it; `.adversary(Sorting(800))` is the same
    let sorting = Registry::default().with::<Sorting>().parse("sorting(800)")?;
    let embedder = Described::new(letters)
        .identity(Identity::new("letters", "letters-1"))
        .normalizer(Normalizer::lowercase())
        .unit_norm(true);
    let report = Evaluation::new(embedder)
        .corpus(corpus.clone())
        .attack(Nearest(corpus.texts().to_vec()))
        .defense(Stack::new().with(Permutation::new(&Key::generate()?, DIM)?))
        .adversary(Naive)
        .adversary(sorting)
        .samples(50)
        .run()?;
    let mut recovered = Vec::new();
    for row in &report.rows {
        let share = row.score("exact_match").map_or(0.0, |score| score.value);
        println!("{:14} recovers {share:.2} of the texts; map: {:?}", row.adversary, row.map);
        recovered.push(share);
    }
    // the permutation stops the attack, and the adversary undoes it
    assert_eq!(report.rows[1].adversary, "sorting(800)");
    assert!(recovered[0] < 0.2 && recovered[1] > recovered[0] + 0.3, "{recovered:?}");
    Ok(())
}

/// Sorts the coordinates of this many stored vectors, and of the attacker's own clean ones, by their means.
/// Coordinates of the same rank correspond to each other.
#[derive(Debug)]
struct Sorting(usize);

impl Adversary for Sorting {
    fn needs(&self) -> Needs {
        Needs::default().cloud(self.0).own_texts(self.0).embedder_space()
    }

    fn restore(&self, knowledge: &mut Knowledge<'_>) -> Result<Restored, Error> {
        let [stored, own] = [&knowledge.stored(self.0)?, knowledge.own_clean()].map(sorted_by_mean);
        let attacked = knowledge.attacked()?;
        let mut restored = Array2::zeros(attacked.dim());
        for (&from, &to) in stored.iter().zip(&own) {
            restored.column_mut(to).assign(&attacked.column(from));
        }
        Ok(Restored::same(Mapped::by("sorting", restored)))
    }

    fn can_gain(&self, defense: &KnownDefense<'_>) -> Result<bool, Error> {
        defense.turns()
    }
}

/// Returns the coordinates, those with the smallest mean first.
fn sorted_by_mean(vectors: &Array2<f32>) -> Vec<usize> {
    let means = vectors.mean_axis(Axis(0)).unwrap_or_default();
    let mut coordinates: Vec<usize> = (0..means.len()).collect();
    coordinates.sort_by(|&a, &b| means[a].total_cmp(&means[b]));
    coordinates
}

impl fmt::Display for Sorting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sorting({})", self.0)
    }
}

/// Gives it a name: `sorting(800)`.
impl NamedAdversary for Sorting {
    const NAME: &'static str = "sorting";
    const USAGE: &'static str = "sorting(n)";
    const SUMMARY: &'static str = "sorts the coordinates of n stored vectors by their means";

    fn parse(argument: &Argument<'_>) -> Result<Self, Error> {
        argument.number("vectors").map(Self)
    }
}

const DIM: usize = 36;

/// Stands in for an embedding model: counts of letters and digits, `[texts, DIM]`, each row of norm 1.
#[expect(clippy::unnecessary_wraps, reason = "an embedder may fail")]
fn letters(texts: &[&str]) -> Result<Array2<f32>, BoxError> {
    let mut vectors = Array2::<f32>::zeros((texts.len(), DIM));
    for (text, mut row) in texts.iter().zip(vectors.rows_mut()) {
        text.chars().filter_map(|letter| letter.to_digit(36)).for_each(|place| row[place as usize] += 1.0);
        let norm = row.dot(&row).sqrt().max(1.0);
        row /= norm;
    }
    Ok(vectors)
}

/// Stands in for an attack: guesses the text, among these, whose vector is nearest.
#[derive(Debug)]
struct Nearest(Vec<String>);

impl Attack for Nearest {
    fn invert(
        &self,
        vectors: ArrayView2<'_, f32>,
        resources: &Resources<'_>,
    ) -> Result<Vec<Inversion>, attacks::Error> {
        let texts: Vec<&str> = self.0.iter().map(String::as_str).collect();
        let cosines = vectors.dot(&resources.oracle.embed(&texts).map_err(attacks::Error::Oracle)?.t());
        let nearest = cosines.rows().into_iter().map(|row| {
            let best = (0..texts.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0);
            let (output, cosine, queries) = (texts[best].to_owned(), row[best], texts.len());
            Inversion { steps: Vec::new(), output, cosine, queries, local_gain: 0.0 }
        });
        Ok(nearest.collect())
    }
}

impl fmt::Display for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nearest({})", self.0.len())
    }
}

//! A user's own attack in an evaluation: it takes the attacker's own text with the nearest vector, and
//! improves it word by word.
//!
//! `cargo run --release --features evaluate --example own_attack`

use std::fmt;

use embosk::attacks::{self, Attack, Inversion, Oracle, Resources};
use embosk::embedder::{Described, Identity, Normalizer};
use embosk::evaluate::adversaries::Naive;
use embosk::evaluate::{Corpus, Evaluation, Row};
use embosk::ndarray::{Array2, ArrayView1, ArrayView2};
use embosk::{BoxError, Stack};

const DIM: usize = 128;

/// Starts from the attacker's own text whose vector is nearest. It then replaces words by those of the next
/// nearest texts, as long as the oracle says that this helps.
#[derive(Debug)]
struct NearestText {
    /// How many of the attacker's own texts provide words.
    neighbours: usize,
}

impl fmt::Display for NearestText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nearest_text(neighbours={})", self.neighbours)
    }
}

impl Attack for NearestText {
    fn invert(
        &self,
        vectors: ArrayView2<'_, f32>,
        resources: &Resources<'_>,
    ) -> Result<Vec<Inversion>, attacks::Error> {
        let own = resources.own.ok_or(attacks::Error::Empty("the attacker's own texts"))?;
        let similarities = vectors.dot(&own.vectors.t());
        let rows = vectors.rows().into_iter().zip(similarities.rows());
        rows.map(|(target, similarities)| {
            let mut nearest: Vec<usize> = (0..own.texts.len()).collect();
            nearest.sort_by(|&a, &b| similarities[b].total_cmp(&similarities[a]));
            let nearest: Vec<&str> =
                nearest.iter().take(self.neighbours).map(|&text| own.texts[text].as_str()).collect();
            mended(&nearest, target, resources.oracle)
        })
        .collect()
    }

    fn own_texts_wanted(&self) -> usize {
        3000
    }
}

/// Returns the first text, with words of the others wherever they bring it nearer to `target`.
fn mended(
    texts: &[&str],
    target: ArrayView1<'_, f32>,
    oracle: &dyn Oracle,
) -> Result<Inversion, attacks::Error> {
    let (first, others) = texts.split_first().ok_or(attacks::Error::Empty("the attacker's own texts"))?;
    let mut words: Vec<&str> = first.split(' ').collect();
    let mut best = f32::NEG_INFINITY;
    let (mut steps, mut queries) = (vec![(*first).to_owned()], 0);
    for place in 0..words.len() {
        let mut tried = vec![words.join(" ")];
        let mut lent = vec![words[place]];
        for word in others.iter().filter_map(|other| other.split(' ').nth(place)) {
            if !lent.contains(&word) {
                let mut candidate = words.clone();
                candidate[place] = word;
                tried.push(candidate.join(" "));
                lent.push(word);
            }
        }
        queries += tried.len();
        let asked: Vec<&str> = tried.iter().map(String::as_str).collect();
        let similarities = oracle.embed(&asked).map_err(attacks::Error::Oracle)?.dot(&target);
        for (word, &similarity) in lent.into_iter().zip(&similarities) {
            if similarity > best {
                (words[place], best) = (word, similarity);
            }
        }
        steps.push(words.join(" "));
    }
    Ok(Inversion { steps, output: words.join(" "), cosine: best, queries, local_gain: 0.0 })
}

/// Returns a unit vector made from a text's words and their neighbours, ignoring case: a toy in place of a
/// model.
#[expect(clippy::unnecessary_wraps, reason = "an embedder may fail")]
fn embed(texts: &[&str]) -> Result<Array2<f32>, BoxError> {
    let mut vectors = Array2::<f32>::zeros((texts.len(), DIM));
    for (text, mut row) in texts.iter().zip(vectors.rows_mut()) {
        let text = text.to_lowercase();
        let words: Vec<&str> = text.split_whitespace().collect();
        for part in words.windows(1).chain(words.windows(2)) {
            let mut state = part
                .concat()
                .bytes()
                .fold(2_166_136_261_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619));
            row.iter_mut().for_each(|value| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *value += (state >> 8) as f32 / 8_388_608.0 - 1.0;
            });
        }
        let norm = row.dot(&row).sqrt().max(1e-9);
        row /= norm;
    }
    Ok(vectors)
}

fn main() -> Result<(), BoxError> {
    let embedder = Described::new(embed)
        .identity(Identity::new("toy words", "toy-words-1"))
        .normalizer(Normalizer::lowercase())
        .unit_norm(true);
    let report = Evaluation::new(embedder)
        .corpus(Corpus::records(1000, 0))
        .attack(NearestText { neighbours: 24 })
        .adversary(Naive)
        .defense(Stack::new())
        .defense("gaussian(sigma=0.2)".parse()?)
        .samples(50)
        .run()?;
    println!("{}", report.to_json()?);

    let [undefended, defended] = report.rows.as_slice() else { return Err("two rows are expected".into()) };
    let f1 = |row: &Row| row.score("token_f1").map_or(0.0, |score| score.value);
    let floor = report.floor.as_ref().and_then(|scores| scores.score("token_f1"));
    let floor = floor.map_or(0.0, |score| score.value);
    assert!(report.is_conclusive(), "{:?}", report.reason);
    assert!(f1(undefended) > floor + 0.2, "the attack recovers words: {:?}", undefended.scores);
    assert!(f1(undefended) > f1(defended), "noise costs it some");
    Ok(())
}

//! The embedders that embosk runs, as white boxes.

#[path = "../../models/tests/common/gradients.rs"]
mod gradients;

use embosk::attacks::guided::Guided;
use embosk::attacks::{Attack, Oracle, OwnTexts, Resources};
use embosk::embedder::{OracleOf, SentenceTransformer, reference};
use embosk::evaluate::english;
use embosk::{Embedder, Role};
use gradients::{agrees, cases};

use crate::common;

/// By what an attack has in its hands: an oracle.
#[test]
fn attacks_read_gradients_through_the_oracle() {
    let embedder = reference().unwrap();
    let oracle = OracleOf(&embedder);
    let white_box = oracle.white_box().unwrap();
    let table = white_box.table().unwrap();
    let special = white_box.special();
    let target = embedder.embed(Role::Document, &["a nurse wrote to the harbour office"]).unwrap();
    let tokens = white_box.tokens("the doctor ran to a house").unwrap();
    let found = white_box.gradients(&[&tokens], target.view()).unwrap().remove(0);
    let swaps = found.swaps(&tokens, table.view()).unwrap();
    let mut best: Vec<(usize, u32)> = (0..tokens.len())
        .flat_map(|place| (0..table.nrows() as u32).map(move |piece| (place, piece)))
        .filter(|(_, piece)| !special.contains(piece))
        .collect();
    best.sort_by(|a, b| swaps[[b.0, b.1 as usize]].total_cmp(&swaps[[a.0, a.1 as usize]]));
    let swapped = |&(place, piece): &(usize, u32)| {
        let mut tokens = tokens.clone();
        tokens[place] = piece;
        white_box.text(&tokens).unwrap()
    };
    let similarity = |texts: Vec<String>| {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        oracle.embed(&texts).unwrap().dot(&target.row(0)).to_vec()
    };
    // swaps that the gradient ranks first bring the text nearer more often than others
    let before = similarity(vec![white_box.text(&tokens).unwrap()])[0];
    assert!((before - found.similarity).abs() < 1e-5);
    let nearer = |swaps: Vec<&(usize, u32)>| {
        similarity(swaps.into_iter().map(swapped).collect())
            .into_iter()
            .filter(|after| *after > before)
            .count()
    };
    let (first, others) =
        (nearer(best.iter().take(50).collect()), nearer(best.iter().step_by(best.len() / 50).collect()));
    assert!(first > others, "{first} {others}");
}

/// A floor below what the search finds, and above chance, which finds almost none of these words.
#[test]
fn guided_search_finds_words_of_the_references_sentences() {
    let texts = [
        "the doctor gave the patient a new medicine for the pain",
        "we bought an old house near the river last year",
        "the students read the book before the teacher came to school",
        "the company will open an office in the city next month",
    ];
    let content = "doctor patient medicine pain bought old house river year students book teacher school company open \
                   office city month";
    let embedder = reference().unwrap();
    let own = &english()[..3000];
    let own_texts: Vec<&str> = own.iter().map(String::as_str).collect();
    let vectors = embedder.embed(Role::Document, &own_texts).unwrap();
    let targets = embedder.embed(Role::Document, &texts).unwrap();
    let oracle = OracleOf(&embedder);
    let resources = Resources::new(&oracle).own_texts(OwnTexts::new(own, vectors.view()).unwrap());
    let found = Guided::new().queries(150).invert(targets.view(), &resources).unwrap();
    let recovered = |(text, output): (&&str, String)| {
        let has =
            |text: &str, word: &str| text.split(|c: char| !c.is_alphanumeric()).any(|other| other == word);
        content.split_whitespace().filter(|word| has(text, word) && has(&output, word)).count()
    };
    let words: usize =
        texts.iter().zip(found.iter().map(|found| found.output.to_lowercase())).map(recovered).sum();
    assert!(words >= 4, "{words} of 18");
}

#[test]
fn minilms_gradients_are_those_of_pytorch() {
    let minilm = SentenceTransformer::load(common::minilm()).unwrap();
    let case = cases().into_iter().find(|case| case.name == "minilm").unwrap();
    agrees(&minilm, &case);
    let white_box = minilm.white_box().unwrap();
    let special = white_box.special();
    assert!(special.starts_with(&[0, 1, 2]) && special.contains(&101) && special.len() > 990);
    assert!(special.len() < 2000, "{}", special.len());
}

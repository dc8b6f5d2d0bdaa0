//! The embedders that embosk runs, as white boxes.

#[path = "../../models/tests/common/gradients.rs"]
mod gradients;

use embosk::attacks::Oracle;
use embosk::embedder::{OracleOf, SentenceTransformer, reference};
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

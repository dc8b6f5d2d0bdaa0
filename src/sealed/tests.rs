#![allow(clippy::unwrap_used)]

use ndarray::array;

use super::*;
use crate::embedder::{ByRole, Described};
use crate::{GaussianNoise, Quantization, Rotation, Stack};

fn key(byte: u8) -> Key {
    Key::from_bytes([byte; 32])
}

/// Embeds texts that list numbers as vectors of these numbers.
fn listed(texts: &[&str]) -> Result<Vec<Vec<f32>>, BoxError> {
    texts.iter().map(|text| text.split(' ').map(|number| Ok(number.parse()?)).collect()).collect()
}

fn pairs(ids: &[&'static str], sealed: &[Vec<u8>]) -> Vec<(&'static str, Vec<u8>)> {
    ids.iter().copied().zip(sealed.iter().cloned()).collect()
}

fn order(ranked: &[Ranked]) -> Vec<usize> {
    ranked.iter().map(|ranked| ranked.hit).collect()
}

#[test]
fn candidates_are_ordered_by_exact_vectors_whatever_the_noise() {
    let protected = Protected::new(listed).with(GaussianNoise::new(5.0).unwrap()).sealed(&key(1));
    let ids = ["a", "b", "c", "d"];
    let documents = protected.embed_documents(&ids, &["1 0", "0.9 0.1", "0 1", "-1 0"]).unwrap();
    assert_eq!((documents.vectors.dim(), documents.len()), ((4, 2), 4));
    let query = protected.embed_query("1 0.02").unwrap();
    assert_ne!(query.vector(), [1.0, 0.02]);
    let found = pairs(&ids, &documents.sealed);
    let ranked = protected.rerank(&query, &found, 10).unwrap();
    assert_eq!(order(&ranked), [0, 1, 2, 3]);
    assert!((ranked[0].score - 0.9998).abs() < 1e-3, "{}", ranked[0].score);
    assert_eq!(order(&protected.rerank(&query, &found, 2).unwrap()), [0, 1]);
    assert!(protected.rerank(&query, &found[..0], 2).unwrap().is_empty());
    let all = protected.rerank_all(&[query.clone(), query], &[found.clone(), found], 1).unwrap();
    assert_eq!(all.iter().map(|ranked| ranked[0].hit).collect::<Vec<_>>(), [0, 0]);
    assert!(matches!(protected.rerank_all(&[], &[pairs(&ids, &[])], 1), Err(Error::Setting(_))));
}

#[test]
fn vectors_are_compared_as_the_embedder_says() {
    let rank = |similarity: Option<Similarity>| {
        let embedder = Described::new(listed);
        let embedder = match similarity {
            Some(similarity) => embedder.similarity(similarity),
            None => embedder,
        };
        let protected = Protected::new(embedder).sealed(&key(1));
        let ids = ["a", "b", "c"];
        let documents = protected.embed_documents(&ids, &["1 0.1", "9 6", "2 0"]).unwrap();
        let query = protected.embed_query("1.4 0").unwrap();
        let found = pairs(&ids, &documents.sealed);
        let own = order(&protected.rerank(&query, &found, 3).unwrap());
        let dot = protected.clone().similarity(Similarity::Dot);
        assert_eq!(order(&dot.rerank(&query, &found, 3).unwrap()), [1, 2, 0]);
        own
    };
    assert_eq!(rank(None), [2, 0, 1]);
    assert_eq!(rank(Some(Similarity::Cosine)), [2, 0, 1]);
    assert_eq!(rank(Some(Similarity::Dot)), [1, 2, 0]);
    assert_eq!(rank(Some(Similarity::Euclidean)), [0, 2, 1]);
    assert_eq!(rank(Some(Similarity::Manhattan)), [0, 2, 1]);
}

#[test]
fn equal_scores_are_ordered_by_descending_id() {
    let protected = Protected::new(listed).sealed(&key(1));
    let ids = ["10", "9", "a", "0"];
    let documents = protected.embed_documents(&ids, &["1 0", "1 0", "1 0", "0 -1"]).unwrap();
    let ranked =
        protected.rerank(&protected.embed_query("1 0").unwrap(), &pairs(&ids, &documents.sealed), 4).unwrap();
    assert_eq!(order(&ranked), [2, 1, 0, 3]);
}

#[test]
fn a_store_that_lies_is_found_out() {
    let protected = Protected::new(listed).with(Quantization::new(1).unwrap()).sealed(&key(1));
    let documents = protected.embed_documents(&["a", "b"], &["1 0", "0 1"]).unwrap();
    let query = protected.embed_query("1 0").unwrap();
    let mut found = pairs(&["a", "b"], &documents.sealed);
    let (first, second) = (found[0].1.clone(), found[1].1.clone());
    (found[0].1, found[1].1) = (first.clone(), first);
    let swapped = protected.rerank(&query, &found, 2);
    let altered = embosk_defenses::Error::Sealed { row: 1, refusal: Refusal::Altered };
    assert_eq!(swapped.unwrap_err().to_string(), altered.to_string());
    found[1].1 = second;
    assert!(protected.rerank(&query, &found, 2).is_ok());

    let longer = protected.embed_query("1 0 0").unwrap();
    let refused = protected.rerank(&longer, &found, 2).unwrap_err().to_string();
    assert!(refused.contains("2 dimensions, and 3 are wanted"), "{refused}");
    let other = Protected::new(listed).with(Quantization::new(1).unwrap()).sealed(&key(2));
    let refused = other.rerank(&query, &found, 2).unwrap_err().to_string();
    assert!(refused.contains(&key(1).fingerprint()) && refused.contains(&key(2).fingerprint()), "{refused}");
    let turned = Protected::new(listed).with(Rotation::deferred(&key(1))).sealed(&key(1));
    assert!(turned.rerank(&query, &found, 2).unwrap_err().to_string().contains("another stack"));
}

#[test]
fn a_spec_says_all_that_the_methods_do() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), key(1).to_text().as_bytes()).unwrap();
    let spec = format!("rotation(key=file:{0:?}) | rerank(candidates=7, key=file:{0:?})", file.path());
    let stack: Stack = spec.parse().unwrap();
    let by_spec = Protected::new(listed).with(stack.clone()).reranked().unwrap();
    let by_hand = Protected::new(listed).with(Rotation::deferred(&key(1))).sealed(&key(1));
    assert_eq!((by_spec.candidates(), by_hand.candidates()), (7, 200));
    assert_eq!(by_spec.fingerprint(), by_hand.fingerprint());
    let document = by_spec.embed_document("a", "3 4").unwrap();
    assert_eq!(document.vector.len(), 2);
    let query = by_hand.embed_query("3 4").unwrap();
    assert_eq!(by_hand.rerank(&query, &[("a", &document.sealed)], 1).unwrap().len(), 1);
    assert_eq!(by_spec.check_fingerprint(&by_hand.fingerprint()).unwrap().warning(), None);
    let other = Protected::new(listed).with(Rotation::deferred(&key(1))).sealed(&key(2));
    assert!(other.check_fingerprint(&by_hand.fingerprint()).is_err());

    let keyless: Stack = "rerank(candidates=7)".parse().unwrap();
    let message = Protected::new(listed).with(keyless.clone()).reranked().unwrap_err().to_string();
    assert!(message.contains("with a key"), "{message}");
    for contradiction in [keyless, stack] {
        let refused = Protected::new(listed).with(contradiction).sealed(&key(2)).embed_query("1 2");
        assert!(refused.unwrap_err().to_string().contains("without this key"));
    }
}

#[test]
fn nothing_is_protected_without_its_sealed_part() {
    let stack: Stack = "rerank(candidates=7)".parse().unwrap();
    let protected = Protected::new(listed).with(stack);
    let mut vectors = array![[1.0, 2.0]];
    let refusals = [
        protected.embed_documents(&["1 2"]).map(drop),
        protected.embed_queries(&["1 2"]).map(drop),
        protected.protect(Role::Document, vectors.view_mut()),
        protected.protect_with_ids(Role::Document, &["a"], vectors.view_mut()),
    ];
    for refused in refusals {
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("`rerank`") && message.contains("`reranked`"), "{message}");
    }
}

#[test]
fn rows_move_to_a_new_key_as_they_are() {
    let old = Protected::new(listed).sealed(&key(1));
    let new = Protected::new(listed).sealed(&key(2));
    let ids = ["a", "b"];
    let documents = old.embed_documents(&ids, &["1 0", "0 1"]).unwrap();
    let rows = pairs(&ids, &documents.sealed);
    let moved = old.rekey(&new, &rows).unwrap();
    let query = new.embed_query("0 1").unwrap();
    assert_eq!(order(&new.rerank(&query, &pairs(&ids, &moved), 2).unwrap()), [1, 0]);
    assert!(old.rerank(&query, &pairs(&ids, &moved), 2).is_err());
    let refused = old.rekey(&new, &pairs(&["a", "c"], &documents.sealed)).unwrap_err();
    assert!(matches!(
        refused,
        Error::Defense(embosk_defenses::Error::Sealed { row: 1, refusal: Refusal::Altered })
    ));
}

#[test]
fn documents_and_queries_have_their_roles() {
    let by_role = ByRole(|role: Role, texts: &[&str]| -> Result<Array2<f32>, BoxError> {
        Ok(Array2::from_elem((texts.len(), 1), if role == Role::Query { 1.0 } else { 2.0 }))
    });
    let protected = Protected::new(by_role).sealed(&key(1));
    assert_eq!(protected.embed_query("a").unwrap().vector(), [1.0]);
    let documents = protected.embed_documents(&["a"], &["a"]).unwrap();
    assert_eq!(documents.into_iter().map(|document| document.vector).collect::<Vec<_>>(), [[2.0]]);
    assert!(protected.embed_documents(&["a", "b"], &["a"]).is_err());
    let missing = |_: &[&str]| -> Result<Vec<Vec<f32>>, BoxError> { Ok(Vec::new()) };
    let refused = Protected::new(missing).sealed(&key(1)).embed_documents(&["a"], &["a"]);
    assert!(matches!(refused, Err(Error::Rows { texts: 1, rows: 0 })));
}

#[test]
fn debug_output_holds_no_numbers() {
    let protected = Protected::new(listed).sealed(&key(1));
    let shown = format!("{:?}", protected.embed_query("12345 1").unwrap());
    assert!(!shown.contains("12345"), "{shown}");
    assert!(!format!("{:?}", protected.embed_document("a", "12345 1").unwrap()).contains("12345"));
}

//! What a rotation keeps of a search, and what noise costs, on the shipped embedder and 1000 records.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/places.rs"]
mod places;

use std::sync::OnceLock;

use common::key;
use common::laws::Place;
use embosk::defenses::Stack;
use embosk::evaluate::Corpus;
use embosk::evaluate::retrieval::{Judgements, ndcg};
use embosk::ndarray::Array2;
use embosk::{BoxError, Embedder as _, GaussianNoise, Protected, Role, Rotation, embedder};
use embosk_rag::PostgresStore;
use embosk_rag::store::{Candidate, Header, Index, Metric, Numbers, Row, Source, Space, Store};
use places::{Postgres, Sqlite};

const RECORDS: usize = 1000;
const QUESTIONS: usize = 100;
const HITS: usize = 10;

struct Vectors {
    documents: Array2<f32>,
    queries: Array2<f32>,
}

fn clean() -> &'static (Vectors, Judgements) {
    static CLEAN: OnceLock<(Vectors, Judgements)> = OnceLock::new();
    CLEAN.get_or_init(|| {
        let corpus = Corpus::records(RECORDS, 0);
        let reference = embedder::reference().unwrap();
        let embed = |role, texts: &[String]| {
            reference.embed(role, &texts.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
        };
        let documents = embed(Role::Document, corpus.texts());
        let queries = embed(Role::Query, &corpus.queries()[..QUESTIONS]);
        let judgements = Judgements(corpus.judgements().0[..QUESTIONS].to_vec());
        (Vectors { documents, queries }, judgements)
    })
}

/// The vectors under a stack.
fn protected(stack: Stack) -> Vectors {
    let clean = &clean().0;
    let protected = Protected::new(|_: &[&str]| Err::<Array2<f32>, BoxError>("not asked".into())).with(stack);
    let protect = |role, vectors: &Array2<f32>| protected.protect_owned(role, vectors.clone()).unwrap();
    Vectors {
        documents: protect(Role::Document, &clean.documents),
        queries: protect(Role::Query, &clean.queries),
    }
}

fn rotation() -> Stack {
    Stack::new().with(Rotation::deferred(&key(1)))
}

fn id(row: usize) -> String {
    format!("{row:05}")
}

/// A store of the documents, as an application would fill it that keeps no texts.
fn filled<S: Store>(mut store: S, vectors: &Vectors) -> (S, Space) {
    // not plain, so that a store may round
    let protection = embosk_rag::store::Protection { fingerprint: "test".into(), fit: Vec::new() };
    let header = Header { embedder: "test".into(), protection: Some(protection) };
    let space = store.create(None, &header, vectors.documents.ncols()).unwrap();
    let row = |(at, vector): (usize, &[f32])| Row {
        id: id(at),
        vector: vector.to_vec(),
        exact: vec![],
        text: vec![],
    };
    let rows: Vec<_> = vectors
        .documents
        .rows()
        .into_iter()
        .map(|row| row.to_slice().unwrap())
        .enumerate()
        .map(row)
        .collect();
    let source = Source { id: "all".into(), name: vec![], digest: vec![] };
    assert!(store.replace(None, &space, &source, &rows).unwrap());
    (store, space)
}

fn found<S: Store>((store, space): &(S, Space), vectors: &Vectors, k: usize) -> Vec<Vec<Candidate>> {
    let nearest = |query: &[f32]| store.nearest(space, query, k).unwrap();
    vectors.queries.rows().into_iter().map(|row| nearest(row.to_slice().unwrap())).collect()
}

/// The hits are the same and at the same distances, except for those that tie within rounding.
fn assert_same(plain: &[Vec<Candidate>], rotated: &[Vec<Candidate>]) {
    for (plain, rotated) in plain.iter().zip(rotated) {
        assert_eq!((plain.len(), rotated.len()), (HITS, HITS));
        let last = plain[HITS - 1].distance;
        for (a, b) in plain.iter().zip(rotated) {
            assert!((a.distance - b.distance).abs() < 2e-6, "{} {}", a.distance, b.distance);
            let is_found = rotated.iter().any(|one| one.id == a.id);
            assert!(is_found || last - a.distance < 4e-6, "{} is not found", a.id);
        }
    }
}

/// The share of `expected` that is among `found`.
fn recall(expected: &[Vec<Candidate>], found: &[Vec<String>]) -> f64 {
    let hits = expected.iter().zip(found);
    let hits: usize = hits.map(|(a, b)| a.iter().filter(|one| b.contains(&one.id)).count()).sum();
    hits as f64 / (QUESTIONS * HITS) as f64
}

fn ids(found: &[Vec<Candidate>]) -> Vec<Vec<String>> {
    found.iter().map(|found| found.iter().map(|one| one.id.clone()).collect()).collect()
}

/// What an application shows that orders the candidates exactly.
fn ordered(found: &[Vec<Candidate>]) -> Vec<Vec<String>> {
    let clean = &clean().0;
    let order = |(query, found): (usize, &Vec<Candidate>)| {
        let score = |id: &String| clean.documents.row(id.parse().unwrap()).dot(&clean.queries.row(query));
        let mut ids: Vec<_> = found.iter().map(|one| one.id.clone()).collect();
        ids.sort_by(|a, b| score(b).total_cmp(&score(a)));
        ids.truncate(HITS);
        ids
    };
    found.iter().enumerate().map(order).collect()
}

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::InnerProduct, Metric::Euclid];

fn floats(metric: Metric) -> Index {
    Index { numbers: Numbers::Float, metric }
}

/// PostgreSQL as it plans if it must not use one kind of scan.
fn planned(place: &Postgres, index: Index, without: &str) -> PostgresStore {
    let url = format!("{}&options=-c%20enable_{without}%3Doff", place.url());
    PostgresStore::connect(&url).unwrap().index(index)
}

#[test]
fn hits_under_a_rotation_are_the_same_on_sqlite() {
    for metric in [Metric::Cosine, Metric::Euclid] {
        let [plain, rotated] = [Stack::new(), rotation()].map(|stack| {
            let vectors = protected(stack);
            found(&filled(Sqlite::new().open(floats(metric)), &vectors), &vectors, HITS)
        });
        assert_same(&plain, &rotated);
    }
}

#[test]
fn hits_under_a_rotation_are_the_same_on_postgresql() {
    let (clean, rotated) = (protected(Stack::new()), protected(rotation()));
    for (metric, operator) in METRICS.into_iter().zip(["<=>", "<#>", "<->"]) {
        let index = floats(metric);
        let (before, after) = (Postgres::new(), Postgres::new());
        let plain = found(&filled(planned(&before, index, "indexscan"), &clean), &clean, HITS);
        let (store, space) = filled(planned(&after, index, "indexscan"), &rotated);
        assert_same(&plain, &found(&(store, space.clone()), &rotated, HITS));

        let check = |name: &str, found: &[Vec<Candidate>]| {
            let recall = recall(&plain, &ids(found));
            println!("pgvector, HNSW, {name}, {metric:?}: recall@10 {recall:.3}");
            assert!(recall >= 0.97, "{name}, {metric:?}: {recall}");
        };
        let plan = after.plan(operator);
        assert!(plan.contains("using embosk_vectors_1"), "{plan}");
        check("vector", &found(&(planned(&after, index, "seqscan"), space), &rotated, HITS));
        let half = Index { numbers: Numbers::Half, metric };
        check(
            "halfvec",
            &found(&filled(planned(&Postgres::new(), half, "seqscan"), &rotated), &rotated, HITS),
        );
    }
}

/// Columns of fewer bits find candidates, which exact vectors order.
#[test]
fn rounded_columns_find_the_hits_among_more_candidates() {
    let (plain, rotated) = (protected(Stack::new()), protected(rotation()));
    let expected = found(&filled(Sqlite::new().open(Index::default()), &plain), &plain, HITS);
    let check = |name: &str, candidates: usize, found: &[Vec<Candidate>], least: f64| {
        assert!(found.iter().all(|found| found.len() == candidates), "{name}");
        let recall = recall(&expected, &ordered(found));
        println!("{name}, {candidates} candidates: recall@10 {recall:.3}");
        assert!(recall >= least, "{name}, {candidates}: {recall}");
    };
    let (int8, bit) = (Numbers::Int8, Numbers::Bit);
    for (numbers, candidates, least) in
        [(int8, HITS, 0.97), (int8, 50, 0.999), (bit, 50, 0.9), (bit, 200, 0.98)]
    {
        let index = Index { numbers, ..Index::default() };
        let sqlite = found(&filled(Sqlite::new().open(index), &rotated), &rotated, candidates);
        check(&format!("sqlite-vec, {numbers:?}"), candidates, &sqlite, least);
        if numbers == Numbers::Bit {
            let postgres =
                found(&filled(planned(&Postgres::new(), index, "seqscan"), &rotated), &rotated, candidates);
            check("pgvector, HNSW, Bit", candidates, &postgres, least);
        }
    }
}

/// What a search costs that reads noisy vectors and opens no exact ones.
#[test]
fn noise_costs_retrieval() {
    let judgements = &clean().1;
    let mean = |found: &[Vec<Candidate>]| {
        let ranking = |found: &Vec<Candidate>| {
            found.iter().map(|one| (one.id.parse().unwrap(), -one.distance as f32)).collect()
        };
        let rankings: Vec<_> = found.iter().map(ranking).collect();
        let scores = judgements.scores(&rankings, |found| ndcg(found, HITS));
        scores.iter().sum::<f64>() / scores.len() as f64
    };
    let cost = |stack: Stack| {
        let vectors = protected(stack);
        let sqlite = found(&filled(Sqlite::new().open(Index::default()), &vectors), &vectors, HITS);
        let postgres =
            found(&filled(planned(&Postgres::new(), Index::default(), "seqscan"), &vectors), &vectors, HITS);
        [mean(&sqlite), mean(&postgres)]
    };
    let plain = cost(Stack::new());
    println!("no defense: nDCG@10 {plain:.3?} on SQLite and on PostgreSQL");
    let rotated = cost(rotation());
    println!("rotation: {rotated:.3?}");
    let noisy = [0.01, 0.02, 0.05, 0.1].map(|sigma| {
        let noise = GaussianNoise::new(sigma).unwrap().on(Role::Document);
        let scores = cost(rotation().with(noise));
        println!("rotation | gaussian(sigma={sigma}, on=documents): {scores:.3?}");
        scores
    });
    for at in 0..2 {
        assert!(plain[at] > 0.5 && (plain[at] - rotated[at]).abs() < 0.01, "{plain:?} {rotated:?}");
        assert!(noisy[0][at] > rotated[at] - 0.05 && noisy[3][at] < plain[at] - 0.1, "{plain:?} {noisy:?}");
    }
}

//! Evaluations of stacks that re-rank by sealed exact vectors.
#![allow(clippy::float_cmp)]

use embosk::embedder::{Described, Similarity};
use embosk::evaluate::adversaries::parse;
use embosk::evaluate::retrieval::ndcg;
use embosk::evaluate::{Corpus, Evaluation, Report};
use embosk::{BoxError, Stack};
use ndarray::Array2;

/// Counts letters and pairs of neighbours, in 128 buckets.
#[expect(clippy::unnecessary_wraps, reason = "an embedder may fail")]
fn letters(texts: &[&str]) -> Result<Array2<f32>, BoxError> {
    let mut vectors = Array2::<f32>::zeros((texts.len(), 128));
    for (text, mut row) in texts.iter().zip(vectors.rows_mut()) {
        for pair in text.as_bytes().windows(3) {
            let hash = pair.iter().fold(7_usize, |hash, &byte| hash * 131 + usize::from(byte));
            row[hash % 128] += 1.0;
        }
        let length = row.dot(&row).sqrt().max(1.0);
        row /= length;
    }
    Ok(vectors)
}

fn report(specs: &[&str], attacked: bool) -> Report {
    let stacks = specs.iter().map(|spec| spec.parse::<Stack>().unwrap());
    let evaluation = Evaluation::new(letters).corpus(Corpus::records(600, 0)).samples(40);
    let evaluation = stacks.fold(evaluation, Evaluation::defense);
    let evaluation = if attacked { evaluation.adversary(parse("naive").unwrap()) } else { evaluation };
    evaluation.run().unwrap()
}

fn score(report: &Report, row: usize, metric: &str) -> Option<f64> {
    report.rows[row].score(metric).map(|score| score.value)
}

#[test]
fn re_ranking_gives_back_the_search_and_says_what_it_costs() {
    let coarse = "gaussian(sigma=0.1)";
    let reranked = format!("{coarse} | rerank(candidates=100)");
    let whole = format!("{coarse} | rerank(candidates=1000, precision=f32)");
    let report = report(&["none", coarse, &reranked, &whole], false);
    let ndcg = |row| score(&report, row, "ndcg_at_10").unwrap();
    assert!(ndcg(1) < ndcg(2) && ndcg(2) <= ndcg(0), "{} {} {}", ndcg(0), ndcg(1), ndcg(2));
    assert_eq!(report.rows[3].queries, report.undefended.queries, "all documents are candidates");

    let kept = ["first_stage_recall", "top_10_kept"].map(|metric| score(&report, 2, metric).unwrap());
    assert!(kept.iter().all(|kept| (0.3..1.0).contains(kept)), "{kept:?}");
    assert_eq!(score(&report, 3, "first_stage_recall"), Some(1.0));
    assert_eq!(score(&report, 3, "top_10_kept"), Some(1.0));
    assert_eq!(score(&report, 1, "first_stage_recall"), None);

    let cost = report.rows[2].reranked.unwrap();
    assert_eq!((cost.candidates, cost.row_bytes, cost.query_bytes), (100, 61 + 4 + 128, 100 * 193));
    assert_eq!(report.rows[3].reranked.unwrap().candidates, 600);
    assert_eq!(report.rows[1].reranked, None);
    let json = report.to_json().unwrap();
    assert!(json.contains("\"query_bytes\": 19300") && json.contains("\"first_stage_recall\""));
    assert_eq!(Report::from_json(&json).unwrap().rows[2].reranked, Some(cost));
}

#[test]
fn attackers_see_coarse_vectors_alone_unless_the_key_is_stolen() {
    let coarse = "gaussian(sigma=0.2)";
    let report = report(&["none", coarse, &format!("{coarse} | rerank(candidates=100)")], true);
    assert_eq!(report.rows.len(), 3);
    assert_eq!(report.rows[1].texts, report.rows[2].texts, "the exact vectors are out of sight");
    let guess = |row| score(&report, row, "guess").unwrap();
    assert!(guess(1) < guess(0));

    let [stolen] = report.key_stolen.as_slice() else { panic!("one stack re-ranks") };
    assert_eq!(
        (stolen.defense.as_str(), stolen.adversary.as_str()),
        (report.rows[2].defense.as_str(), "key stolen")
    );
    assert_eq!(stolen.texts, report.undefended.texts);
    assert_eq!(stolen.score("guess").unwrap().value, guess(0));
    let again = Report::from_json(&report.to_json_full().unwrap()).unwrap();
    assert_eq!((again.key_stolen.len(), again.key_stolen[0].texts.len()), (1, 40));
}

/// The same at other lengths, which depend on the text alone.
fn long(texts: &[&str]) -> Result<Array2<f32>, BoxError> {
    let mut vectors = letters(texts)?;
    for (text, mut row) in texts.iter().zip(vectors.rows_mut()) {
        row *= 1.0 + (text.bytes().map(usize::from).sum::<usize>() % 5) as f32;
    }
    Ok(vectors)
}

/// For each query the nDCG@10 of all documents, the most similar first.
fn in_order_of(similarity: Similarity) -> Vec<f64> {
    let corpus = Corpus::records(600, 0);
    let embedded = |texts: &[String]| long(&texts.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    let (documents, queries) = (embedded(corpus.texts()), embedded(corpus.queries()));
    let ranked = |query: ndarray::ArrayView1<'_, f32>| {
        let score =
            |document: usize| similarity.of(&query.to_vec(), &documents.row(document).to_vec()) as f32 + 0.0;
        let mut hits: Vec<(usize, f32)> = (0..600).map(|document| (document, score(document))).collect();
        let id = |document: usize| &corpus.ids()[document];
        hits.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| id(b.0).cmp(id(a.0))));
        hits
    };
    let rankings: Vec<_> = queries.rows().into_iter().map(ranked).collect();
    corpus.judgements().scores(&rankings, |found| ndcg(found, 10))
}

/// A report measures the order that the application sees: by the embedder's similarity.
#[test]
fn candidates_are_ordered_as_the_embedder_compares() {
    let measured = |similarity| {
        let report = Evaluation::new(Described::new(long).similarity(similarity))
            .corpus(Corpus::records(600, 0))
            .defense("gaussian(sigma=0.01) | rerank(candidates=1000, precision=f32)".parse().unwrap())
            .run()
            .unwrap();
        report.rows[0].queries.values("ndcg_at_10")
    };
    let [dot, euclidean, cosine] = [Similarity::Dot, Similarity::Euclidean, Similarity::Cosine].map(measured);
    assert_eq!(dot, in_order_of(Similarity::Dot));
    assert_eq!(euclidean, in_order_of(Similarity::Euclidean));
    assert!(dot != cosine && euclidean != cosine && dot != euclidean, "lengths matter");
}

/// A projection makes the vectors coarse, and re-ranking works between dimensions.
#[test]
fn a_projection_is_re_ranked_in_the_space_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = Corpus::records(600, 0);
    let texts: Vec<&str> = corpus.texts().iter().map(String::as_str).collect();
    let fit = embosk::Projection::fit(letters(&texts).unwrap().view(), 16).unwrap();
    let path = folder.path().join("fit");
    std::fs::write(&path, fit.to_bytes().unwrap()).unwrap();
    let projection = format!("projection(fit=file:{path:?}, dims=8)");
    let report = report(&["none", &projection, &format!("{projection} | rerank(candidates=100)")], false);
    let ndcg = |row| score(&report, row, "ndcg_at_10").unwrap();
    assert!(ndcg(1) < ndcg(2) && ndcg(2) <= ndcg(0), "{} {} {}", ndcg(0), ndcg(1), ndcg(2));
    assert_eq!(report.rows[2].reranked.unwrap().row_bytes, 61 + 4 + 128);
}

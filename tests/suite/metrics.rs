//! The metrics against the tools that define them (tests/golden/metrics.py writes the goldens), and by their
//! laws.
#![allow(clippy::float_cmp)]

use std::collections::HashMap;

use embosk::evaluate::Corpus;
use embosk::evaluate::retrieval::{
    Graded, Hits, Judged, Judgements, average_precision, mrr, ndcg, normalize_rows, recall, run_file, search,
    search_bits, search_i8,
};
use embosk::evaluate::statistics::{mean, paired_difference, proportion};
use embosk::evaluate::text::{
    BleuCounts, ChrfCounts, Order, bleu, chrf, entity_precision, entity_recall, exact_match, rouge_1,
    rouge_l, spans, token_f1,
};
use embosk::{Codes, Quantization};
use ndarray::{Array2, array};
use proptest::prelude::*;
use serde_json::Value;

const TOLERANCE: f64 = 1e-9;

#[test]
fn text_scores_equal_sacrebleu_and_rouge_score() {
    let pairs = golden_pairs();
    assert!(pairs.len() >= 300);
    for (line, pair) in pairs.iter().enumerate() {
        let (candidate, reference) = texts(pair);
        let place = format!("line {}: {candidate:?} / {reference:?}", line + 1);
        let effective = BleuCounts::new(candidate, reference).score(Order::Effective);
        for (name, ours) in [
            ("bleu", bleu(candidate, reference)),
            ("bleu_effective", effective),
            ("chrf", chrf(candidate, reference)),
            ("rouge_1", rouge_1(candidate, reference)),
            ("rouge_l", rouge_l(candidate, reference)),
            ("token_f1", token_f1(candidate, reference)),
        ] {
            assert_close(ours, &pair[name], &format!("{name}, {place}"));
        }
    }
}

#[test]
fn corpus_scores_equal_sacrebleu() {
    let pairs = golden_pairs();
    let corpora: Vec<Value> = serde_json::from_str(&golden("corpus-metrics.json")).unwrap();
    for corpus in corpora {
        let end = |name: &str| usize::try_from(corpus[name].as_u64().unwrap()).unwrap();
        let part = || pairs[end("from")..end("to")].iter().map(texts);
        let counts: BleuCounts =
            part().map(|(candidate, reference)| BleuCounts::new(candidate, reference)).sum();
        let letters: ChrfCounts =
            part().map(|(candidate, reference)| ChrfCounts::new(candidate, reference)).sum();
        let place = format!("corpus {}..{}", corpus["from"], corpus["to"]);
        assert_close(counts.score(Order::Full), &corpus["bleu"], &format!("BLEU, {place}"));
        assert_close(
            counts.score(Order::Effective),
            &corpus["bleu_effective"],
            &format!("effective, {place}"),
        );
        assert_close(letters.score(), &corpus["chrf"], &format!("chrF++, {place}"));
    }
}

#[test]
fn retrieval_scores_equal_trec_eval() {
    let golden: Value = serde_json::from_str(&golden("retrieval-metrics.json")).unwrap();
    let ids: Vec<String> = serde_json::from_value(golden["ids"].clone()).unwrap();
    let queries = golden["queries"].as_array().unwrap();
    // Against the unit vectors, the inner products of these documents are the golden scores themselves.
    let scores: Vec<Vec<f32>> =
        queries.iter().map(|q| serde_json::from_value(q["scores"].clone()).unwrap()).collect();
    let documents =
        Array2::from_shape_fn((ids.len(), queries.len()), |(document, query)| scores[query][document]);
    let rankings = search(documents.view(), Array2::eye(queries.len()).view(), ids.len(), &ids).unwrap();
    for (number, (query, ranking)) in queries.iter().zip(rankings).enumerate() {
        let grades: HashMap<usize, i32> = serde_json::from_value(query["grades"].clone()).unwrap();
        let is_judged = !grades.is_empty();
        let judged: Judged = grades.into_iter().collect();
        let depth = usize::try_from(query["depth"].as_u64().unwrap()).unwrap();
        let documents = || ranking.iter().map(|&(document, _)| document);
        let (whole, short) = (judged.graded(documents()), judged.graded(documents().take(depth)));
        assert_equals_trec_eval(&whole, ranking.len(), &query["expected_whole"], number);
        assert_equals_trec_eval(&short, depth, &query["expected"], number);
        let cut = mrr(&whole, depth);
        assert_eq!(cut.is_some(), is_judged);
        assert_close(
            cut.unwrap_or(0.0),
            &query["expected"]["recip_rank"],
            &format!("MRR@{depth}, query {number}"),
        );
    }
}

/// Judgements that name documents and queries which are not there, from the folder to the scores.
#[test]
fn dangling_judgements_score_as_trec_eval_has_it() {
    let golden: Value = serde_json::from_str(&golden("dangling-judgements.json")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let names = |name: &str| -> Vec<String> { serde_json::from_value(golden[name].clone()).unwrap() };
    let entries = |name: &str| -> String {
        names(name).iter().map(|id| format!("{}\n", serde_json::json!({"_id": id, "text": id}))).collect()
    };
    std::fs::create_dir(folder.path().join("qrels")).unwrap();
    for (file, text) in [
        ("corpus.jsonl", entries("documents")),
        ("queries.jsonl", entries("queries")),
        ("qrels/test.tsv", golden["qrels"].as_str().unwrap().to_owned()),
    ] {
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    let corpus = Corpus::beir(folder.path()).unwrap();
    assert!(corpus.dangling().documents > 10 && corpus.dangling().queries > 3);
    let scores: Vec<Vec<f32>> = corpus
        .query_ids()
        .iter()
        .map(|query| serde_json::from_value(golden["scores"][query].clone()).unwrap())
        .collect();
    let documents = Array2::from_shape_fn((corpus.ids().len(), scores.len()), |(document, query)| {
        scores[query][document]
    });
    let all = corpus.ids().len();
    let rankings = search(documents.view(), Array2::eye(scores.len()).view(), all, corpus.ids()).unwrap();
    let expected = golden["expected"].as_object().unwrap();
    assert_eq!(expected.len(), rankings.len());
    for ((query, judged), ranking) in corpus.query_ids().iter().zip(&corpus.judgements().0).zip(rankings) {
        let found = judged.graded(ranking.iter().map(|&(document, _)| document));
        for (name, score) in [
            ("ndcg_cut_10", ndcg(&found, 10)),
            ("recall_10", recall(&found, 10)),
            ("recip_rank", mrr(&found, all)),
            ("map", average_precision(&found, all)),
        ] {
            assert_close(score.unwrap(), &expected[query][name], &format!("{name}, {query}"));
        }
    }
}

/// Scores and grades of an evaluation of Cranfield, of which the golden file has 40 queries.
#[test]
fn a_real_run_scores_as_trec_eval_has_it() {
    let queries: Vec<Value> = serde_json::from_str(&golden("cranfield-run.json")).unwrap();
    assert_eq!(queries.len(), 40);
    for query in &queries {
        let run: HashMap<String, f32> = serde_json::from_value(query["run"].clone()).unwrap();
        let grades: HashMap<String, i32> = serde_json::from_value(query["grades"].clone()).unwrap();
        let unranked = grades.keys().filter(|id| !run.contains_key(*id));
        let ids: Vec<String> = run.keys().chain(unranked).cloned().collect();
        // a cosine is above -2, so what was not ranked stays behind
        let score = |(document, _): (usize, usize)| run.get(&ids[document]).copied().unwrap_or(-2.0);
        let documents = Array2::from_shape_fn((ids.len(), 1), score);
        let ranking = search(documents.view(), Array2::eye(1).view(), run.len(), &ids).unwrap().remove(0);
        let judged: Judged =
            ids.iter().enumerate().filter_map(|(at, id)| Some((at, *grades.get(id)?))).collect();
        let found = judged.graded(ranking.iter().map(|&(document, _)| document));
        for (name, score) in [
            ("ndcg_cut_10", ndcg(&found, 10)),
            ("recall_10", recall(&found, 10)),
            ("recip_rank", mrr(&found, run.len())),
            ("map", average_precision(&found, run.len())),
        ] {
            assert_close(score.unwrap(), &query["expected"][name], &format!("{name}, {}", query["query"]));
        }
    }
}

/// trec_eval counts 0 where there are no judgements at all, and we have no score.
fn assert_equals_trec_eval(found: &Graded<'_>, depth: usize, expected: &Value, number: usize) {
    for k in [5, 10, 100] {
        let place = format!("@{k}, query {number}");
        let (gain, share) = (ndcg(found, k), recall(found, k));
        assert_close(gain.unwrap_or(0.0), &expected[format!("ndcg_cut_{k}")], &format!("nDCG{place}"));
        assert_close(share.unwrap_or(0.0), &expected[format!("recall_{k}")], &format!("recall{place}"));
        let precision = average_precision(found, k).unwrap_or(0.0);
        assert_close(precision, &expected[format!("map_cut_{k}")], &format!("MAP{place}"));
    }
    let precision = average_precision(found, depth).unwrap_or(0.0);
    assert_close(precision, &expected["map"], &format!("MAP, query {number}"));
    let rank = mrr(found, depth).unwrap_or(0.0);
    assert_close(rank, &expected["recip_rank"], &format!("MRR, query {number}"));
}

#[test]
fn proportions_equal_scipy() {
    let golden: Value = serde_json::from_str(&golden("retrieval-metrics.json")).unwrap();
    for case in golden["clopper_pearson"].as_array().unwrap() {
        let count = |name: &str| usize::try_from(case[name].as_u64().unwrap()).unwrap();
        let score = proportion(count("successes"), count("n"));
        assert_close(score.low, &case["low"], &format!("low of {case}"));
        assert_close(score.high, &case["high"], &format!("high of {case}"));
    }
}

#[test]
fn no_trials_and_too_many_successes() {
    let score = proportion(0, 0);
    assert_eq!((score.value, score.low, score.high), (0.0, 0.0, 1.0));
    assert_eq!(proportion(7, 5), proportion(5, 5));
}

#[test]
fn exact_match_minds_all_but_white_space() {
    assert!(exact_match("", " \n"));
    assert!(exact_match("a\t b\n", "a b"));
    assert!(!exact_match("ab", "a b"));
    assert!(!exact_match("A b", "a b"));
    assert!(!exact_match("a b.", "a b"));
}

#[test]
fn token_f1_compares_sets_of_words() {
    let table = [
        ("", "", 1.0),
        ("...", "!", 1.0),
        ("", "word", 0.0),
        ("word", "", 0.0),
        ("a a a b", "A, b!", 1.0),
        ("a b", "a c", 0.5),
        ("a b c d", "a", 0.4),
        ("don't", "don t", 1.0),
        ("snake_case", "snake case", 0.0),
        ("ÉCOLE Москва", "école москва", 1.0),
    ];
    for (candidate, reference, expected) in table {
        assert_eq!(token_f1(candidate, reference), expected, "{candidate:?} / {reference:?}");
    }
}

#[test]
fn an_entity_cuts_no_word_and_no_number() {
    let table = [
        ("Ann", "Ann.", true),
        ("Ann", "Anna", false),
        ("Ann", "Joann Ann", true),
        ("ann", "Ann", false),
        ("1 1", "11 1 1", true),
        ("200", "1,200", false),
        ("1,200", "1,200,000", false),
        ("$1,200", "(US$1,200)", true),
        ("12", "12.50", false),
        ("50", "12.50", false),
        ("12", "in 12.", true),
        ("2021", "2021-03-04", true),
        ("New York", "in New\n York, NY", true),
        ("O'Brien", "Mr O'Brien's", true),
        ("Müller", "Müllers", false),
        ("é", "né", false),
        ("", "anything", false),
    ];
    for (entity, text, found) in table {
        let expected = if entity.is_empty() { None } else { Some(f64::from(u8::from(found))) };
        assert_eq!(entity_recall(text, &[entity]), expected, "{entity:?} in {text:?}");
    }
    assert_eq!(entity_recall("a b", &["a", "a", "c", " "]), Some(2.0 / 3.0));
}

#[test]
fn what_a_candidate_asserts_is_true_or_not() {
    assert_eq!(entity_precision(&["Ann", "$5", "$5"], "Ann owes $5.50"), Some(1.0 / 3.0));
    assert_eq!(entity_precision(&[" ", ""], "Ann"), None);
    for (text, offsets, expected) in [
        ("Zoë 😀 x", vec![(0, 3), (4, 5), (6, 7)], Some(vec!["Zoë", "😀", "x"])),
        ("ab", vec![], Some(vec![])),
        ("ab", vec![(0, 2), (2, 3)], None),
        ("ab", vec![(1, 1)], None),
        ("", vec![(0, 1)], None),
        ("ab", vec![(usize::MAX - 1, usize::MAX)], None),
    ] {
        let offsets: Vec<_> = offsets.into_iter().map(|(start, end)| start..end).collect();
        assert_eq!(spans(text, &offsets), expected, "{text:?}, {offsets:?}");
    }
}

#[test]
fn a_run_file_has_six_columns() {
    let ids = |ids: &[&str]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    let rankings = [vec![(1, 0.1), (0, f32::NEG_INFINITY)], vec![]];
    let run = run_file("t", &ids(&["q1", "q2"]), &ids(&["d1", "d2"]), &rankings).unwrap();
    assert_eq!(run, "q1 Q0 d2 1 0.1 t\nq1 Q0 d1 2 -inf t\n");
    for (tag, queries, documents) in [
        ("two words", vec!["q1", "q2"], vec!["d1", "d2"]),
        ("t", vec!["q 1", "q2"], vec!["d1", "d2"]),
        ("t", vec!["q1", "q2"], vec!["d1", ""]),
        ("t", vec!["q1", "q2"], vec!["d1"]),
        ("t", vec!["q1"], vec!["d1", "d2"]),
    ] {
        assert!(run_file(tag, &ids(&queries), &ids(&documents), &rankings).is_err());
    }
}

#[test]
fn codes_are_searched_only_as_what_they_are() {
    let vectors = Array2::from_shape_fn((3, 20), |(row, column)| (row * column) as f32 - 3.0);
    let ids = ["a", "b", "c"].map(String::from);
    let encode = |bits: u32| Quantization::new(bits).unwrap().encode(vectors.view()).unwrap();
    let (bytes, bits) = (encode(8), encode(1));
    assert!(search_i8(&bytes, &bytes, 2, &ids).is_ok() && search_bits(&bits, &bits, 2, &ids).is_ok());
    assert!(search_i8(&bytes, &bits, 2, &ids).is_err());
    assert!(search_i8(&encode(4), &encode(4), 2, &ids).is_err());
    assert!(search_bits(&bytes, &bits, 2, &ids).is_err());
    assert!(search_bits(&bits, &bits, 2, &ids[1..]).is_err());
    let zeros = Codes::new(20, Array2::zeros((3, 20)), Vec::new());
    assert_eq!(search_i8(&zeros, &bytes, 1, &ids).unwrap(), vec![vec![(2, 0.0)]; 3]);
    let narrow = Quantization::new(1).unwrap().encode(vectors.slice(ndarray::s![.., ..17])).unwrap();
    assert!(search_bits(&bits, &narrow, 2, &ids).is_err());
    let none = Codes::new(20, Array2::zeros((0, 20)), Vec::new());
    assert!(search_i8(&bytes, &none, 1, &ids).unwrap().is_empty());
    assert_eq!(search_i8(&none, &bytes, 1, &[]).unwrap(), vec![vec![]; 3]);
}

#[test]
fn a_query_without_judgements_has_no_score_and_one_without_a_relevant_document_0() {
    for (judged, score) in [(Judged::default(), None), (Judged::from([(0, 0), (1, -2)]), Some(0.0))] {
        let found = judged.graded([0, 1]);
        assert_eq!((ndcg(&found, 10), recall(&found, 10)), (score, score));
        assert_eq!((mrr(&found, 10), average_precision(&found, 10)), (score, score));
    }
    let judged = Judged::from([(0, 1)]);
    let (found, nothing) = (judged.graded([0]), judged.graded([]));
    assert_eq!((ndcg(&found, 0), recall(&found, 0)), (Some(0.0), Some(0.0)));
    assert_eq!((ndcg(&nothing, 10), mrr(&nothing, 10)), (Some(0.0), Some(0.0)));
    let judgements = Judgements(vec![Judged::default(), judged]);
    let rankings: [Hits; 2] = [vec![(0, 1.0)], vec![(3, 1.0), (0, 0.5)]];
    assert_eq!(judgements.scores(&rankings, |found| mrr(found, 10)), [0.5]);
}

#[test]
fn the_last_grade_of_a_document_counts() {
    let judged: Judged = [(9, 2), (usize::MAX, 1), (9, 0), (4, 3), (9, 1)].into_iter().collect();
    assert_eq!(judged.grades(), [(4, 3), (9, 1), (usize::MAX, 1)]);
    assert_eq!(recall(&judged.graded([9, usize::MAX, 5]), 10), Some(2.0 / 3.0));
}

#[test]
fn queries_keep_their_order_on_any_number_of_threads() {
    let judgements = Judgements((0..1000).map(|query| Judged::from([(query, 1), (query + 1, 2)])).collect());
    let ranking =
        |query: usize| vec![(if query.is_multiple_of(7) { query } else { 5000 }, 1.0), (query + 1, 0.5)];
    let rankings: Vec<Hits> = (0..1000).map(ranking).collect();
    let scores = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| judgements.scores(&rankings, |found| ndcg(found, 10)))
    };
    let one = scores(1);
    assert!(one.len() == 1000 && one[0] == one[700] && one[0] != one[701]);
    assert_eq!(one, scores(3));
    // so far apart, documents have no table
    let mut far = judgements.clone();
    far.0.push(Judged::from([(usize::MAX, 1)]));
    let mut rankings = rankings.clone();
    rankings.push(vec![(usize::MAX, 1.0)]);
    assert_eq!(far.scores(&rankings, |found| ndcg(found, 10)), [one, vec![1.0]].concat());
}

#[test]
fn search_has_an_answer_for_odd_input() {
    let ids = ["a", "b", "c"].map(String::from);
    let documents = array![[f32::NAN, 0.0], [-1.0, 0.0], [0.0, -0.0]];
    let found = search(documents.view(), array![[1.0, 0.0], [0.0, 1.0]].view(), 5, &ids).unwrap();
    assert_eq!(found[0].iter().map(|hit| hit.0).collect::<Vec<_>>(), [2, 1, 0]);
    assert_eq!(found[1], [(2, 0.0), (1, 0.0), (0, f32::NEG_INFINITY)]);
    assert_eq!(search(documents.view(), array![[1.0, 0.0]].view(), 0, &ids).unwrap(), [vec![]]);
    assert_eq!(search(Array2::zeros((0, 2)).view(), array![[1.0, 0.0]].view(), 3, &[]).unwrap(), [vec![]]);
    assert!(search(documents.view(), Array2::zeros((0, 2)).view(), 3, &ids).unwrap().is_empty());
    assert!(search(documents.view(), Array2::zeros((1, 3)).view(), 3, &ids).is_err());
    assert!(search(documents.view(), array![[1.0, 0.0]].view(), 3, &ids[1..]).is_err());
    assert_eq!(
        search(Array2::zeros((3, 0)).view(), Array2::zeros((1, 0)).view(), 1, &ids).unwrap(),
        [vec![(2, 0.0)]]
    );
}

#[test]
fn one_vector_scores_alike_in_every_place() {
    let (rows, dim) = (2500, 37);
    let value = |column: usize| ((column * 7919) % 101) as f32 / 101.0 - 0.3;
    let documents = Array2::from_shape_fn((rows, dim), |(_, column)| value(column));
    let queries = Array2::from_shape_fn((70, dim), |(row, column)| value(column + row % 2));
    let ids: Vec<String> = (0..rows).map(|row| format!("{row:05}")).collect();
    for ranking in search(documents.view(), queries.view(), 20, &ids).unwrap() {
        let found: Vec<usize> = ranking.into_iter().map(|(document, _)| document).collect();
        assert_eq!(found, (rows - 20..rows).rev().collect::<Vec<_>>());
    }
}

#[test]
fn rows_are_scaled_to_length_one() {
    let mut vectors = array![[3.0, 4.0], [0.0, 0.0], [1e-30, 0.0], [3e38, 3e38], [f32::INFINITY, 1.0]];
    normalize_rows(vectors.view_mut());
    assert_eq!(vectors.row(0).to_vec(), [0.6, 0.8]);
    assert_eq!(vectors.row(1).to_vec(), [0.0, 0.0]);
    assert_eq!(vectors.row(2).to_vec(), [1.0, 0.0]);
    assert!((vectors[[3, 0]] - 0.5f32.sqrt()).abs() < 1e-6);
    assert_eq!(vectors.row(4).to_vec(), [f32::INFINITY, 1.0]);
}

#[test]
fn a_bootstrap_repeats_on_any_number_of_threads() {
    let values: Vec<f64> = (0..200).map(|n| f64::from(n * n % 97)).collect();
    let score = mean(&values, 3).unwrap();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| mean(&values, 3)), Some(score));
    }
    assert_ne!(mean(&values, 4), Some(score));
    let halfwidth = 1.96 * (values.iter().map(|x| (x - score.value).powi(2)).sum::<f64>()).sqrt() / 200.0;
    assert!((score.high - score.value - halfwidth).abs() < 0.15 * halfwidth, "{score:?}, {halfwidth}");
    assert!((score.value - score.low - halfwidth).abs() < 0.15 * halfwidth, "{score:?}, {halfwidth}");
}

proptest! {
    #[test]
    fn a_text_is_its_own_best_candidate(text in "(\\PC{1,8} ){4,12}", other in "\\PC{0,40}") {
        prop_assert!(exact_match(&text, &text));
        // Some of the characters drawn are spaces.
        prop_assume!(text.split_whitespace().count() >= 4);
        prop_assert_eq!(bleu(&text, &text), 100.0);
        prop_assert_eq!(token_f1(&text, &text), 1.0);
        prop_assert!(bleu(&other, &text) <= 100.0);
    }

    #[test]
    fn text_scores_stay_in_range(candidate in "[ab1 .,$é-]{0,40}", reference in "[ab1 .,$é-]{0,40}") {
        prop_assert!((0.0..=100.0).contains(&bleu(&candidate, &reference)));
        prop_assert!((0.0..=1.0).contains(&token_f1(&candidate, &reference)));
        prop_assert!((0.0..=1.0).contains(&rouge_l(&candidate, &reference)));
        prop_assert_eq!(token_f1(&candidate, &reference), token_f1(&reference, &candidate));
        prop_assert_eq!(rouge_l(&candidate, &reference), rouge_l(&reference, &candidate));
    }

    #[test]
    fn token_f1_minds_no_order(words in prop::collection::vec("[a-d]{1,2}", 0..12), other in "[a-d ]{0,20}") {
        let reversed: Vec<String> = words.iter().rev().cloned().collect();
        prop_assert_eq!(token_f1(&words.join(" "), &other), token_f1(&reversed.join(" "), &other));
    }

    #[test]
    fn search_is_a_sort(
        (documents, queries) in (1..40usize, 1..5usize, 1..6usize).prop_flat_map(|(n, m, dim)| (rows(n, dim), rows(m, dim))),
        k in 0..45usize,
    ) {
        // Whole numbers have exact inner products and many ties; the ids do not sort as the rows do.
        let ids: Vec<String> = (0..documents.nrows()).map(|row| format!("{}", (row * 17) % 41)).collect();
        let found = search(documents.view(), queries.view(), k, &ids).unwrap();
        for (query, ranking) in queries.rows().into_iter().zip(found) {
            let mut sorted: Vec<(usize, f32)> = documents.rows().into_iter().map(|row| row.dot(&query)).enumerate().collect();
            sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| ids[b.0].cmp(&ids[a.0])));
            sorted.truncate(k);
            prop_assert_eq!(ranking, sorted);
        }
    }

    #[test]
    fn codes_rank_as_what_they_decode_to(
        (documents, queries) in (1..60usize, 1..5usize, 1..90usize).prop_flat_map(|(n, m, dim)| (rows(n, dim), rows(m, dim))),
        k in 1..9usize,
    ) {
        let ids: Vec<String> = (0..documents.nrows()).map(|row| format!("{}", (row * 17) % 61)).collect();
        for bits in [8, 1] {
            let quantization = Quantization::new(bits).unwrap();
            // a vector of zeros has no signs
            let shift = if bits == 1 { 0.25 } else { 0.0 };
            let codes =
                [&documents, &queries].map(|vectors| quantization.encode((vectors + shift).view()).unwrap());
            let [documents, queries] = [0, 1].map(|side| {
                let mut vectors = quantization.decode(&codes[side]).unwrap();
                normalize_rows(vectors.view_mut());
                vectors
            });
            let found = match bits {
                8 => search_i8(&codes[0], &codes[1], k, &ids).unwrap(),
                _ => search_bits(&codes[0], &codes[1], k, &ids).unwrap(),
            };
            let decoded = search(documents.view(), queries.view(), k, &ids).unwrap();
            // ties of the codes may be apart by a rounding where they are decoded: the scores are compared
            for (found, decoded) in found.iter().flatten().zip(decoded.iter().flatten()) {
                prop_assert!((found.1 - decoded.1).abs() < 1e-4, "{} bits: {:?}, {:?}", bits, found, decoded);
            }
            prop_assert_eq!(found.iter().map(Vec::len).sum::<usize>(), decoded.iter().map(Vec::len).sum::<usize>());
        }
    }

    #[test]
    fn the_ideal_ranking_scores_one(grades in prop::collection::vec(-1..4i32, 1..20)) {
        let judged: Judged = grades.iter().copied().enumerate().collect();
        let mut ranking: Vec<usize> = (0..grades.len()).collect();
        ranking.sort_by_key(|&document| -grades[document]);
        prop_assume!(grades.iter().any(|&grade| grade > 0));
        let found = judged.graded(ranking);
        prop_assert_eq!(ndcg(&found, 10), Some(1.0));
        prop_assert_eq!(recall(&found, 20), Some(1.0));
        prop_assert_eq!(mrr(&found, 1), Some(1.0));
    }

    #[test]
    fn a_proportion_lies_in_its_interval(n in 1..500usize, part in 0.0..=1.0f64) {
        let successes = (n as f64 * part) as usize;
        let (score, mirror) = (proportion(successes, n), proportion(n - successes, n));
        prop_assert!(0.0 <= score.low && score.low <= score.value && score.value <= score.high && score.high <= 1.0);
        prop_assert!((score.low + mirror.high - 1.0).abs() < TOLERANCE);
    }

    #[test]
    fn a_bootstrap_stays_within_its_sample(values in prop::collection::vec(-5.0..5.0f64, 1..30), seed: u64) {
        let score = mean(&values, seed).unwrap();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        prop_assert!(least - TOLERANCE <= score.low && score.low <= score.high && score.high <= most + TOLERANCE);
        let shifted: Vec<f64> = values.iter().map(|value| value - 1.0).collect();
        let difference = paired_difference(&values, &shifted, seed).unwrap();
        prop_assert!((difference.low - 1.0).abs() < TOLERANCE && (difference.high - 1.0).abs() < TOLERANCE);
    }
}

fn rows(count: usize, dim: usize) -> impl Strategy<Value = Array2<f32>> {
    prop::collection::vec(-3..4i8, count * dim).prop_map(move |values| {
        Array2::from_shape_fn((count, dim), |(row, column)| f32::from(values[row * dim + column]))
    })
}

fn golden_pairs() -> Vec<Value> {
    golden("text-metrics.jsonl").lines().map(|pair| serde_json::from_str(pair).unwrap()).collect()
}

fn texts(pair: &Value) -> (&str, &str) {
    (pair["candidate"].as_str().unwrap(), pair["reference"].as_str().unwrap())
}

fn golden(name: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn assert_close(ours: f64, theirs: &Value, what: &str) {
    let theirs = theirs.as_f64().unwrap();
    assert!((ours - theirs).abs() <= TOLERANCE, "{what}: {ours}, not {theirs}");
}

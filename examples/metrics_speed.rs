//! Times the metrics on files, for `benches/peers/metrics`. Each line of output is a JSON object with the name, the
//! best of a few times in seconds, and a number to compare results by.
//!
//! metrics_speed bleu PAIRS.jsonl ROUNDS
//! metrics_speed search DOCUMENTS.f32 QUERIES.f32 DIM ROUNDS
//! metrics_speed retrieval RUN.json ROUNDS

use std::collections::HashMap;
use std::error::Error;
use std::time::Instant;

use embosk::evaluate::retrieval::{Graded, Hits, Judgements, average_precision, mrr, ndcg, recall, search};
use embosk::evaluate::text::bleu;
use ndarray::Array2;
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["bleu", pairs, rounds] => time_bleu(pairs, rounds.parse()?),
        ["search", documents, queries, dim, rounds] => {
            time_search(documents, queries, dim.parse()?, rounds.parse()?)
        }
        ["retrieval", run, rounds] => time_retrieval(run, rounds.parse()?),
        _ => Err("see the head of this file for the arguments".into()),
    }
}

fn time_bleu(path: &str, rounds: usize) -> Result<(), Box<dyn Error>> {
    let lines = std::fs::read_to_string(path)?;
    let pairs: Vec<[String; 2]> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let average =
        || pairs.iter().map(|[output, input]| bleu(output, input)).sum::<f64>() / pairs.len() as f64;
    report("bleu", rounds, average);
    Ok(())
}

fn time_search(documents: &str, queries: &str, dim: usize, rounds: usize) -> Result<(), Box<dyn Error>> {
    let (documents, queries) = (vectors(documents, dim)?, vectors(queries, dim)?);
    let ids: Vec<String> = (0..documents.nrows()).map(|id| id.to_string()).collect();
    let best = |rankings: Vec<Hits>| rankings.iter().flatten().map(|hit| f64::from(hit.1)).sum::<f64>();
    report("search", rounds, || search(documents.view(), queries.view(), 10, &ids).map_or(f64::NAN, best));
    Ok(())
}

fn vectors(path: &str, dim: usize) -> Result<Array2<f32>, Box<dyn Error>> {
    let bytes = std::fs::read(path)?;
    let (numbers, _) = bytes.as_chunks::<4>();
    let numbers: Vec<f32> = numbers.iter().map(|&number| f32::from_le_bytes(number)).collect();
    Ok(Array2::from_shape_vec((numbers.len() / dim, dim), numbers)?)
}

/// The file holds, for each query, the documents' ids in the order of the run, and the grades by id.
fn time_retrieval(path: &str, rounds: usize) -> Result<(), Box<dyn Error>> {
    let run: Vec<(Vec<usize>, HashMap<usize, i32>)> = serde_json::from_slice(&std::fs::read(path)?)?;
    let (rankings, judged): (Vec<_>, Vec<_>) = run.into_iter().unzip();
    let scored = |ranking: Vec<usize>| ranking.into_iter().map(|document| (document, 0.0)).collect::<Hits>();
    let rankings: Vec<Hits> = rankings.into_iter().map(scored).collect();
    let judgements = Judgements(judged.into_iter().map(|grades| grades.into_iter().collect()).collect());
    let all = |found: &Graded<'_>| {
        let precision = average_precision(found, usize::MAX)?;
        Some(ndcg(found, 10)? + recall(found, 100)? + mrr(found, usize::MAX)? + precision)
    };
    report("retrieval", rounds, || {
        judgements.scores(&rankings, all).iter().sum::<f64>() / rankings.len() as f64
    });
    Ok(())
}

fn report(name: &str, rounds: usize, mut work: impl FnMut() -> f64) {
    let (mut best, mut result) = (f64::INFINITY, 0.0);
    for _ in 0..rounds.max(1) {
        let begin = Instant::now();
        result = work();
        best = best.min(begin.elapsed().as_secs_f64());
    }
    let line: Value = json!({"name": name, "seconds": best, "result": result});
    println!("{line}");
}

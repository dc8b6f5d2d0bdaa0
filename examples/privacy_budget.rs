//! A privacy regression test to copy: put the test below into your project's `tests/`, and insert your
//! embedder, your stack, your corpus and your limits.
//!
//! Here it measures the shipped embedder. Run it with
//! `cargo test --release --features cli --example privacy_budget`, or print its verdict with
//! `cargo run --release --features cli --example privacy_budget`.

use embosk::attacks::vec2text::Vec2Text;
use embosk::embedder;
use embosk::evaluate::adversaries::{Informed, Naive};
use embosk::evaluate::{Budget, Corpus, Evaluation, Verdict};
use embosk::{BoxError, Stack};

fn main() -> Result<(), BoxError> {
    println!("{}", verdict("gaussian(sigma=0.1, on=documents) | quantization(bits=8)".parse()?)?);
    Ok(())
}

/// Measures how well the stack protects 60 records, and what it costs in retrieval.
fn verdict(stack: Stack) -> Result<Verdict, BoxError> {
    // few steps and no local search: enough for the canary, and quick
    let attack = Vec2Text::shipped("reference")?.steps(5).beam_width(2).local_queries(0);
    let report = Evaluation::new(embedder::reference()?)
        .corpus(Corpus::records(500, 0))
        .attack(attack)
        // attackers who know the defense, and not only the naive one; a stack with a key needs one who tries to undo it
        // as well, such as Leaked(400), or it does not pass
        .adversary(Naive)
        .adversary(Informed(2000))
        .defense(stack)
        .samples(60)
        .run()?;
    let budget = Budget::new().exact_match(0.1).bleu(35.0).ndcg_drop(0.4).canary("bleu", 60.0);
    Ok(report.check(&budget)?)
}

#[test]
fn the_stack_keeps_its_budget() -> Result<(), BoxError> {
    let verdict = verdict("gaussian(sigma=0.1, on=documents) | quantization(bits=8)".parse()?)?;
    assert!(verdict.passed(), "{verdict}");
    Ok(())
}

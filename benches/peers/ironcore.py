"""A program that times ironcore-alloy's vector encryption, built from the crate registry.

ironcore-alloy is under the AGPL, so the program exists only in the folder that it is built in, and what
it is built from is not part of this repository.
"""

import os
import subprocess
from pathlib import Path

VERSION = "0.16.2"

MANIFEST = f"""
[package]
name = "time-ironcore"
version = "0.0.0"
edition = "2024"
publish = false

[workspace]

[dependencies]
ironcore-alloy = {{ version = "={VERSION}", default-features = false }}
futures = "0.3"
"""

# It has the same arguments, output and way of timing as defenses/examples/throughput.rs. A call takes
# its vectors by value, so they are copied beforehand, outside the time.
PROGRAM = r"""
use std::time::{Duration, Instant};
use std::{env, fs};

use futures::executor::block_on;
use ironcore_alloy::standalone::config::{
    RotatableSecret, StandaloneConfiguration, StandaloneSecret, StandardSecrets, VectorSecret,
};
use ironcore_alloy::vector::{PlaintextVector, PlaintextVectors, VectorId, VectorOps};
use ironcore_alloy::{AlloyMetadata, DerivationPath, Secret, SecretPath, Standalone, TenantId};

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let dim: usize = arguments[2].parse().unwrap();
    let budget = Duration::from_secs_f64(arguments[3].parse().unwrap());
    let numbers: Vec<f32> = fs::read(&arguments[1])
        .unwrap()
        .chunks_exact(4)
        .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
        .collect();
    let rows: Vec<Vec<f32>> = numbers.chunks_exact(dim).map(<[f32]>::to_vec).collect();
    let (sdk, metadata) = sdk();

    let single = best_time(budget, || plaintext(&rows[0]), |vector| {
        block_on(sdk.vector().encrypt(vector, &metadata)).unwrap()
    });
    report(dim, 1, single);
    let batch = || {
        let vectors = rows.iter().enumerate();
        PlaintextVectors(vectors.map(|(id, row)| (VectorId(id.to_string()), plaintext(row))).collect())
    };
    let all = best_time(budget, batch, |vectors| {
        let result = block_on(sdk.vector().encrypt_batch(vectors, &metadata)).unwrap();
        assert_eq!(result.successes.0.len(), rows.len());
        result
    });
    report(dim, rows.len(), all);
}

fn sdk() -> (std::sync::Arc<Standalone>, std::sync::Arc<AlloyMetadata>) {
    let secret = Secret::new((0..64).collect()).unwrap();
    let rotatable = || RotatableSecret::new(Some(StandaloneSecret::new(1, secret.clone())), None).unwrap();
    let standard = StandardSecrets::new(Some(1), vec![StandaloneSecret::new(1, secret.clone())]).unwrap();
    let vectors = [(SecretPath("path".into()), VectorSecret::new(2.5, rotatable()))].into();
    let configuration = StandaloneConfiguration::new(standard, [].into(), vectors);
    (Standalone::new(&configuration), AlloyMetadata::new_simple(TenantId("tenant".into())))
}

fn plaintext(row: &[f32]) -> PlaintextVector {
    PlaintextVector {
        plaintext_vector: row.to_vec(),
        secret_path: SecretPath("path".into()),
        derivation_path: DerivationPath("path".into()),
    }
}

fn best_time<T, R>(budget: Duration, input: impl Fn() -> T, operation: impl Fn(T) -> R) -> f64 {
    let timed = |calls: usize| {
        let inputs: Vec<T> = (0..calls).map(|_| input()).collect();
        let begin = Instant::now();
        let outputs: Vec<R> = inputs.into_iter().map(&operation).collect();
        let seconds = begin.elapsed().as_secs_f64() / calls as f64;
        drop(outputs);
        seconds
    };
    timed(1);
    let first = timed(1);
    let calls = (0.002 / first).clamp(1.0, 1e5) as usize;
    let (begin, mut best) = (Instant::now(), first);
    while begin.elapsed() < budget {
        best = best.min(timed(calls));
    }
    best
}

fn report(dim: usize, rows: usize, seconds: f64) {
    println!(r#"{{"name": "ironcore-alloy", "dim": {dim}, "rows": {rows}, "seconds": {seconds:e}}}"#);
}
"""


def build(folder: Path) -> Path:
    """The program, built where it is not yet."""
    crate = folder / "time-ironcore"
    (crate / "src").mkdir(parents=True, exist_ok=True)
    write_if_new(crate / "Cargo.toml", MANIFEST)
    write_if_new(crate / "src" / "main.rs", PROGRAM)
    # Its own target folder, and no settings of the repository's.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CARGO_")}
    subprocess.run(["cargo", "build", "--quiet", "--release"], cwd=crate, env=environment, check=True)
    return crate / "target" / "release" / "time-ironcore"


def write_if_new(file: Path, text: str) -> None:
    if not file.exists() or file.read_text() != text:
        file.write_text(text)

"""Times `Stack.protect` beside the same in Rust and beside NumPy: python benches/protect.py PROTECT_SPEED

PROTECT_SPEED is the program of examples/protect_speed.rs. All take turns, so that all meet the same machine, and the
fastest run of each counts.
"""

import os
import subprocess
import sys
import time

import numpy

import embosk

ROWS, DIM, ROUNDS, RUNS = 100_000, 768, 4, 5
ROTATION = "rotation(key=env:EMBOSK_KEY)"
NOISE = "gaussian(sigma=0.01)"
SPECS = [
    ROTATION,
    "rotation(key=env:EMBOSK_KEY, kind=hadamard)",
    NOISE,
    "gaussian(sigma=0.01, key=env:EMBOSK_KEY)",
    "quantization(bits=8)",
    f"{ROTATION} | {NOISE}",
]


def main():
    os.environ.setdefault("EMBOSK_KEY", embosk.Key.generate().to_text())
    generator = numpy.random.default_rng(0)
    vectors = (generator.standard_normal((ROWS, DIM)) / DIM**0.5).astype("float32")
    turn = numpy.linalg.qr(generator.standard_normal((DIM, DIM)))[0].astype("float32")
    peers = {
        ROTATION: ("x @ Q", lambda: vectors @ turn),
        NOISE: (
            "x + rng.standard_normal",
            lambda: vectors + generator.standard_normal(vectors.shape, dtype="float32") * numpy.float32(0.01),
        ),
    }
    print(f"{ROWS} x {DIM} float32, the fastest of {ROUNDS * RUNS} runs each")
    for spec in SPECS:
        stack = embosk.Stack(spec, dim=DIM)
        peer, of_numpy = peers.get(spec, (None, None))
        ours, rust, numpys = [], [], []
        for _ in range(ROUNDS):
            ours.append(fastest(lambda: stack.protect(vectors)))
            rust.append(of_rust(spec))
            if peer:
                numpys.append(fastest(of_numpy))
        ours, rust = min(ours), min(rust)
        line = f"{spec}: Python {ours:.3f} s, Rust {rust:.3f} s, ratio of speeds {rust / ours:.3f}"
        if peer:
            line += f"; numpy {peer} {min(numpys):.3f} s, {min(numpys) / ours:.2f} times as fast as numpy"
        print(line, flush=True)


def fastest(work):
    seconds = []
    for _ in range(RUNS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def of_rust(spec):
    arguments = [sys.argv[1], spec, str(ROWS), str(DIM), str(RUNS)]
    out = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    return float(out.split(": ")[-1].split(" s")[0])


if __name__ == "__main__":
    main()

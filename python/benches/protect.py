"""Times `Stack.protect` beside the same in Rust and beside NumPy: python benches/protect.py [PROTECT_SPEED]

PROTECT_SPEED is the program of examples/protect_speed.rs. Both take turns, so that both meet the same machine.
"""

import os
import statistics
import subprocess
import sys
import time

import numpy

import embosk

ROWS, DIM, RUNS = 100_000, 768, 7
SPECS = [
    "rotation(key=env:EMBOSK_KEY)",
    "rotation(key=env:EMBOSK_KEY, kind=hadamard)",
    "gaussian(sigma=0.01)",
    "gaussian(sigma=0.01, key=env:EMBOSK_KEY)",
    "quantization(bits=8)",
    "rotation(key=env:EMBOSK_KEY) | gaussian(sigma=0.01)",
]


def median(work):
    seconds = []
    for _ in range(RUNS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def main():
    os.environ.setdefault("EMBOSK_KEY", embosk.Key.generate().to_text())
    generator = numpy.random.default_rng(0)
    vectors = (generator.standard_normal((ROWS, DIM)) / DIM**0.5).astype("float32")
    turn = numpy.linalg.qr(generator.standard_normal((DIM, DIM)))[0].astype("float32")
    print(f"{ROWS} x {DIM} float32, medians of {RUNS}")
    for spec in SPECS:
        stack = embosk.Stack(spec)
        stack.protect(vectors[:10])
        ours = median(lambda: stack.protect(vectors))
        line = f"{spec}: Python {ours:.3f} s, {ROWS / ours / 1e3:.0f} thousand rows/s"
        for program in sys.argv[1:]:
            out = subprocess.run([program, spec, str(ROWS), str(DIM)], capture_output=True, text=True, check=True).stdout
            rust = float(out.split("): ")[-1].split(" s")[0])
            line += f"; Rust {rust:.3f} s; Python runs at {rust / ours:.3f} of its speed"
        print(line, flush=True)
    print(f"numpy x @ Q: {median(lambda: vectors @ turn):.3f} s")
    draw = lambda: vectors + generator.standard_normal(vectors.shape, dtype='float32') * numpy.float32(0.01)  # noqa: E731
    print(f"numpy x + normals: {median(draw):.3f} s")


if __name__ == "__main__":
    main()

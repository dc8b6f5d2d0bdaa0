"""Computes anew, with numpy alone, what `embosk evaluate --guesses FILE` guessed, and compares text by text.

    embosk evaluate --embedder E --attack none --corpus texts.txt --adversary naive --guesses guesses.jsonl \\
        --defense none --defense "quantization(bits=8)" --defense "gaussian(sigma=0.1, key=file:key)"
    python3 benches/peers/guess.py --embosk target/release/embosk --embedder E guesses.jsonl \\
        none "quantization(bits=8)" "gaussian(sigma=0.1, key=file:key)"

Vectors come from `embosk embed` and `embosk protect`. Fresh noise differs each time, so the defenses are those that
draw nothing; noise with a key is the same whoever computes it. The adversary is naive, and vectors have norm 1.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy

parser = argparse.ArgumentParser()
parser.add_argument("--embosk", default="embosk")
parser.add_argument("--embedder", required=True)
parser.add_argument("guesses", type=Path)
parser.add_argument("defenses", nargs="+")
options = parser.parse_args()
lines = [json.loads(line) for line in options.guesses.read_text().splitlines()]
texts = [line["before"] + fact + line["after"] for line in lines for fact in line["candidates"]]
with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    run = lambda *words: subprocess.run([options.embosk, *map(str, words)], check=True)
    (folder / "texts.txt").write_text("".join(text + "\n" for text in texts))
    run("embed", "--embedder", options.embedder, "--input", folder / "texts.txt", "--output", folder / "clean.npy")
    clean = numpy.load(folder / "clean.npy")
    clean = clean.reshape(len(lines), -1, clean.shape[1])
    answers = numpy.array([line["answer"] for line in lines])
    numpy.save(folder / "true.npy", clean[numpy.arange(len(lines)), answers])
    for defense in options.defenses:
        stored = folder / "true.npy"
        if defense != "none":
            stored = folder / "stored.npy"
            run("protect", "--defense", defense, "--role", "document", folder / "true.npy", stored)
        scores = numpy.einsum("tcd,td->tc", clean.astype(float), numpy.load(stored).astype(float))
        ours = (scores / numpy.linalg.norm(clean.astype(float), axis=2)).argmax(axis=1)
        rows = [[guess for guess in line["guesses"] if guess["adversary"] == "naive"] for line in lines]
        position = options.defenses.index(defense)
        theirs = numpy.array([row[position]["guess"] for row in rows])
        print(f"{defense}: {(ours == answers).mean():.4f}, embosk {(theirs == answers).mean():.4f}, "
              f"{(ours != theirs).sum()} of {len(lines)} texts differ")

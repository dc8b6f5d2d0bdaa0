"""Computes anew, with numpy alone, what `embosk evaluate --guesses FILE` guessed, and compares text by text.

    embosk evaluate --embedder E --attack none --corpus texts.txt --adversary naive --guesses guesses.jsonl \\
        --defense none --defense "quantization(bits=8)" --defense "gaussian(sigma=0.1, key=file:key)"
    python3 benches/peers/guess.py --embosk target/release/embosk --embedder E guesses.jsonl \\
        none "quantization(bits=8)" "gaussian(sigma=0.1, key=file:key)"

Vectors come from `embosk embed` and `embosk protect`. Fresh noise differs each time, so the defenses are those that
draw nothing; noise with a key is the same whoever computes it. The adversary is naive, and vectors have norm 1.
Defenses are found in the file by their specs, in any order. Exits with 1 if any text differs.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--embosk", default="embosk")
    parser.add_argument("--embedder", required=True)
    parser.add_argument("guesses", type=Path)
    parser.add_argument("defenses", nargs="+")
    options = parser.parse_args()
    lines = [json.loads(line) for line in options.guesses.read_text().splitlines()]
    theirs = {defense: guessed(lines, defense) for defense in options.defenses}
    texts = [line["before"] + fact + line["after"] for line in lines for fact in line["candidates"]]
    answers = numpy.array([line["answer"] for line in lines])
    differ = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = lambda *words: subprocess.run([options.embosk, *map(str, words)], check=True)
        (folder / "texts.txt").write_text("".join(text + "\n" for text in texts))
        run("embed", "--embedder", options.embedder, "--input", folder / "texts.txt", "--output", folder / "clean.npy")
        clean = numpy.load(folder / "clean.npy")
        clean = clean.reshape(len(lines), -1, clean.shape[1])
        numpy.save(folder / "true.npy", clean[numpy.arange(len(lines)), answers])
        for defense in options.defenses:
            stored = folder / "true.npy"
            if defense != "none":
                stored = folder / "stored.npy"
                run("protect", "--defense", defense, "--role", "document", folder / "true.npy", stored)
            scores = numpy.einsum("tcd,td->tc", clean.astype(float), numpy.load(stored).astype(float))
            ours = (scores / numpy.linalg.norm(clean.astype(float), axis=2)).argmax(axis=1)
            others = (ours != theirs[defense]).sum()
            print(f"{defense}: {(ours == answers).mean():.4f}, embosk {(theirs[defense] == answers).mean():.4f}, "
                  f"{others} of {len(lines)} texts differ")
            differ += others
    sys.exit(1 if differ else 0)


def guessed(lines, defense):
    """What embosk guessed under a defense, for each text."""
    rows = [[guess["guess"] for guess in line["guesses"]
             if guess["adversary"] == "naive" and shape(guess["defense"]) == shape(defense)] for line in lines]
    if not rows or any(len(row) != 1 for row in rows):
        known = sorted({guess["defense"] for line in lines for guess in line["guesses"]})
        sys.exit(f"{defense}: the file has no guesses of `naive` under it, or several; it has {', '.join(known)}")
    return numpy.array([row[0] for row in rows])


def shape(spec):
    """A spec without white space, and without the keys and files, which a report names by fingerprints."""
    return re.sub(r"=(env|file|fingerprint|fit):(\"[^\"]*\"|[^,)]*)", "=", re.sub(r"\s", "", spec))


if __name__ == "__main__":
    main()

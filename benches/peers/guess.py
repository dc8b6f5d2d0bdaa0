"""Computes anew, with numpy alone, what `embosk evaluate --guesses FILE` guessed, and compares text by text.

    embosk embed --embedder E --input texts.txt --output sample.npy
    embosk fit projection --from sample.npy --dims 16 --output FIT
    embosk evaluate --embedder E --attack none --corpus texts.txt --adversary naive --adversary "informed(1000)" \\
        --guesses guesses.jsonl --defense none --defense "quantization(bits=8)" \\
        --defense "projection(fit=file:FIT, dims=16) | gaussian(sigma=0.1, key=file:key)"
    python3 benches/peers/guess.py --embosk target/release/embosk --embedder E --sample sample.npy guesses.jsonl \\
        none "quantization(bits=8)" "projection(fit=file:FIT, dims=16) | gaussian(sigma=0.1, key=file:key)"

Taken from embosk: clean vectors, and what coarse.py says. Computed: components, projections, rounding, and guesses. The
adversary is naive, and takes the candidate with the highest cosine. Behind a projection it is `informed`, and takes the
candidate whose projection is nearest. Vectors have norm 1. Defenses are found in the file by their specs, in any order.
Exits with 1 if any text differs.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy

from coarse import Coarse


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--embosk", default="embosk")
    parser.add_argument("--embedder", required=True)
    parser.add_argument("--sample", type=Path, help="the vectors that the projections were fitted on")
    parser.add_argument("guesses", type=Path)
    parser.add_argument("defenses", nargs="+")
    options = parser.parse_args()
    if options.sample is None and any("projection" in defense for defense in options.defenses):
        parser.error("a projection needs the vectors that it was fitted on: --sample")
    lines = [json.loads(line) for line in options.guesses.read_text().splitlines()]
    theirs = {defense: guessed(lines, defense) for defense in options.defenses}
    texts = [line["before"] + fact + line["after"] for line in lines for fact in line["candidates"]]
    answers = numpy.array([line["answer"] for line in lines])
    differ = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "texts.txt").write_text("".join(text + "\n" for text in texts))
        words = ["embed", "--embedder", options.embedder, "--input", folder / "texts.txt", "--output", folder / "clean.npy"]
        subprocess.run([options.embosk, *words], check=True)
        clean = numpy.load(folder / "clean.npy")
        true = clean.reshape(len(lines), -1, clean.shape[1])[numpy.arange(len(lines)), answers]
        coarse = Coarse(options.embosk, folder, numpy.load(options.sample) if options.sample else clean)
        for defense in options.defenses:
            stored, known = coarse.of(defense, "document", true), clean.astype(float)
            if is_reduced := defense.startswith("projection"):
                known = coarse.of(defense.split("|")[0], "document", clean)
            known = known.reshape(len(lines), -1, stored.shape[1])
            if is_reduced:
                scores = -numpy.linalg.norm(known - stored[:, None], axis=2)
            else:
                scores = numpy.einsum("tcd,td->tc", known, stored) / numpy.linalg.norm(known, axis=2)
            ours = scores.argmax(axis=1)
            others = (ours != theirs[defense]).sum()
            print(f"{defense}: {(ours == answers).mean():.4f}, embosk {(theirs[defense] == answers).mean():.4f}, "
                  f"{others} of {len(lines)} texts differ")
            differ += others
    sys.exit(1 if differ else 0)


def guessed(lines, defense):
    """What embosk guessed under a defense, for each text."""
    adversary = "informed(" if defense.startswith("projection") else "naive"
    rows = [[guess["guess"] for guess in line["guesses"]
             if guess["adversary"].startswith(adversary) and shape(guess["defense"]) == shape(defense)] for line in lines]
    if not rows or any(len(row) != 1 for row in rows):
        known = sorted({guess["defense"] for line in lines for guess in line["guesses"]})
        sys.exit(f"{defense}: the file has no guesses of `{adversary.rstrip('(')}` under it, or several; it has "
                 f"{', '.join(known)}")
    return numpy.array([row[0] for row in rows])


def shape(spec):
    """A spec without white space, and without the keys and files, which a report names by fingerprints."""
    return re.sub(r"=(env|file|fingerprint|fit):(\"[^\"]*\"|[^,)]*)", "=", re.sub(r"\s", "", spec))


if __name__ == "__main__":
    main()

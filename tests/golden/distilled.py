"""Has our own training write a small embedder to tests/data/distilled/ (tests/suite/distilled.rs), and writes to expected.json
beside it what Python's sentence-transformers makes of TEXTS with that folder.

Run by hand, in the environment of tests/golden/sentence_transformer.py (-P, as statistics.py here is not that of Python):

    /tmp/venv-st/bin/python -P tests/golden/distilled.py

With --check DIR it compares instead: a folder of `embosk train embedder` against the vectors of TEXTS that `embosk embed`
gives of them, for models too large to be stored here.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "tests" / "data" / "distilled"
CARGO = ["cargo", "test", "--release", "--workspace", "--features", "cli", "--test", "distilled", "--", "--ignored"]
TEXTS = [
    "Zoë pays the rent in May.",
    "ZOE PAYS THE RENT IN MAY.",
    "the café, naïve and Größe",
    "",
    " ",
    "4.50",
    "don't",
    "東京 pays again",
    "东京",
    "tab\there,\nnew line\u00a0and no-break space",
    "soft\u00adhyphen, zero\u200bwidth and control\u0007",
    "e\u0301 and é, A\u030a and Å, İstanbul, ﬁ",
    "Привет, мир",
    "🙂 pays 🙂",
    "a literal </s> in the midst, and <pad> and [UNK]",
    "ends in </s>",
    "x",
    "supercalifragilisticexpialidocious" * 4,
    "pays the rent " * 8,
    "pays the rent " * 40 + "and what is cut",
    "!?.,;:-(){}[]",
    "In May Zoë pays the rent again, and again, and again, and in June she does not.",
]


def write():
    subprocess.run(CARGO, cwd=ROOT, check=True)
    model = SentenceTransformer(str(OUTPUT), device="cpu")
    lines = [
        json.dumps({"text": text, "embedding": [float(f"{x:.7g}") for x in embedding]}, separators=(",", ":"))
        for text, embedding in zip(TEXTS, model.encode(TEXTS, batch_size=1))
    ]
    (OUTPUT / "expected.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="ascii")


def check(folder):
    texts = [" ".join(text.split()) for text in TEXTS]
    with tempfile.TemporaryDirectory() as place:
        given, made = Path(place) / "texts.txt", Path(place) / "vectors.npy"
        given.write_text("\n".join(texts) + "\n", encoding="utf-8")
        embosk = ROOT / "target" / "release" / "embosk"
        line = [embosk, "embed", "--embedder", folder, "--input", given, "--output", made]
        subprocess.run(line, check=True)
        ours = np.load(made)
    theirs = SentenceTransformer(folder, device="cpu").encode(texts, batch_size=4)
    cosines = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    print(f"{len(texts)} texts: least cosine {cosines.min():.7f}, furthest {np.abs(ours - theirs).max():.2e}")


if __name__ == "__main__":
    check(sys.argv[2]) if sys.argv[1:2] == ["--check"] else write()

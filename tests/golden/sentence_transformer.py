"""Writes tests/data/sentence-transformer.json: what Python's sentence-transformers makes of TEXTS with all-MiniLM-L6-v2,
and tests/data/reference-embedder.json: what it makes of some with the reference embedder.

Run by hand, where the texts change; the tests read the file alone. Python 3.11, x86-64 CPU, float32:

    python3 -m venv /tmp/venv-st
    /tmp/venv-st/bin/pip install torch==2.8.0 sentence-transformers==5.1.2 \
        transformers==4.57.1 tokenizers==0.22.2 numpy==2.4.6
    /tmp/venv-st/bin/python tests/golden/sentence_transformer.py

The reference's are of torch 2.15.0, sentence-transformers 6.2.0 and transformers 5.24.0, which give the others within 2e-7.
"""

import json
import subprocess
from pathlib import Path

from sentence_transformers import SentenceTransformer

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"

STORY = (
    "On the third of March the harbour master, Mrs Okafor, walked down to the quay and counted the boats "
    "that had come home in the storm; seven were missing, and nobody could say where the eighth had been. "
)

TEXTS = [
    # Ordinary sentences
    "The quick brown fox jumps over the lazy dog.",
    "Patients with chronic kidney disease should avoid ibuprofen.",
    "How do I reset the password of my bank account?",
    "Dr. Maria Hernandez met John Smith in Berlin on 12 May 2021 to sign the contract.",
    "Interest rates rose again, and the stock market fell by two percent.",
    "the quick brown fox jumps over the lazy dog",
    # Short
    "hello",
    "Hi!",
    "a",
    ".",
    "antidisestablishmentarianism",
    # Nothing: [CLS] [SEP]
    "",
    " \t\r\n \u00a0\u3000",
    # Case, accents and combining marks, which the normalizer lowers and strips
    "HeLLo WoRLD, iPhone and NASA",
    "Crème brûlée à la façon de l'Élysée, où Zoë naïvement dîna",
    "Cafe\u0301 nai\u0308ve A\u030angstro\u0308m Z\u0351\u036ba\u0334\u0321l\u0337g\u0336o\u0338",
    "İstanbul'da ışık, ΟΔΥΣΣΕΥΣ, Straße, ﬁnance, ½ × Ⅷ",
    # Digits, punctuation, addresses
    "Invoice #4711-B: 3 x $1,299.99 = $3,899.97 (incl. 19% VAT), due 2024-02-29 at 23:59:59",
    "?!... --- (([{<>}])) ''\"\"`` @#$%^&*_+=|\\/~",
    "https://user@example.com:8080/a/b_c?q=caf%C3%A9&x[]=1#top mailto:jane.doe+spam@mail.example.org",
    # Other scripts
    "机器学习模型可以从嵌入向量中恢复原文。",
    "東京タワーは高さ333メートルです。한국어 문장도 있습니다.",
    "مرحبا بالعالم، كيف حالك اليوم؟ كِتَابٌ",
    "नमस्ते दुनिया, आप कैसे हैं?",
    "Привет, мир! Ёлка и Йод. Ελληνικά: καλημέρα",
    # Unknown pieces: no such characters in the vocabulary, and a word of more than 100 characters
    "😀 🚀👩‍👩‍👧 I love pizza 🍕!!! 🇩🇪",
    "𒀀𒀁 𓀀𓀁 ꙮ ⸘ 𐍈𐌰 🜁 ᚠᛇᚻ ⴰⵣⵓⵍ ߒߞߏ",
    "a word of 101 letters: " + "x" * 101 + " and one of 100: " + "x" * 100,
    # Control characters, new lines and tabs, spaces that are not U+0020, special tokens as text
    "nul\u0000bell\u0007esc\u001b[0m del\u007f zero\u200bwidth soft\u00adhyphen bom\ufeff repl\ufffdaced",
    "\n\tfirst line\r\nsecond\tline\u2028third\u00a0line\u2003with   spaces\u0085end\x1c \n",
    "[CLS] the [MASK] of France is Paris [SEP] [UNK] [PAD] [pad]",
    # At and beyond 256 pieces: 254 words fit exactly; the rest is cut
    " ".join(["river"] * 253 + ["ocean"]),
    " ".join(["river"] * 254 + ["ocean"]),
    STORY * 8,
    "".join(f"{n}/{n * n}-" for n in range(80)),
]


# Those on which word pieces of our own training may differ, in few, as the vectors are stored.
OF_REFERENCE = [0, 3, 6, 11, 14, 16, 17, 21, 25, 28, 31, 33]


def main():
    minilm = subprocess.check_output([ROOT / "scripts" / "fetch-minilm"], text=True).strip()
    write(minilm, TEXTS, DATA / "sentence-transformer.json")
    reference = ROOT / "attacks" / "models" / "reference" / "embedder"
    write(str(reference), [TEXTS[place] for place in OF_REFERENCE], DATA / "reference-embedder.json")


def write(folder, texts, output):
    model = SentenceTransformer(folder, device="cpu")
    # One text at a time: the padding of a batch changes the last bits.
    embeddings = model.encode(texts, batch_size=1)
    lines = [
        json.dumps({"text": text, "embedding": [float(f"{x:.7g}") for x in embedding]}, separators=(",", ":"))
        for text, embedding in zip(texts, embeddings)
    ]
    output.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="ascii")


if __name__ == "__main__":
    main()

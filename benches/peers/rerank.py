"""Checks sealed re-ranking with other people's code: opens each sealed row with libsodium, orders the candidates with
numpy, scores them with pytrec_eval, and compares the mean nDCG@10 with that of `embosk evaluate`, to 1e-3.

    python3 benches/peers/rerank.py --embosk target/release/embosk --embedder E --corpus BEIR-FOLDER \\
        "gaussian(sigma=0.1, key=file:KEY) | rerank(candidates=20, key=file:KEY)" \\
        "projection(fit=file:FIT, dims=16) | rerank(candidates=100, key=file:KEY, precision=f16)"

Python 3.11, numpy 2.4, PyNaCl 1.6, pytrec-eval-terrier 0.5. Fresh noise differs each time, so the defenses are those
that draw nothing; noise with a key is the same whoever computes it. Few bits give many equal scores, whose order
rounding decides. `--key` names the file of the key that the defenses name.
"""

import argparse
import csv
import hashlib
import hmac
import json
import struct
import subprocess
import tempfile
from pathlib import Path

import nacl.exceptions
import numpy
import pytrec_eval
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt as decrypt

parser = argparse.ArgumentParser()
parser.add_argument("--embosk", default="embosk")
parser.add_argument("--embedder", required=True)
parser.add_argument("--corpus", type=Path, required=True)
parser.add_argument("--key", type=Path, required=True)
parser.add_argument("defenses", nargs="+")
options = parser.parse_args()


def lines(name: str) -> list:
    return [json.loads(line) for line in (options.corpus / name).read_text().splitlines() if line.strip()]


def derive(key: bytes, label: str) -> bytes:
    pseudorandom = hmac.digest(bytes(32), key, "sha256")
    return hmac.digest(pseudorandom, label.encode() + struct.pack(">Q", 0) + b"\x01", "sha256")


def opened(row: bytes, space: str, name: str, secret: bytes) -> numpy.ndarray:
    """A sealed row by SPEC.md: its header is 21 bytes, its nonce 24."""
    head, nonce = row[:21], row[21:45]
    data = b"embosk sealed v1" + head + struct.pack("<Q", len(space)) + space.encode() + struct.pack("<Q", 0)
    plain = decrypt(row[45:], data + name.encode(), nonce, secret)
    kind = head[4]
    if kind == 1:
        return numpy.frombuffer(plain, numpy.int8, offset=4) * (struct.unpack_from("<f", plain)[0] / 127)
    return numpy.frombuffer(plain, {2: "<f2", 3: "<f4"}[kind]).astype(float)


def space_of(head: bytes, defense: str, key: bytes) -> str:
    """The space whose hash the header has: of these defenses, with the digits of their keys and fits."""
    digits = derive(key, "embosk fingerprint v1")[:4].hex()
    candidates = ["none", f"rotation(key={digits}, kind=haar)"]
    for fit in fits(defense):
        dims = defense.split("dims=")[1].split(")")[0].split(",")[0].strip()
        candidates.append(f"projection(fit={fit}, dims={dims})")
    for candidate in candidates:
        space = "embosk2 " + candidate
        if hashlib.sha256(space.encode()).digest()[:8] == head[9:17]:
            return space
    raise SystemExit(f"{defense}: the space is none of {candidates}")


def fits(defense: str) -> list:
    """The digits of a projection's fit: SHA-256 of its numbers, without the header's line and shape."""
    if "fit=file:" not in defense:
        return []
    content = Path(defense.split("fit=file:")[1].split(",")[0].split(")")[0].strip('"')).read_bytes()[:-8]
    numbers = content[content.index(b"\n") + 1 :]
    return [hashlib.sha256(numbers[skip:]).digest()[:4].hex() for skip in (0, 4, 8, 12, 16)]


def unit(vectors: numpy.ndarray) -> numpy.ndarray:
    lengths = numpy.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / numpy.where(lengths > 0, lengths, 1)


def best(scores: numpy.ndarray, names: list, count: int) -> list:
    """The highest scores; where they are equal, by descending id, as trec_eval orders them."""
    return sorted(range(len(names)), key=lambda at: (scores[at], names[at].encode()), reverse=True)[:count]


documents, queries = lines("corpus.jsonl"), lines("queries.jsonl")
ids = [document["_id"] for document in documents]
text = lambda it: (it["title"] + " " + it["text"] if it.get("title") else it["text"])
judged: dict = {}
with open(options.corpus / "qrels" / "test.tsv") as file:
    for query, document, grade in list(csv.reader(file, delimiter="\t"))[1:]:
        judged.setdefault(query, {})[document] = int(grade)
key = bytes.fromhex(options.key.read_text().strip().split("-")[1])

with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    run = lambda *words: subprocess.run([options.embosk, *map(str, words)], check=True, capture_output=True, text=True)
    clean = {}
    for role, texts in (("document", map(text, documents)), ("query", (query["text"] for query in queries))):
        flat = "".join(" ".join(it.split()) + "\n" for it in texts)
        (folder / f"{role}.txt").write_text(flat)
        run("embed", "--embedder", options.embedder, "--input", folder / f"{role}.txt", "--output", folder / f"{role}.npy")
        clean[role] = numpy.load(folder / f"{role}.npy")
    (folder / "ids.txt").write_text("".join(it + "\n" for it in ids))
    for defense in options.defenses:
        sealing = ["--ids", folder / "ids.txt", "--sealed", folder / "sealed.npy"]
        run("protect", "--defense", defense, "--role", "document", *sealing, folder / "document.npy", folder / "by-id.npy")
        # an evaluation knows no ids, by which keyed noise would differ
        protect = ["protect", "--defense", defense.rsplit("|", 1)[0].strip(), "--role"]
        run(*protect, "document", folder / "document.npy", folder / "coarse.npy")
        run(*protect, "query", folder / "query.npy", folder / "asked.npy")
        coarse, asked = unit(numpy.load(folder / "coarse.npy")), unit(numpy.load(folder / "asked.npy"))
        sealed = [row.tobytes() for row in numpy.load(folder / "sealed.npy")]
        space, secret = space_of(sealed[0][:21], defense, key), derive(key, "embosk sealed v1")
        exact = unit(numpy.stack([opened(row, space, of, secret) for row, of in zip(sealed, ids)]))
        lost = numpy.abs(exact - unit(clean["document"])).max()
        try:
            opened(sealed[0], space, ids[1], secret)
            raise SystemExit(f"{defense}: a row opens for another id")
        except nacl.exceptions.CryptoError:
            pass
        candidates = int(defense.split("candidates=")[1].split(",")[0].split(")")[0])
        found = {}
        for query, probe, question in zip(queries, asked, unit(clean["query"])):
            first = best(coarse @ probe, ids, candidates)
            found[query["_id"]] = {ids[at]: float(exact[at] @ question) for at in first}
        scores = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut.10"}).evaluate(found)
        theirs = numpy.mean([scores[query]["ndcg_cut_10"] for query in judged if query in scores])
        report = json.loads(
            run("evaluate", "--embedder", options.embedder, "--corpus", options.corpus, "--attack", "none", "--defense",
                defense, "--format", "json").stdout
        )
        ours = report["rows"][0]["ndcg_at_10"]["value"]
        print(f"{defense}: nDCG@10 {theirs:.4f} there, {ours:.4f} here; {len(sealed)} rows opened, numbers off by {lost:.5f}")
        if abs(theirs - ours) > 1e-3:
            raise SystemExit("they differ by more than 1e-3")

"""Checks sealed re-ranking with other people's code: opens each sealed row with libsodium (sealed.py), makes coarse vectors with
numpy (coarse.py), orders the candidates, scores them with pytrec_eval, and compares the mean nDCG@10 with that of
`embosk evaluate`, to 1e-3.

    embosk fit projection --embedder E --corpus BEIR-FOLDER --dims 16 --output FIT
    python3 benches/peers/rerank.py --embosk target/release/embosk --embedder E --corpus BEIR-FOLDER --key KEY \\
        "gaussian(sigma=0.1, key=file:KEY) | rerank(candidates=20, key=file:KEY)" \\
        "projection(fit=file:FIT, dims=16) | gaussian(sigma=0.1, key=file:KEY) | rerank(candidates=100, key=file:KEY)"

Taken from embosk: clean vectors, sealed rows, the fingerprint that these are bound to, and what coarse.py says. Computed:
components, projections, the rows' key, what they hold, candidates, their order, and scores. A projection must have been
fitted on the collection's own documents. `--key` names the file of the key in the defenses. Few bits give many equal
scores, whose order rounding decides. Python 3.11, numpy 2.4, PyNaCl 1.6, pytrec-eval-terrier 0.5.
"""

import argparse
import csv
import json
import subprocess
import tempfile
from pathlib import Path

import nacl.exceptions
import numpy
import pytrec_eval

from coarse import Coarse, setting
from sealed import derive, opened, space


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--embosk", default="embosk")
    parser.add_argument("--embedder", required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("defenses", nargs="+")
    options = parser.parse_args()
    lines = lambda name: [json.loads(line) for line in (options.corpus / name).read_text().splitlines() if line.strip()]
    texts = {"document": lines("corpus.jsonl"), "query": lines("queries.jsonl")}
    ids = [document["_id"] for document in texts["document"]]
    judged: dict = {}
    with open(options.corpus / "qrels" / "test.tsv") as file:
        for query, document, grade in list(csv.reader(file, delimiter="\t"))[1:]:
            judged.setdefault(query, {})[document] = int(grade)
    secret = derive(bytes.fromhex(options.key.read_text().strip().split("-")[1]), "embosk sealed v1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = lambda *words: subprocess.run([options.embosk, *map(str, words)], check=True, capture_output=True, text=True)
        clean = {role: embedded(run, options.embedder, folder / role, of_role) for role, of_role in texts.items()}
        exact_queries = unit(clean["query"])
        coarse = Coarse(options.embosk, folder, clean["document"])
        (folder / "ids.txt").write_text("".join(it + "\n" for it in ids))
        for defense in options.defenses:
            sealing = ["--ids", folder / "ids.txt", "--sealed", folder / "sealed.npy", "--role", "document"]
            said = run("protect", "--defense", defense, *sealing, folder / "document.npy", folder / "by-id.npy").stderr
            sealed = [row.tobytes() for row in numpy.load(folder / "sealed.npy")]
            exact = unit(numpy.stack([opened(row, space(said), of, secret) for row, of in zip(sealed, ids)]))
            try:
                opened(sealed[0], space(said), ids[1], secret)
                raise SystemExit(f"{defense}: a row opens for another id")
            except nacl.exceptions.CryptoError:
                pass
            # an evaluation knows no ids, by which keyed noise would differ, and neither does this
            stored, asked = (unit(coarse.of(defense, role, clean[role])) for role in ("document", "query"))
            found = {}
            for query, probe, question in zip(texts["query"], asked, exact_queries):
                first = best(stored @ probe, ids, int(setting(defense, "candidates")))
                found[query["_id"]] = {ids[at]: float(exact[at] @ question) for at in first}
            scores = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut.10"}).evaluate(found)
            theirs = numpy.mean([scores[query]["ndcg_cut_10"] for query in judged if query in scores])
            evaluate = ["evaluate", "--embedder", options.embedder, "--corpus", options.corpus, "--attack", "none"]
            report = json.loads(run(*evaluate, "--defense", defense, "--format", "json").stdout)
            ours = report["rows"][0]["ndcg_at_10"]["value"]
            lost = numpy.abs(exact - unit(clean["document"])).max()
            print(f"{defense}: nDCG@10 {theirs:.4f} there, {ours:.4f} here; {len(ids)} rows opened, off by {lost:.5f}")
            if abs(theirs - ours) > 1e-3:
                raise SystemExit("they differ by more than 1e-3")


def embedded(run, embedder: str, path: Path, texts: list) -> numpy.ndarray:
    whole = [it["title"] + " " + it["text"] if it.get("title") else it["text"] for it in texts]
    Path(f"{path}.txt").write_text("".join(" ".join(text.split()) + "\n" for text in whole))
    run("embed", "--embedder", embedder, "--role", path.name, "--input", f"{path}.txt", "--output", f"{path}.npy")
    return numpy.load(f"{path}.npy")


def unit(vectors: numpy.ndarray) -> numpy.ndarray:
    lengths = numpy.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / numpy.where(lengths > 0, lengths, 1)


def best(scores: numpy.ndarray, names: list, count: int) -> list:
    """The highest scores; where they are equal, by descending id, as trec_eval orders them."""
    return sorted(range(len(names)), key=lambda at: (scores[at], names[at].encode()), reverse=True)[:count]


if __name__ == "__main__":
    main()

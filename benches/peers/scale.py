"""How many candidates sealed re-ranking must open as a collection grows: pads a collection with distractors, finds for
each size the least K that keeps 95 % of the undefended nDCG@10, fits the law K = c · N^a, and compares it with theory.

    python3 benches/peers/scale.py --corpus BEIR-FOLDER --documents D.npy --queries Q.npy --distractors X.npy \\
        --sizes 1000 10000 100000 1000000 --setting 16:0.05 --setting 16:0.1 --setting 384:0.1

The vectors are of `embosk embed`, one line per document, query or distractor, in the collection's order. A setting is
COMPONENTS:SIGMA; with `:documents`, the noise is on documents alone. Components are fitted on half of the documents.
Where the collection is larger than a size, all judged documents are kept, and some of the others. A K above `--most` is
not looked for: `candidates` is then null, and `more_than` says so. Such sizes are left out of the law.

Beside the measured K stands a predicted one. It takes the distractors' noisy scores against a query to be normal, with the
mean and deviation of 2,000 of them; a document with the noisy score s then has N · P(score > s) distractors before it. A
document that is far out needs a K in proportion to N, so a tends to 1. `beyond` states K for 10⁷ to 10⁹ documents, by law and
by theory, and the sealed bytes of that many candidates (int8).

Python 3.11, numpy 2.4. Everything is exact search.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--corpus", type=Path, required=True)
parser.add_argument("--documents", type=Path, required=True)
parser.add_argument("--queries", type=Path, required=True)
parser.add_argument("--distractors", type=Path, required=True)
parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
parser.add_argument("--setting", action="append", required=True)
parser.add_argument("--keep", type=float, default=0.95)
parser.add_argument("--draws", type=int, default=3)
parser.add_argument("--most", type=int, default=20_000, help="candidates at most")
parser.add_argument("--asked", type=int, default=300, help="queries at most")
parser.add_argument("--output", type=Path)
options = parser.parse_args()

# candidates that are tried, some 20 a decade
GRID = sorted({round(10 ** (step / 20)) for step in range(20, 121)})
BLOCK = 50_000
BEYOND = (10**7, 10**8, 10**9)
# of a sealed row of int8, besides a byte for each dimension
ROW = 65


def lines(name):
    return [json.loads(line) for line in (options.corpus / name).read_text().splitlines() if line.strip()]


def judgements():
    files = sorted((options.corpus / "qrels").glob("test.tsv"))
    judged = {}
    for line in files[0].read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        if int(grade) > 0:
            judged.setdefault(query, {})[document] = int(grade)
    return judged


def unit(vectors):
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms > 0, norms, 1)


def ideal(grades):
    best = sorted(grades.values(), reverse=True)[:10]
    return sum(grade / np.log2(place + 2) for place, grade in enumerate(best))


class Collection:
    """A collection with its judged documents first, then its others, then the distractors."""

    def __init__(self):
        names = [str(document["_id"]) for document in lines("corpus.jsonl")]
        queries = [str(query["_id"]) for query in lines("queries.jsonl")]
        judged = judgements()
        documents, asked = np.load(options.documents), np.load(options.queries)
        assert len(documents) == len(names) and len(asked) == len(queries), "vectors and texts differ in number"
        present = set(names)
        kept = [row for row, query in enumerate(queries) if judged.get(query, {}).keys() & present][: options.asked]
        wanted = {document for row in kept for document in judged[queries[row]]}
        order = sorted(range(len(names)), key=lambda row: names[row] not in wanted)
        self.judged = sum(name in wanted for name in names)
        place = {names[row]: at for at, row in enumerate(order)}
        self.documents = unit(documents[order]).astype(np.float32)
        self.queries = unit(asked[kept]).astype(np.float32)
        self.grades = [
            {place[name]: grade for name, grade in judged[queries[row]].items() if name in place} for row in kept
        ]
        self.ideals = [ideal(judged[queries[row]]) for row in kept]
        self.distractors = np.load(options.distractors, mmap_mode="r")

    def of(self, size):
        """As many vectors, documents before distractors."""
        own = self.documents[: max(size, self.judged)]
        return own, self.distractors[: max(0, size - len(own))]


def ndcg(grades, ideal, found):
    return sum(grades.get(int(row), 0) / np.log2(place + 2) for place, row in enumerate(found[:10])) / ideal


def coarse(vectors, setting, components, rng, noisy):
    dims, sigma = setting
    mean, basis = components
    small = vectors if dims >= vectors.shape[1] else (vectors - mean) @ basis[:, :dims]
    if noisy:
        small = small + rng.standard_normal(small.shape, dtype=np.float32) * sigma
    return unit(small)


def components(documents):
    half = documents[:: 2]
    mean = half.mean(0)
    _, _, basis = np.linalg.svd(half - mean, full_matrices=False)
    return mean, np.ascontiguousarray(basis.T)


def best(queries, parts, most, transform):
    """The rows of the `most` highest inner products of each query, highest first, and these."""
    scores = rows = None
    start = 0
    for part in parts:
        for at in range(0, len(part), BLOCK):
            block = transform(unit(np.asarray(part[at : at + BLOCK], dtype=np.float32)))
            more = queries @ block.T
            ids = np.broadcast_to(np.arange(start, start + len(block), dtype=np.int32), more.shape)
            scores = more if scores is None else np.concatenate([scores, more], 1)
            rows = ids if rows is None else np.concatenate([rows, ids], 1)
            start += len(block)
            if scores.shape[1] > most:
                keep = np.argpartition(-scores, most - 1, 1)[:, :most]
                scores, rows = np.take_along_axis(scores, keep, 1), np.take_along_axis(rows, keep, 1)
    order = np.argsort(-scores, 1)
    return np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1)


def exact(collection, parts, row, candidates):
    own, more = parts
    vectors = np.empty((len(candidates), own.shape[1]), np.float32)
    is_own = candidates < len(own)
    vectors[is_own] = own[candidates[is_own]]
    rest = candidates[~is_own] - len(own)
    order = np.argsort(rest)
    vectors[np.flatnonzero(~is_own)[order]] = more[rest[order]]
    return unit(vectors) @ collection.queries[row]


def measure(collection, size, setting, documents_only, fitted):
    parts = collection.of(size)
    total = sum(map(len, parts))
    found, _ = best(collection.queries, parts, min(10, total), lambda block: block)
    clean = np.mean([ndcg(*pair, rows) for pair, rows in zip(zip(collection.grades, collection.ideals), found)])
    most = min(total, options.most)
    grid = [count for count in GRID if count < most] + [most]
    kept = np.zeros(len(grid))
    for draw in range(options.draws):
        rng = np.random.default_rng([draw, size])
        queries = coarse(collection.queries, setting, fitted, rng, not documents_only)
        candidates, _ = best(queries, parts, most, lambda block: coarse(block, setting, fitted, rng, True))
        for row, rows in enumerate(candidates):
            scores = exact(collection, parts, row, rows)
            for at, count in enumerate(grid):
                top = np.argsort(-scores[:count], kind="stable")[:10]
                kept[at] += ndcg(collection.grades[row], collection.ideals[row], rows[top])
    kept /= options.draws * len(collection.queries) * clean
    enough = [count for count, share in zip(grid, kept) if share >= options.keep]
    return {
        "documents": total,
        "clean": float(clean),
        "kept": {count: round(float(share), 4) for count, share in zip(grid, kept) if count in (100, 200, 398, 1000)},
        "candidates": enough[0] if enough else None,
        "more_than": None if enough else most,
        "predicted": predicted(collection, total, setting, documents_only, fitted, found),
    }, found


def predicted(collection, size, setting, documents_only, fitted, found):
    """The least K by which the documents that count have come, if the distractors' scores are normal. `found` are the
    undefended ten best."""
    own, _ = collection.of(size)
    rng = np.random.default_rng(0)
    queries = coarse(collection.queries, setting, fitted, rng, not documents_only)
    scores = queries @ coarse(own, setting, fitted, rng, True).T
    sample = unit(np.asarray(collection.distractors[:2_000], dtype=np.float32))
    others = queries @ coarse(sample, setting, fitted, rng, True).T
    means, deviations = others.mean(1), others.std(1)
    needed = []
    for row, rows in enumerate(found):
        for place, document in enumerate(rows):
            if grade := collection.grades[row].get(int(document)):
                score = scores[row, document]
                beyond = math.erfc((score - means[row]) / deviations[row] / math.sqrt(2)) / 2
                rank = 1 + (scores[row] > score).sum() + max(0, size - len(own)) * beyond
                needed.append((rank, grade / np.log2(place + 2) / collection.ideals[row]))
    ranks, gains = np.array(sorted(needed)).T
    return round(float(ranks[np.searchsorted(gains.cumsum(), options.keep * gains.sum())]))


def law(points, name):
    """c and a of K = c · N^a by least squares of the logarithms, and the largest factor by which a point is off."""
    sizes, counts = (np.log([point[key] for point in points]) for key in ("documents", name))
    slope, start = np.polyfit(sizes, counts, 1)
    off = np.abs(counts - start - slope * sizes).max()
    return {"c": float(np.exp(start)), "a": float(slope), "off_by": float(np.exp(off))}


def beyond(size, fit, theory, dims):
    """K for a size that was not measured, by law and by theory, and the megabytes that a query then opens."""
    counts = {"by_law": round(fit["c"] * size ** fit["a"]) if fit else None, "by_theory": theory}
    return {name: {"candidates": count, "megabytes": round(count * (ROW + dims) / 1e6, 2)}
            for name, count in counts.items() if count}


def main():
    collection = Collection()
    fitted = components(collection.documents)
    results = []
    for text in options.setting:
        dims, sigma, *on = text.split(":")
        setting, documents_only = (int(dims), float(sigma)), on == ["documents"]
        points = []
        for size in options.sizes:
            point, found = measure(collection, size, setting, documents_only, fitted)
            points.append(point)
            print(json.dumps({"setting": text, **point}), flush=True)
        measured = [point for point in points if point["candidates"]]
        fit = law(measured, "candidates") if len(measured) > 1 else None
        theory = {size: predicted(collection, size, setting, documents_only, fitted, found) for size in BEYOND}
        summary = {
            "law": fit,
            "theory": law(points, "predicted") if len(points) > 1 else None,
            "measured_by_predicted": [round(point["candidates"] / point["predicted"], 2) for point in measured],
            "beyond": {size: beyond(size, fit, theory[size], collection.queries.shape[1]) for size in BEYOND},
        }
        print(json.dumps({"setting": text, **summary}), flush=True)
        results.append({"setting": text, "points": points, **summary})
    if options.output:
        options.output.write_text(json.dumps(results, indent=1) + "\n")


main()

"""What scripts/differential runs; see there. Each check is a function that returns how many results were compared, and
fails with the first input on which the tools differ."""

import argparse
import json
import logging
import os
import random
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytrec_eval
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF
from scipy.stats import binomtest

EMBOSK = os.environ["EMBOSK"]
WORDS = """the a of to and in is was Ann Müller O'Brien paid $1,234.56 12.03.1984 3.5% U.S.A. don't e-mail re-sent twice,
twice. (perhaps) "never" café naïve Straße 東京 привет 👍🏽 -- ... AT&T x=1 #7 10:30 a.m. no. 7 &amp; <tag> _under_ end.
state-of-the-art 1,000 .5 ½ Ⅷ ’quoted’ – —""".split()


def embosk(folder, *arguments):
    done = subprocess.run([EMBOSK, "--quiet", *map(str, arguments)], cwd=folder, capture_output=True, text=True)
    assert done.returncode in (0, 3), done.stderr
    return done.stdout


def differ(what, ours, theirs, tolerance):
    return abs(ours - theirs) > tolerance and f"{what}: {ours} is not {theirs}"


def pair(rng):
    truth = rng.choices(WORDS, k=rng.randint(1, 24))
    output = list(truth) if rng.random() < 0.7 else rng.choices(WORDS, k=rng.randint(0, 24))
    for _ in range(rng.randint(0, 6)):
        if output:
            at = rng.randrange(len(output))
            output[at : at + rng.randint(0, 2)] = rng.choices(WORDS, k=rng.randint(0, 2))
    text = " ".join(output)
    return " ".join(truth), text.upper() if rng.random() < 0.05 else text


def metrics(count, rng, folder):
    """The scores of each pair by itself."""
    bleu, chrf, rouge = BLEU(effective_order=False), CHRF(word_order=2), RougeScorer(["rouge1", "rougeL"], use_stemmer=False)

    def theirs(truth, output):
        scores = rouge.score(truth, output)
        return {
            "bleu": bleu.sentence_score(output, [truth]).score,
            "chrf": chrf.sentence_score(output, [truth]).score,
            "rouge_1": scores["rouge1"].fmeasure,
            "rouge_l": scores["rougeL"].fmeasure,
            "exact_match": float(truth == output),
        }

    for _ in range(count):
        truth, output = pair(rng)
        (folder / "pairs.jsonl").write_text(json.dumps({"input": truth, "output": output}) + "\n")
        ours = json.loads(embosk(folder, "score", "--input", "pairs.jsonl", "--format", "json"))
        for name, peer in theirs(truth, output).items():
            wrong = differ(name, ours[name]["value"], peer, 1e-6)
            assert not wrong, f"{wrong} for {truth!r} and {output!r}"
    return count


def retrieval(count, rng, folder):
    """Collections of 200 documents and 200 queries: each query's ranking as numpy has it, and the scores as pytrec_eval,
    in the mean of each collection and for one query of it alone."""
    size, done = 200, 0
    while done < count:
        seed = rng.randrange(2**32)
        numbers = np.random.default_rng(seed)
        documents, queries = (numbers.standard_normal((size, 16)).astype("f4") for _ in range(2))
        # equal rows, of which the ties between documents come
        documents[rng.randrange(size)] = documents[rng.randrange(size)]
        judged = [
            {str(at + 1): rng.randint(0, 3) for at in rng.sample(range(size), rng.randint(1, 30))} for _ in range(size)
        ]
        for grades in judged:
            grades[next(iter(grades))] = 1
        alone = rng.randrange(size)
        for chosen in (slice(None), slice(alone, alone + 1)):
            if wrong := ranked_otherwise(folder, documents, queries[chosen], judged[chosen]):
                raise AssertionError(f"{wrong}, of seed {seed}, queries {chosen}")
        done += size
    return done


def ranked_otherwise(folder, documents, queries, judged):
    """What differs between our report of a collection and the other tools', if anything does."""
    for name, rows in (("d", documents), ("q", queries)):
        np.save(folder / f"{name}.npy", rows)
        (folder / f"{name}.txt").write_text("".join(f"text {name} {at}\n" for at in range(len(rows))))
    rows = [f"{q + 1}\t{d}\t{grade}" for q, grades in enumerate(judged) for d, grade in grades.items()]
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(rows) + "\n")
    report = json.loads(
        embosk(
            folder, "evaluate", "--vectors", "d.npy", "--texts", "d.txt", "--query-vectors", "q.npy",
            "--query-texts", "q.txt", "--qrels", "qrels.tsv", "--attack", "none", "--defense", "none",
            "--runs", "runs", "--format", "json",
        )
    )["rows"][0]  # fmt: skip
    unit = lambda rows: rows / np.linalg.norm(rows.astype("f8"), axis=1, keepdims=True)
    scores = unit(queries) @ unit(documents).T

    found = [[] for _ in queries]
    for line in (folder / "runs" / "1-none.run").read_text().splitlines():
        query, _, document, *_ = line.split()
        found[int(query) - 1].append(int(document) - 1)
    for query, ranking in enumerate(found):
        best = np.sort(scores[query])[::-1][: len(ranking)]
        if len(set(ranking)) != 100 or np.abs(scores[query, ranking] - best).max() > 1e-5:
            return f"the ranking of query {query + 1} is not numpy's"

    run = {str(q + 1): {str(d + 1): float(score) for d, score in enumerate(row)} for q, row in enumerate(scores)}
    qrels = {str(q + 1): grades for q, grades in enumerate(judged)}
    peers = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut_10", "recall_10", "recip_rank"}).evaluate(run).values()
    mean = lambda name: sum(peer[name] for peer in peers) / len(peers)
    first = lambda peer: peer["recip_rank"] if peer["recip_rank"] >= 0.1 - 1e-9 else 0.0
    for name, theirs in [
        ("ndcg_at_10", mean("ndcg_cut_10")),
        ("recall_at_10", mean("recall_10")),
        ("mrr_at_10", sum(map(first, peers)) / len(peers)),
    ]:
        if wrong := differ(name, report[name]["value"], theirs, 1e-6):
            return wrong
    return None


def intervals(count, rng, folder):
    """Clopper and Pearson's interval of exact match, which `score` prints."""
    for _ in range(count):
        total = rng.randint(1, 200)
        right = rng.randint(0, total)
        lines = [json.dumps({"input": "a", "output": "a" if at < right else "b"}) for at in range(total)]
        (folder / "pairs.jsonl").write_text("\n".join(lines) + "\n")
        ours = json.loads(embosk(folder, "score", "--input", "pairs.jsonl", "--format", "json"))["exact_match"]
        theirs = binomtest(right, total).proportion_ci(0.95, "exact")
        for end in ("low", "high"):
            wrong = differ(f"{end} of {right} of {total}", ours[end], getattr(theirs, end), 1e-9)
            assert not wrong, wrong
    return count


def codes(count, rng, folder):
    """8 and 1 bits: the codes as numpy rounds them."""
    numbers = np.random.default_rng(rng.randrange(2**32))
    vectors = numbers.standard_normal((count, 48)).astype("f4")
    vectors[:: 97, ::5] = 0
    np.save(folder / "v.npy", vectors)
    call = ["protect", "--role", "document"]
    embosk(folder, *call, "--defense", "quantization(bits=8)", "--codes", "int8", "v.npy", "eight.npy")
    embosk(folder, *call, "--defense", "quantization(bits=1)", "--codes", "binary", "v.npy", "one.npy")
    scales = np.abs(vectors).max(1, keepdims=True) / np.float32(127)
    eight = np.load(folder / "eight.npy").view("i1")[:, :48]
    expected = np.rint(vectors / scales)
    # a quotient that lies on a half in one order of operations may lie beside it in another
    near_half = np.abs(np.abs(vectors / scales % 1) - 0.5) < 1e-4
    assert ((eight == expected) | near_half).all(), "8 bits"
    one = np.load(folder / "one.npy")
    bits = np.unpackbits(one, axis=1, bitorder="little")[:, :48]
    big = np.unpackbits(one, axis=1, bitorder="big")[:, :48]
    sure = np.abs(vectors) > 0
    assert any(((layout == (vectors > 0)) | ~sure).all() for layout in (bits, big)), "1 bit"
    return 2 * count


def projection(count, rng, folder):
    """Components of a sample's embeddings, up to their signs, and what they keep of new vectors."""
    texts = [" ".join(rng.choices(WORDS, k=12)) for _ in range(1500)]
    (folder / "t.txt").write_text("\n".join(texts) + "\n")
    embosk(folder, "embed", "--input", "t.txt", "--output", "s.npy")
    embosk(folder, "fit", "projection", "--corpus", "t.txt", "--dims", 4, "--output", "fit")
    sample = np.load(folder / "s.npy").astype("f8")
    vectors = np.random.default_rng(rng.randrange(2**32)).standard_normal((count, sample.shape[1])).astype("f4")
    np.save(folder / "v.npy", vectors)
    embosk(folder, "protect", "--role", "document", "--defense", "projection(fit=file:fit)", "v.npy", "p.npy")
    mean = sample.mean(0)
    _, _, components = np.linalg.svd(sample - mean, full_matrices=False)
    theirs = (vectors - mean) @ components[:4].T
    ours = np.load(folder / "p.npy")
    signs = np.sign((ours * theirs).sum(0))
    error = np.abs(ours - theirs * signs).max()
    assert error < 1e-3, f"projected vectors differ by {error}"
    return count


CHECKS = [metrics, retrieval, intervals, codes, projection]


def main():
    names = ",".join(check.__name__ for check in CHECKS)
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=names)
    options = parser.parse_args()
    logging.disable()
    for check in CHECKS:
        if check.__name__ in options.only.split(","):
            with tempfile.TemporaryDirectory() as folder:
                compared = check(options.count, random.Random(options.seed), Path(folder))
            print(f"{check.__name__}: {compared} compared, none differs", flush=True)


if __name__ == "__main__":
    main()

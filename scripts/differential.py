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
# pairs that are scored by one call
BLOCK = 100


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
    """Averages of blocks; of one that differs, each pair by itself."""
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

    def compare(pairs):
        lines = [json.dumps({"input": truth, "output": output}) for truth, output in pairs]
        (folder / "pairs.jsonl").write_text("\n".join(lines) + "\n")
        ours = json.loads(embosk(folder, "score", "--input", "pairs.jsonl", "--format", "json"))
        peers = [theirs(*pair) for pair in pairs]
        for name in peers[0]:
            mean = sum(peer[name] for peer in peers) / len(peers)
            if wrong := differ(name, ours[name]["value"], mean, 1e-6):
                return wrong
        return None

    for _ in range(count // BLOCK):
        pairs = [pair(rng) for _ in range(BLOCK)]
        if compare(pairs):
            for one in pairs:
                assert not (wrong := compare([one])), f"{wrong} for {one}"
            raise AssertionError("the average differs, and no pair by itself")
    return count // BLOCK * BLOCK


def retrieval(count, rng, folder):
    """Collections of 200 documents and 200 queries: the ranking as numpy has it, the scores as pytrec_eval."""
    size, done = 200, 0
    while done < count:
        seed = rng.randrange(2**32)
        numbers = np.random.default_rng(seed)
        documents, queries = (numbers.standard_normal((size, 16)).astype("f4") for _ in range(2))
        # equal rows, of which the ties between documents come
        documents[rng.randrange(size)] = documents[rng.randrange(size)]
        np.save(folder / "d.npy", documents)
        np.save(folder / "q.npy", queries)
        for name in "dq":
            (folder / f"{name}.txt").write_text("".join(f"text {name} {at}\n" for at in range(size)))
        judged = {
            str(query + 1): {str(at + 1): rng.randint(0, 3) for at in rng.sample(range(size), rng.randint(1, 30))}
            for query in range(size)
        }
        for grades in judged.values():
            grades[next(iter(grades))] = 1
        rows = [f"{q}\t{d}\t{grade}" for q, grades in judged.items() for d, grade in grades.items()]
        (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(rows) + "\n")
        report = json.loads(
            embosk(
                folder, "evaluate", "--vectors", "d.npy", "--texts", "d.txt", "--query-vectors", "q.npy",
                "--query-texts", "q.txt", "--qrels", "qrels.tsv", "--attack", "none", "--defense", "none",
                "--format", "json",
            )
        )["rows"][0]  # fmt: skip
        unit = lambda rows: rows / np.linalg.norm(rows.astype("f8"), axis=1, keepdims=True)
        scores = unit(queries) @ unit(documents).T
        run = {str(q + 1): {str(d + 1): float(scores[q, d]) for d in range(size)} for q in range(size)}
        wanted = {"ndcg_cut_10", "recall_10", "recip_rank"}
        peers = pytrec_eval.RelevanceEvaluator(judged, wanted).evaluate(run)
        mean = lambda name: sum(peer[name] for peer in peers.values()) / len(peers)
        first = lambda peer: peer["recip_rank"] if peer["recip_rank"] >= 0.1 - 1e-9 else 0.0
        for ours, theirs in [
            (report["ndcg_at_10"]["value"], mean("ndcg_cut_10")),
            (report["recall_at_10"]["value"], mean("recall_10")),
            (report["mrr_at_10"]["value"], sum(map(first, peers.values())) / len(peers)),
        ]:
            assert not (wrong := differ(f"retrieval of seed {seed}", ours, theirs, 1e-6)), wrong
        done += size
    return done


def intervals(count, rng, folder):
    """Clopper and Pearson's interval of exact match, which `score` prints."""
    done = 0
    for _ in range(min(count, 500)):
        total = rng.randint(1, 200)
        right = rng.randint(0, total)
        lines = [json.dumps({"input": "a", "output": "a" if at < right else "b"}) for at in range(total)]
        (folder / "pairs.jsonl").write_text("\n".join(lines) + "\n")
        ours = json.loads(embosk(folder, "score", "--input", "pairs.jsonl", "--format", "json"))["exact_match"]
        theirs = binomtest(right, total).proportion_ci(0.95, "exact")
        for end in ("low", "high"):
            wrong = differ(f"{end} of {right} of {total}", ours[end], getattr(theirs, end), 1e-9)
            assert not wrong, wrong
        done += 1
    return done


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

"""Writes tests/data/text-metrics.jsonl, tests/data/corpus-metrics.json, tests/data/retrieval-metrics.json and
tests/data/dangling-judgements.json from the reference tools.

Run by hand from the repository root; the output is the same on every run:

    python3 -m venv venv
    venv/bin/pip install sacrebleu==2.6.0 rouge-score==0.1.2 pytrec-eval-terrier==0.5.11 scipy==1.17.1
    venv/bin/python -P tests/golden/metrics.py  # -P: statistics.py beside it is not the standard one
"""

import json
import logging
import random
import re
from pathlib import Path

import pytrec_eval
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF
from scipy.stats import beta, binomtest

DATA = Path(__file__).parent.parent / "data"

SENTENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "Ann Müller, born on 12.03.1984, paid $1,234.56 to Acme-Widgets Ltd.",
    "Patient: John O'Brien (age 47), ID 88-1234-A; diagnosed with type-2 diabetes.",
    "Call +1-202-555-0143 or write to j.doe@example.com before 5:30 p.m.!",
    "In 2019-2020 revenue rose 3.5% to €1,200,000 -- a record, he said.",
    "Сегодня в Москве идёт дождь, а завтра будет солнечно.",
    "東京 は 日本 の 首都 です 。",
    "naïve café façade: the résumé was re-sent, twice, twice, twice.",
    "the the the the the the the",
    "She sold 1,000 shares at $.50, i.e. for $500.00, on Jan. 3, 2021.",
    "\"Don't\" & 'can't' aren't words; they're AT&T's [sic] {brackets} ~ `ticks`.",
    "x = a*b + c/d - e^f | g < h > i; k_1 = #7 @ 100%",
    "Straße, İstanbul, ΟΔΟΣ and 20 \u212a are hard to lower-case.",
    "A state-of-the-art 10-year-old 3-1 win... 4.-5. or 6,-7 ,8 .9",
]

EDGES = [
    "", " ", ".", "...", "word", "Word", "two words", "three short words", "now four short words", "a-b", "1-2",
    "1,000", "$1,000.00", ".5", "5.", "5.a", "a.5", "a..b", "..", ",.,.", ". . . .", "don't", "-", "--", "1--2",
    "e.g., this", "U.S.A.", "&quot;quoted&quot; &amp; &lt;tag&gt;", "&amp;lt; twice &amp;quot;", "<skipped>",
    "a <skipped> b c d e", "line-\nbreak in a text", "line\nbreak in a text", "ends with a break\n", "ends-\n",
    "tab\tand\u00a0no-break\u2009thin\u3000wide space", "unit\x1fseparator \x1c file\x1d group\x1e", "\r\n", "é e\u0301",
    "😀 emoji 😀👍🏽", "ﬁne ligature ½ ² Ⅷ", "１２，３４５．６ full width", "٣٫٥ ,٣ .٣", "ABC abc ABC abc", "a b c d a b c d",
    "_under_score_ [x] \\ ^ `", "no punctuation at all here", "\u200bzero\u200bwidth\u200b", "end.", "end .", "end,\"",
]

# What the ends of a text and rare white space do shows only from four tokens on.
WHITESPACE = [
    ("the text which here ends-\n", "the text which here ends-"),
    ("the text which here ends-\n", "the text which here ends"),
    ("the text which ends-\n here", "the text which ends here"),
    ("one two three\x1ffour\x1cfive", "one two three four five"),
    ("one two three four\x1d", "one two three four"),
    ("one two three four -\n\x1e", "one two three four -"),
    ("one\u00a0two\u2003three\u3000four\x85five", "one two three four five"),
    ("one two\u200bthree four five six", "one two three four five six"),
]

ALPHABET = list("aab12 .,,..--'\"$%&()/:;<=>?[]_`{|}~éЖ中😀 \n\t") + ["&lt;", "&amp;", " the ", " of ", "<skipped>"]


def mutate(rng, text):
    words = text.split()
    for _ in range(rng.randint(1, 5)):
        if not words:
            break
        at = rng.randrange(len(words))
        match rng.randrange(6):
            case 0:
                del words[at]
            case 1:
                words.insert(at, words[rng.randrange(len(words))])
            case 2:
                words[at] = words[at].swapcase()
            case 3:
                words[at] = words[at].strip(".,;:!()")
            case 4:
                words[at] += rng.choice([",", ".", "-", "'s", " 7", ".5", "!"])
            case 5:
                rng.shuffle(words)
    return " ".join(words)


def text_pairs(rng):
    texts = SENTENCES + EDGES
    yield from ((text, text) for text in texts)
    yield from WHITESPACE
    yield from ((rng.choice(EDGES), edge) for edge in EDGES for _ in range(2))
    yield from ((mutate(rng, text), text) for text in SENTENCES for _ in range(12))
    yield from ((text, mutate(rng, text)) for text in SENTENCES for _ in range(4))
    yield from ((" ".join(text.split()[: rng.randint(1, 9)]), text) for text in SENTENCES for _ in range(4))
    yield from ((rng.choice(SENTENCES), rng.choice(SENTENCES)) for _ in range(40))
    for _ in range(160):
        soup = [rng.choice(ALPHABET) for _ in range(rng.randint(1, 40))]
        other = [rng.choice(ALPHABET) if rng.random() < 0.2 else symbol for symbol in soup]
        yield "".join(soup), "".join(other)


def long_pairs(rng):
    """Texts of more tokens than one machine word has bits, with words that come again and again."""
    words = " ".join(SENTENCES).split()
    for length in (120, 127, 128, 129, 200, 400):
        text = " ".join(rng.choice(words) for _ in range(length))
        yield mutate(rng, text), text
        yield text, mutate(rng, text)


def token_f1(candidate, reference):
    candidate, reference = (set(re.findall(r"\w+", text.lower())) for text in (candidate, reference))
    if not candidate and not reference:
        return 1.0
    return 2 * len(candidate & reference) / (len(candidate) + len(reference))


def text_metrics():
    bleu = BLEU(tokenize="13a", smooth_method="exp", effective_order=False)
    effective = BLEU(tokenize="13a", smooth_method="exp", effective_order=True)
    chrf = CHRF(word_order=2)
    rouge = RougeScorer(["rouge1", "rougeL"], use_stemmer=False)
    rng = random.Random(1)
    for candidate, reference in [*text_pairs(rng), *long_pairs(rng)]:
        rouges = rouge.score(reference, candidate)
        yield {
            "candidate": candidate,
            "reference": reference,
            "bleu": bleu.sentence_score(candidate, [reference]).score,
            "bleu_effective": effective.sentence_score(candidate, [reference]).score,
            "chrf": chrf.sentence_score(candidate, [reference]).score,
            "rouge_1": rouges["rouge1"].fmeasure,
            "rouge_l": rouges["rougeL"].fmeasure,
            "token_f1": token_f1(candidate, reference),
        }


def corpus_metrics(pairs):
    """Corpora are stretches of the pairs: `from` the one, `to` before the other."""
    bleu = {eff: BLEU(tokenize="13a", smooth_method="exp", effective_order=eff) for eff in (False, True)}
    stretches = [(0, len(pairs)), (0, 1), (14, 15), (14, 50), (60, 160), (200, 203), (300, 500)]
    for begin, end in stretches:
        candidates = [pair["candidate"] for pair in pairs[begin:end]]
        references = [[pair["reference"] for pair in pairs[begin:end]]]
        yield {
            "from": begin,
            "to": end,
            "bleu": bleu[False].corpus_score(candidates, references).score,
            "bleu_effective": bleu[True].corpus_score(candidates, references).score,
            "chrf": CHRF(word_order=2).corpus_score(candidates, references).score,
        }


def retrieval_metrics(rng, documents=60, queries=48):
    """Scores on a coarse grid, so that ties abound; `depth` documents of the trec_eval order are kept."""
    ids = [f"d{n}" for n in range(documents - 8)] + ["D1", "D10", "é", "z", "z ", "中", "d1-a", "😀"]
    rng.shuffle(ids)
    columns = [f"{name}_{k}" for name in ("ndcg_cut", "recall", "map_cut") for k in (5, 10, 100)]
    columns += ["recip_rank", "map"]
    measures = {"ndcg_cut.5,10,100", "recall.5,10,100", "map_cut.5,10,100", "recip_rank", "map"}
    cases = []
    for query in range(queries):
        levels = rng.choice([1, 2, 4, 16, 1000])
        scores = [rng.randint(-levels, levels) / 8 for _ in ids]
        judged = rng.sample(range(documents), rng.randint(1, 30))
        grades = {document: rng.choice([-1, 0, 0, 1, 1, 2, 3]) for document in judged}
        if query % 8 == 7:
            grades = {document: 0 for document in judged}
        depth = rng.choice([1, 3, 10, 20, documents])
        order = sorted(range(documents), key=lambda d: (scores[d], ids[d].encode()), reverse=True)
        run = {ids[d]: scores[d] for d in order[:depth]}
        # The whole run too: there the tool breaks all ties itself, also those across the cut at `depth`.
        whole = {ids[d]: scores[d] for d in range(documents)}
        qrels = {ids[d]: grade for d, grade in grades.items()}
        evaluator = pytrec_eval.RelevanceEvaluator({"q": qrels}, measures)
        expected, expected_whole = (evaluator.evaluate({"q": each})["q"] for each in (run, whole))
        cases.append({
            "scores": scores,
            "grades": {str(d): grade for d, grade in grades.items()},
            "depth": depth,
            "expected": {column: expected[column] for column in columns},
            "expected_whole": {column: expected_whole[column] for column in columns},
        })
    return {"ids": ids, "queries": cases}


def dangling_judgements(rng, documents=25, queries=12):
    """A BEIR folder's judgements, of which some name documents and queries that the folder does not hold."""
    ids = [f"d{n}" for n in range(documents)]
    grades = {}
    for query in range(queries + 3):  # the last three are not in queries.jsonl
        judged = rng.sample(ids, rng.randint(1, 6)) + [f"gone{n}" for n in range(rng.randint(0, 3))]
        if query in (2, 3):
            judged = [f"gone{n}" for n in range(query)]
        grades[f"q{query}"] = {document: rng.choice([0, 1, 1, 2]) for document in judged}
    run = {f"q{q}": {d: rng.randint(-16, 16) / 8 for d in ids} for q in range(queries)}
    measures = {"ndcg_cut.10", "recall.10", "map", "recip_rank"}
    expected = pytrec_eval.RelevanceEvaluator(grades, measures).evaluate(run)
    lines = [f"{q}\t{d}\t{grade}\n" for q, judged in grades.items() for d, grade in judged.items()]
    rng.shuffle(lines)
    return {
        "documents": ids,
        "queries": list(run),
        "qrels": "query-id\tcorpus-id\tscore\n" + "".join(lines),
        "scores": {q: list(scores.values()) for q, scores in run.items()},
        "expected": expected,
    }


def clopper_pearson():
    trials = [1, 2, 3, 5, 10, 30, 100, 250, 1000, 9999, 1_000_000]
    for n in trials:
        for successes in sorted({0, 1, n // 10, n // 3, n // 2, n - 1, n}):
            exact = binomtest(successes, n).proportion_ci(0.95, method="exact")
            # binomtest finds its ends by root search, to about 1e-12; the beta quantiles are the same numbers.
            low = float(beta.ppf(0.025, successes, n - successes + 1)) if successes else 0.0
            high = float(beta.ppf(0.975, successes + 1, n - successes)) if successes < n else 1.0
            assert abs(low - exact.low) < 1e-9 and abs(high - exact.high) < 1e-9
            yield {"successes": successes, "n": n, "low": low, "high": high}


def main():
    logging.getLogger("sacrebleu").setLevel(logging.ERROR)  # it would have us set effective_order
    DATA.mkdir(exist_ok=True)
    pairs = list(text_metrics())
    (DATA / "text-metrics.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    corpora = ",\n".join(json.dumps(corpus) for corpus in corpus_metrics(pairs))
    (DATA / "corpus-metrics.json").write_text(f"[\n{corpora}\n]\n")
    golden = retrieval_metrics(random.Random(2)) | {"clopper_pearson": list(clopper_pearson())}
    queries = ",\n".join(json.dumps(query) for query in golden.pop("queries"))
    proportions = ",\n".join(json.dumps(case) for case in golden.pop("clopper_pearson"))
    ids = json.dumps(golden.pop("ids"))
    text = f'{{"ids": {ids},\n"queries": [\n{queries}\n],\n"clopper_pearson": [\n{proportions}\n]}}\n'
    (DATA / "retrieval-metrics.json").write_text(text)
    dangling = dangling_judgements(random.Random(3))
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in dangling.items())
    (DATA / "dangling-judgements.json").write_text(f"{{{lines}}}\n")


if __name__ == "__main__":
    main()

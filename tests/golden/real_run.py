"""Writes tests/data/cranfield-run.json: the judgements and the 100 best documents of 40 queries, as an
evaluation ranked them, and what trec_eval makes of each; ids and scores, no texts. Compares the rest too.

Run by hand from the repository root, on a run of the BEIR folder of Cranfield:

    python3 -m venv venv
    venv/bin/pip install pytrec-eval-terrier==0.5.11
    cargo embosk evaluate --attack none --defense none --corpus cranfield --runs runs
    venv/bin/python tests/golden/real_run.py cranfield/qrels/test.tsv runs/1-none.run
"""

import json
import sys
from pathlib import Path

import pytrec_eval

OUT = Path(__file__).parent.parent / "data" / "cranfield-run.json"
MEASURES = {"ndcg_cut.10", "recall.10", "recip_rank", "map"}
COLUMNS = ["ndcg_cut_10", "recall_10", "recip_rank", "map"]
QUERIES = 40


def table(path, key, value, number):
    found = {}
    for line in Path(path).read_text().splitlines():
        fields = line.split()
        if fields[value] != "score":
            found.setdefault(fields[0], {})[fields[key]] = number(fields[value])
    return found


def main():
    grades = table(sys.argv[1], 1, 2, int)
    run = table(sys.argv[2], 2, 4, float)
    scores = pytrec_eval.RelevanceEvaluator(grades, MEASURES).evaluate(run)
    for column in COLUMNS:
        print(column, sum(score[column] for score in scores.values()) / len(scores))
    # evenly over the whole run
    chosen = list(scores)[:: len(scores) // QUERIES][:QUERIES]
    lines = [
        json.dumps({
            "query": query,
            "grades": grades[query],
            "run": run[query],
            "expected": {column: scores[query][column] for column in COLUMNS},
        })
        for query in chosen
    ]
    OUT.write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()

"""Writes the table of retrieval.md, from reports of `embosk evaluate --attack none --format json`.

Run by hand: pip install matplotlib==3.10.7; python src/manual/retrieval.py NAME=REPORT.json…
The commands that make the reports are in retrieval.md.
"""

import json
import sys
from pathlib import Path

from worth import HERE, between, interval, label, named


def main():
    reports = dict(argument.split("=", 1) for argument in sys.argv[1:])
    rows = {name: json.loads(Path(file).read_text())["rows"] for name, file in reports.items()}
    lines = ["| defense | " + " | ".join(rows) + " |", "|---" * (len(rows) + 1) + "|"]
    for of_defense in zip(*rows.values(), strict=True):
        scores = [interval(row["ndcg_at_10"], 3) for row in of_defense]
        # a codebook is of its collection
        defense = label(of_defense[0]["defense"]).split(", codebook=")[0].replace("centroids=256", "centroids=256)")
        lines.append(f"| {named(defense)} | " + " | ".join(scores) + " |")
    page = HERE / "retrieval.md"
    page.write_text(between(page.read_text(), "ndcg", lines))


main()

"""Writes the tables of worth.md and the plots beside it, from reports of `embosk evaluate --format json`.

Run by hand: pip install matplotlib==3.10.7; python src/manual/worth.py REPORT.json…
The commands that make the reports are in worth.md.
"""

import json
import re
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "embosk", "font.size": 10, "axes.grid": True, "grid.alpha": 0.3})
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999"]


def main():
    stores = {}
    for report in (json.loads(Path(name).read_text()) for name in sys.argv[1:]):
        stacks = stores.setdefault(report["signature"]["documents"], {})
        for row in report["rows"]:
            stacks.setdefault(label(row["defense"]), {})[row["adversary"]] = row
    stores = dict(sorted(stores.items()))
    stacks = stores[max(stores)]
    page = HERE / "worth.md"
    text = page.read_text()
    text = between(text, "leaks", leaks(stacks))
    text = between(text, "worst", worst(stacks))
    text = between(text, "stores", sizes(stores))
    page.write_text(text)
    others = {f"{name}, {documents:,} stored": rows for documents, of_store in list(stores.items())[:-1]
              for name, rows in of_store.items()}
    plot(stacks | others, "leaked", "pairs.svg", "leaked pairs k", keyed)
    plot(stacks, "averaging", "releases.svg", "releases r", lambda defense: "gaussian" in defense)


def label(defense):
    """Fingerprints of keys and codebooks say nothing here."""
    return re.sub(r", codebook=fit:\w+", "", re.sub(r"key=fingerprint:\w+", "key", defense))


def named(defense):
    """A spec in a table's cell."""
    return "`" + defense.replace("|", "\\|") + "`"


def keyed(defense):
    return any(name in defense for name in ["rotation", "permutation", "scaling", "dcpe"])


def numbered(rows, adversary):
    """The rows of `adversary(n)`, by n."""
    found = {name: re.fullmatch(adversary + r"\((\d+)\)", name) for name in rows}
    return {int(match.group(1)): rows[name] for name, match in found.items() if match}


def columns(stacks):
    """The adversaries, in the order in which they are first met."""
    seen = {adversary: None for rows in stacks.values() for adversary in rows}
    return list(seen)


def leaks(stacks):
    names = columns(stacks)
    lines = ["| defense | nDCG@10 | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for defense, rows in stacks.items():
        ndcg = next(iter(rows.values()))["ndcg_at_10"]["value"]
        cells = [two(rows[name]["leak"]["value"]) if name in rows else "" for name in names]
        lines.append(f"| {named(defense)} | {ndcg:.3f} | " + " | ".join(cells) + " |")
    return lines


def worst(stacks):
    lines = ["| defense | worst adversary | leak | exact match | BLEU | entities | nDCG@10 | linkage |",
             "|---" * 8 + "|"]
    for defense, rows in stacks.items():
        row = max(rows.values(), key=lambda row: row["leak"]["value"])
        scores = [interval(row[name], places) for name, places in
                  [("leak", 2), ("exact_match", 2), ("bleu", 1), ("entity_recall", 2), ("ndcg_at_10", 3)]]
        linkage = row["linkage_recall_at_1"]
        scores.append(two(linkage["value"]) if linkage else "")
        lines.append(f"| {named(defense)} | {row['adversary']} | " + " | ".join(scores) + " |")
    return lines


def sizes(stores):
    """A rotation under leaked pairs, in stores of different sizes."""
    rows = {documents: numbered(stacks["rotation(key)"], "leaked") for documents, stacks in stores.items()}
    pairs = [n for n in rows[min(rows)] if all(n in row for row in rows.values())]
    lines = ["| stored vectors | " + " | ".join(f"leaked({n})" for n in pairs) + " |", "|---" * (len(pairs) + 1) + "|"]
    for documents, row in rows.items():
        cells = [two(row[n]["leak"]["value"]) for n in pairs]
        lines.append(f"| {documents:,} | " + " | ".join(cells) + " |")
    return lines


def two(value):
    return f"{value:.2f}".replace("-0.00", "0.00")


def interval(score, places):
    return f"{score['value']:.{places}f} [{score['low']:.{places}f}, {score['high']:.{places}f}]"


def plot(stacks, adversary, name, axis, chosen):
    figure, axes = plt.subplots(figsize=(7, 4.2))
    lines = 0
    for defense, rows in stacks.items():
        points = sorted((n, row["leak"]) for n, row in numbered(rows, adversary).items())
        if points and adversary == "averaging":
            # one release is what `informed` has
            points.insert(0, (1, numbered(rows, "informed")[10000]["leak"]))
        if len(points) < 2 or not chosen(defense):
            continue
        x, y = [k for k, _ in points], [leak["value"] for _, leak in points]
        low, high = ([abs(leak["value"] - leak[end]) for _, leak in points] for end in ["low", "high"])
        style = dict(color=COLOURS[lines % len(COLOURS)], marker="osD^v"[lines % 5], linestyle=["-", "--", ":"][lines // len(COLOURS)])
        axes.errorbar(x, y, yerr=[low, high], label=defense, capsize=2, linewidth=1.4, markersize=4, **style)
        lines += 1
    axes.set_xscale("log", base=2)
    ticks = sorted({n for rows in stacks.values() for n in numbered(rows, adversary)})
    ticks = [1] + ticks if adversary == "averaging" else ticks
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_ylim(-0.05, 1.05)
    axes.set_xlabel(axis)
    axes.set_ylabel("leak")
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(HERE / f"worth-{name}", bbox_inches="tight", metadata={"Date": None})


def between(text, mark, lines):
    start, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    before, rest = text.split(start)
    return before + start + "\n".join(lines) + "\n" + end + rest.split(end)[1]


if __name__ == "__main__":
    main()

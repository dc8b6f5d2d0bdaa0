"""Writes the tables of worth.md and the plots beside it, from the reports that worth.sh made.

Run by worth.sh, or by hand: pip install matplotlib==3.10.7; python3 src/manual/worth.py FOLDER
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
PARTS = ["keys", "turned-noise", "noise", "documents", "keyed-noise", "dcpe", "rounding", "codebooks", "groups", "coarse"]


def main():
    reports = {path.stem: json.loads(path.read_text()) for path in sorted(Path(sys.argv[1]).glob("*.json"))}
    minilm, reference = (together(reports, name) for name in ["minilm", "reference"])
    page = HERE / "worth.md"
    text = page.read_text()
    tables = {}
    if pairs := stores(reports):
        tables["pairs"] = few_pairs(pairs)
        # of the largest store the other numbers of pairs are above already
        pairs["10,000"] |= minilm.get("rotation(key)", {})
    if minilm:
        tables |= {"leaks": leaks(minilm), "worst": worst(minilm, reference)}
    for name in ["minilm", "reference"]:
        if of_facts := together(reports, f"facts-{name}"):
            tables[f"facts-{name}"] = facts(of_facts)
    if any(name.startswith("clouds") for name in reports):
        tables["clouds"] = clouds(reports)
    if "surrogate" in reports:
        tables["surrogate"] = surrogate(reports["surrogate"])
    if "seed-2" in reports and minilm:
        tables["seeds"] = seeds(minilm, rows(reports["seed-2"]))
    if "retrained" in reports:
        tables["retrained"] = retrained(rows(reports["retrained"]))
    for mark, lines in tables.items():
        text = between(text, mark, lines)
    page.write_text(text)
    if minilm and pairs:
        plots(minilm, pairs)


def stores(reports):
    """A rotation under few pairs, by the size of the store."""
    names = {"820": "820", "10000": "10,000", "sentences": "820; their own texts are other sentences"}
    if any(f"pairs-{key}" not in reports for key in names):
        return {}
    return {name: rows(reports[f"pairs-{key}"])["rotation(key)"] for key, name in names.items()}


def plots(minilm, pairs):
    lines = {name: row for name, row in minilm.items() if is_keyed(name)}
    lines |= {f"rotation(key), stored: {name}": row for name, row in pairs.items() if "10,000" not in name}
    plot(lines, "leaked", "pairs.svg", "leaked pairs k")
    fresh = {name: row for name, row in minilm.items() if re.search(r"gaussian\(sigma=[\d.]+\)|dcpe", name)}
    plot(fresh, "averaging", "releases.svg", "releases r")


def together(reports, embedder):
    stacks = {}
    for part in PARTS:
        if f"{embedder}-{part}" in reports:
            stacks |= rows(reports[f"{embedder}-{part}"])
    return stacks


def rows(report, may_be_inconclusive=False):
    """By defense and adversary."""
    if not report["conclusive"] and not may_be_inconclusive:
        sys.exit(f"a report concludes nothing: {report['reason']}")
    stacks = {}
    for row in report["rows"]:
        stacks.setdefault(label(row["defense"]), {})[row["adversary"]] = row
    return stacks


def label(defense):
    """Fingerprints of keys and fits say nothing here."""
    defense = re.sub(r", codebook=fit:\w+", "", re.sub(r"key=fingerprint:\w+", "key", defense))
    defense = re.sub(r"fit=fit:\w+, |,? ?(groups|fit)=fit:\w+", "", defense)
    return re.sub(r"dither=fingerprint:\w+", "dither", re.sub(r"scale=fit:\w+", "scale=fitted", defense))


def named(defense):
    """A spec in a table's cell."""
    return "`" + defense.replace("|", "\\|") + "`"


def is_keyed(defense):
    return any(name in defense for name in ["rotation", "permutation", "scaling"])


def numbered(row, adversary):
    """The rows of `adversary(n)`, by n."""
    found = {name: re.fullmatch(adversary + r"\((\d+)\)", name) for name in row}
    return {int(match.group(1)): row[name] for name, match in found.items() if match}


def leaks(stacks):
    names = list({adversary: None for row in stacks.values() for adversary in row})
    lines = table("defense", "nDCG@10", *names)
    for defense, row in stacks.items():
        ndcg = next(iter(row.values()))["ndcg_at_10"]["value"]
        cells = [two(row[name]["leak"]["value"]) if name in row else "" for name in names]
        lines.append(cells_of(named(defense), f"{ndcg:.3f}", *cells))
    return lines


def worst_of(row, score="leak"):
    return max(row.values(), key=lambda of: of[score]["value"])


def facts(stacks):
    """What the worst adversary guesses, and the words that the worst recovers; they may be two. Further releases apart."""
    lines = table("defense", "nDCG@10", "guess", "worst", "words", "word leak", "worst", "leak", "membership", "R@1",
                  "16 releases: guess", "words")
    for defense, row in stacks.items():
        once = {name: of for name, of in row.items() if not name.startswith("averaging")}
        guess, words = worst_of(once, "guess"), worst_of(once, "word_leak")
        cells = [f"{guess['ndcg_at_10']['value']:.3f}", interval(guess["guess"], 2), guess["adversary"],
                 interval(words["word_recall"], 2), two(words["word_leak"]["value"]), words["adversary"],
                 two(worst_of(once)["leak"]["value"])]
        cells += [interval(worst_of(once, name)[name], 2) for name in ["membership_tpr", "candidate_recall_at_1"]]
        again = [of for name, of in row.items() if name not in once]
        cells += [interval(again[0][name], 2) if again else "" for name in ["guess", "word_recall"]]
        lines.append(cells_of(named(defense), *cells))
    return lines


def worst(stacks, others):
    of_others = ["on the reference: worst", "leak", "nDCG@10"] if others else []
    lines = table("defense", "worst adversary", "leak", "exact match", "BLEU", "entities", "nDCG@10", "linkage", *of_others)
    for defense, row in stacks.items():
        of = worst_of(row)
        scores = [interval(of[name], places) for name, places in
                  [("leak", 2), ("exact_match", 2), ("bleu", 1), ("entity_recall", 2), ("ndcg_at_10", 3)]]
        linkage = of["linkage_recall_at_1"]
        scores.append(two(linkage["value"]) if linkage else "")
        if defense in others:
            other = worst_of(others[defense])
            scores += [other["adversary"], interval(other["leak"], 2), f"{other['ndcg_at_10']['value']:.3f}"]
        else:
            scores += [""] * len(of_others)
        lines.append(cells_of(named(defense), of["adversary"], *scores))
    return lines


def few_pairs(stores):
    by_pairs = {name: numbered(row, "leaked") for name, row in stores.items()}
    pairs = sorted({n for row in by_pairs.values() for n in row})
    lines = table("stored vectors", *map(str, pairs), "0.5 is crossed")
    for name, row in by_pairs.items():
        cells = [two(row[n]["leak"]["value"]) if n in row else "" for n in pairs]
        tried = sorted(row)
        above = [row[n]["leak"]["value"] >= 0.5 for n in tried]
        first = next((place for place in range(len(tried)) if all(above[place:])), None)
        crossing = "never" if first is None else "before the first pair" if first == 0 \
            else f"between {tried[first - 1]} and {tried[first]}"
        lines.append(cells_of(name, *cells, crossing))
    return lines


def clouds(reports):
    kinds = {"same": "the same kinds of record", "five-kinds": "five of the ten kinds of record", "sentences": "other sentences",
             "among-sentences": "sentences, as all that are stored are"}
    lines = table("their own texts", "stored vectors", "their number", "restored", "leak", "exact match", "BLEU", "score, of expected")
    for key, kind in kinds.items():
        found = {int(name.rsplit("-", 1)[1]): report for name, report in reports.items() if name.startswith(f"clouds-{key}-")}
        for stored, report in sorted(found.items()):
            # of sentences the attack brings too little back for a leak, and the map is there all the same
            row = rows(report, may_be_inconclusive=True)["rotation(key)"][f"unpaired({stored})"]
            own = int(report["signature"]["attacker_texts"].rsplit(":", 1)[1])
            score = re.search(r"score=(\S+ of [\d.]+)", row["map"])
            lines.append(cells_of(kind, f"{stored:,}", f"{own:,}", two(row["restored_cosine"]["value"]),
                                  interval(row["leak"], 2) if row["leak"] else "", two(row["exact_match"]["value"]),
                                  interval(row["bleu"], 1), score.group(1) if score else ""))
    return lines


def surrogate(report):
    lines = table("pairs", "restored", "BLEU", "floor", "token F1", "floor", "exact match")
    floor = report["floor"]["token_f1"]["value"]
    for adversary, of in rows(report)["none"].items():
        lines.append(cells_of(adversary, two(of["restored_cosine"]["value"]), interval(of["bleu"], 1),
                              f"{of['floor']['value']:.1f}", interval(of["token_f1"], 2), two(floor),
                              two(of["exact_match"]["value"])))
    return lines


def seeds(first, second):
    names = [name for name in next(iter(second.values())) if any(name in row for row in first.values())]
    lines = table("defense", "seed", *names)
    for defense, row in second.items():
        for seed, of in [(0, first[defense]), (1, row)]:
            lines.append(cells_of(named(defense), str(seed), *(two(of[name]["leak"]["value"]) if name in of else "" for name in names)))
    return lines


def retrained(stacks):
    names = list(next(iter(stacks.values())))
    lines = table("defense", *(f"{name}: {what}" for name in names for what in ["leak", "BLEU"]))
    for defense, row in stacks.items():
        cells = [cell for name in names for cell in [interval(row[name]["leak"], 2), f"{row[name]['bleu']['value']:.1f}"]]
        lines.append(cells_of(named(defense), *cells))
    return lines


def table(*names):
    return [cells_of(*names), "|---" * len(names) + "|"]


def cells_of(*cells):
    return "| " + " | ".join(cells) + " |"


def two(value):
    return f"{value:.2f}".replace("-0.00", "0.00")


def interval(score, places):
    return f"{score['value']:.{places}f} [{score['low']:.{places}f}, {score['high']:.{places}f}]"


def plot(stacks, adversary, name, axis):
    figure, axes = plt.subplots(figsize=(7, 4.2))
    drawn = {}
    for defense, row in stacks.items():
        points = {n: of["leak"] for n, of in numbered(row, adversary).items()}
        if adversary == "averaging" and points:
            # one release is what `informed` has, or where a key turns the space `unpaired`
            points[1] = max((of["leak"] for n in ["informed", "unpaired"] for of in numbered(row, n).values()),
                            key=lambda leak: leak["value"])
        if len(points) > 1:
            drawn[defense] = sorted(points.items())
    for line, (defense, points) in enumerate(drawn.items()):
        x, y = [k for k, _ in points], [leak["value"] for _, leak in points]
        low, high = ([abs(leak["value"] - leak[end]) for _, leak in points] for end in ["low", "high"])
        style = dict(color=COLOURS[line % len(COLOURS)], marker="osD^v"[line % 5], linestyle=["-", "--", ":"][line // len(COLOURS)])
        axes.errorbar(x, y, yerr=[low, high], label=defense, capsize=2, linewidth=1.4, markersize=4, **style)
    axes.set_xscale("log", base=2)
    ticks = sorted({n for points in drawn.values() for n, _ in points if n in [1, 2, 4, 8, 16, 32, 64, 128, 384, 768, 2048]})
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

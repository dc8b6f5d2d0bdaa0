"""Draws the built-in English sentences from a trigram model.

    python3 generate.py TRAIN.tsv 10000 | gzip -9n > sentences.txt.gz

TRAIN.tsv has lines of source<TAB>text. The sentences that ship were drawn from the training sentences of the
shipped attack on all-MiniLM-L6-v2 (see its model card): they are chains of word pairs and triples that occur
there, and no text of it.
"""
import random
import sys
from collections import Counter, defaultdict
random.seed(20)
path, count = sys.argv[1], int(sys.argv[2])
lines = [l.rstrip("\n").split("\t")[1] for l in open(path)]
singles = Counter(w for l in lines for w in l.split())
keep = {w for w, c in singles.items() if c >= 20}
two, three = defaultdict(Counter), defaultdict(Counter)
for l in lines:
    s = ["<", "<"] + [w if w in keep else None for w in l.split()] + [">"]
    for a, b, c in zip(s, s[1:], s[2:]):
        if c is None or b is None: continue
        two[b][c] += 1
        if a is not None: three[(a, b)][c] += 1
def draw(counter):
    return random.choices(list(counter), list(counter.values()))[0]
seen, out = set(), []
while len(out) < count:
    a, b, words = "<", "<", []
    while len(words) < 26:
        t = three.get((a, b))
        # a pair decides where it was seen with many words, and a word elsewhere
        use = t and (len(t) >= 5 or random.random() < .5)
        c = draw(t if use else two[b]) if (use or two.get(b)) else ">"
        if c == ">": break
        words.append(c); a, b = b, c
    text = " ".join(words)
    if 6 <= len(words) <= 24 and text not in seen:
        seen.add(text); out.append(text)
print("\n".join(out))

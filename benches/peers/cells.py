"""Measures a rotation for each cell of the space (after SHARD, arXiv 2606.27976), which is not in the library:

    embosk embed --embedder E --input stored.txt --output stored.npy     # own.npy and queries.npy likewise
    python3 benches/peers/cells.py stored.npy own.npy queries.npy --most 3000 --most 1000 --most 200

Cells are k-means clusters of the stored vectors, of at most so many rows. Each has a rotation of its own. The attacker
knows the centres, and thus the cell of every text; they see the cell of every vector. `own` are vectors of their texts,
of the same kind as the stored ones. docs/do/choose.md has the figures: stored.txt from `cargo run --release --features cli
--example records -- 10000 0`, own.txt from `… 10000 18446744073709551615 --split train`, and the 150 questions that
`embosk evaluate` asks of records:10000. Python 3.11, numpy 2.4; some minutes on one core, the same each time.
"""

import argparse

import numpy

ATTACKED = 200  # vectors to restore, of so many cells at most
OF_CELLS = 6
PROBES = (1, 3, 6)
LEAKED = (0, 96, 384, 3000)  # pairs, of any cells
IN_CELL = (8, 32, 128, 384)  # pairs, of one cell
LEAST, CLOUD = 50, 2000  # vectors of a cloud
STARTS, ROUNDS, NEIGHBOURS, PAIR = 3, 10, 5, 10  # of the search for a map between clouds; a pair counts as ten vectors


def main():
    parser = argparse.ArgumentParser()
    for name in ("stored", "own", "queries"):
        parser.add_argument(name)
    parser.add_argument("--most", type=int, action="append", required=True)
    options = parser.parse_args()
    stored, own, queries = (unit(numpy.load(f)) for f in (options.stored, options.own, options.queries))
    for most in [len(stored), *options.most]:
        rng = numpy.random.default_rng(0)
        centres = cells(stored, most, rng)
        print(f"\n{len(centres)} cells of at most {most}: {numpy.bincount(nearest(stored, centres)[:, 0]).tolist()}")
        for probes in PROBES:
            print(f"  the ten best found with {probes} probes: {kept(stored, queries, centres, probes):.3f}")
        for text, result in attacks(stored, own, queries, centres, rng):
            print(f"  {text}: {result}")


def unit(rows):
    return rows / numpy.maximum(numpy.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def nearest(rows, centres):
    """The cells of each row, the nearest first."""
    return numpy.argsort(-rows @ centres.T, axis=1, kind="stable")


def cells(rows, most, rng):
    """Centres of cells of at most so many rows: the largest cell is split in two until none has more."""
    centres = unit(rows.mean(axis=0, keepdims=True))
    while True:
        places = nearest(rows, centres)[:, 0]
        sizes = numpy.bincount(places, minlength=len(centres))
        largest = sizes.argmax()
        if sizes[largest] <= most:
            return centres
        members = rows[places == largest]
        pair = members[rng.choice(len(members), 2, replace=False)]
        for _ in range(10):
            pair = means(members, nearest(members, pair)[:, 0], pair)
        centres = numpy.vstack([numpy.delete(centres, largest, axis=0), pair])
        for _ in range(2):
            centres = means(rows, nearest(rows, centres)[:, 0], centres)


def means(rows, places, before):
    sums = [rows[places == cell].sum(axis=0) if cell in places else mean for cell, mean in enumerate(before)]
    return unit(numpy.array(sums))


def kept(stored, queries, centres, probes):
    """The share of the ten stored vectors nearest to each query that lie in the cells nearest to it."""
    best = numpy.argsort(-queries @ stored.T, axis=1, kind="stable")[:, :10]
    of_stored, probed = nearest(stored, centres)[:, 0], nearest(queries, centres)[:, :probes]
    return (of_stored[best][:, :, None] == probed[:, None, :]).any(axis=2).mean()


def attacks(stored, own, queries, centres, rng):
    dim = stored.shape[1]
    keys = [rotation(dim, rng) for _ in centres]
    of_stored, of_own = nearest(stored, centres)[:, 0], nearest(own, centres)[:, 0]
    protected = numpy.vstack([row @ keys[c] for row, c in zip(stored, of_stored)])
    order = rng.permutation(len(stored))
    is_attacked = numpy.isin(of_stored[order], of_stored[order[:OF_CELLS]])
    attacked = order[is_attacked][:ATTACKED]
    others = order[::-1][~numpy.isin(order[::-1], attacked)]
    for pairs in LEAKED:
        leaked = others[:pairs]
        restored = numpy.zeros((len(attacked), dim))
        for cell in numpy.unique(of_stored[attacked]):
            here, known = (rows[of_stored[rows] == cell] for rows in (attacked, leaked))
            knowledge = (protected[known], stored[known]), protected[of_stored == cell], own[of_own == cell]
            restored[of_stored[attacked] == cell] = restore(protected[here], stored[here], *knowledge, rng)
        yield f"{pairs} pairs leaked", told(restored, stored, attacked)
    largest = numpy.bincount(of_stored).argmax()
    here = numpy.flatnonzero(of_stored == largest)
    here = here[rng.permutation(len(here))]
    for pairs in IN_CELL if len(centres) > 1 else ():
        known, rest = here[:pairs], here[pairs : pairs + ATTACKED]
        if len(rest) > 1:
            knowledge = (protected[known], stored[known]), protected[here], own[of_own == largest]
            restored = restore(protected[rest], stored[rest], *knowledge, rng)
            yield f"{pairs} pairs of the largest cell leaked", told(restored, stored, rest)
    if len(centres) > 1:
        share = matched(protected, stored, here)
        yield "told by their inner products within the cell, if the texts are known", f"R@1 {share:.2f}"
        for count in (1000, len(own)):
            linked = linked_by_queries(stored, own[:count], keys, centres, protected)
            yield f"brought into one space by {count} queries with three probes", linked


def rotation(dim, rng):
    q, r = numpy.linalg.qr(rng.standard_normal((dim, dim)))
    return (q * numpy.sign(numpy.diag(r))).astype(numpy.float32)


def told(restored, stored, rows):
    """The mean cosine, how many are above 0.9, and how often the right one of all stored texts is the likeliest."""
    cosines = (unit(restored) * stored[rows]).sum(axis=1)
    first = (unit(restored) @ stored.T).argmax(axis=1) == rows
    return f"cosine {cosines.mean():.3f}, above 0.9 {numpy.mean(cosines > 0.9):.2f}, R@1 {first.mean():.2f}"


def restore(seen, clean, pairs, cloud, own, rng):
    """The best that the attacker can make of one cell's vectors. The clean ones decide, so it is an upper bound."""
    dim, known = seen.shape[1], len(pairs[0])
    mean = unit(own.mean(axis=0, keepdims=True)) if len(own) else numpy.zeros((1, dim))
    estimates, starts = [numpy.repeat(mean, len(seen), axis=0)], []
    if known:
        starts.append(procrustes(*pairs))
        estimates += [seen @ starts[0], completed(seen, pairs, own)]
    if min(len(cloud), len(own)) >= LEAST:
        starts += [by_axes(cloud, own, number, rng) for number in range(STARTS if 2 * known < dim else 0)]
        estimates += [seen @ refined(start, pairs, cloud[:CLOUD], own[:CLOUD]) for start in starts]
    return max(estimates, key=lambda estimate: (unit(estimate) * clean).sum())


def procrustes(protected, clean):
    u, s, v = numpy.linalg.svd(protected.T @ clean)
    return u[:, s > 1e-5 * s[0]] @ v[s > 1e-5 * s[0]]


def completed(seen, pairs, own):
    """What the pairs span, and the rest as the attacker's own texts of the cell have it (linear regression)."""
    span = numpy.linalg.svd(pairs[1], full_matrices=False)
    basis = span[2][span[1] > 1e-3 * span[1][0]].T
    part = seen @ procrustes(*pairs) @ basis
    if len(own) < 2:
        return part @ basis.T
    mean = own.mean(axis=0)
    known = (own - mean) @ basis
    ridge = 1e-3 * numpy.trace(known.T @ known) / known.shape[1] * numpy.eye(known.shape[1])
    return mean + (part - mean @ basis) @ numpy.linalg.solve(known.T @ known + ridge, known.T @ (own - mean))


def by_axes(cloud, own, number, rng):
    """Matches the principal axes in order, with signs by skewness; later starts flip some of them."""
    (theirs, skews), (mine, others) = axes(cloud), axes(own)
    signs = numpy.sign(skews * others)
    signs[rng.random(len(signs)) < 0.05 * number] *= -1
    return theirs * signs @ mine.T


def axes(rows):
    centred = rows - rows.mean(axis=0)
    turn = numpy.linalg.eigh(centred.T @ centred)[1][:, ::-1]
    return turn, ((centred @ turn) ** 3).sum(axis=0)


def refined(turn, pairs, cloud, own):
    """Matches each vector with the mean of its neighbours on the other side, and solves Procrustes, in rounds."""
    centred, mine = unit(cloud - cloud.mean(axis=0)), unit(own - own.mean(axis=0))
    fixed = PAIR * pairs[0].T @ pairs[1]
    for _ in range(ROUNDS):
        similar = centred @ turn @ mine.T
        ours = numpy.argpartition(-similar, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        u, _, v = numpy.linalg.svd(centred.T @ mine[ours].mean(axis=1) + fixed)
        turn = u @ v
    return turn


def matched(protected, stored, rows):
    """The share of the rows of a cell whose sorted inner products with the others tell them apart."""
    theirs, ours = (numpy.sort(of[rows] @ of[rows].T, axis=1) for of in (protected, stored))
    return numpy.mean([((ours - profile) ** 2).sum(axis=1).argmin() == row for row, profile in enumerate(theirs)])


def linked_by_queries(stored, queries, keys, centres, protected):
    """A query under three rotations is a pair of each two. Whoever sees queries maps all cells into one of them."""
    places = nearest(stored, centres)[:, 0]
    probed = nearest(queries, centres)[:, :3]
    shared = numpy.zeros((len(centres), len(centres)), int)
    for query in probed:
        shared[numpy.ix_(query, query)] += 1
    numpy.fill_diagonal(shared, 0)
    into = {int(shared.sum(axis=0).argmax()): numpy.eye(stored.shape[1])}
    root = next(iter(into))
    while True:
        edges = [(shared[a, b], a, b) for a in range(len(centres)) for b in into if a not in into and shared[a, b]]
        if not edges:
            break
        _, cell, known = max(edges)
        both = queries[(probed == cell).any(axis=1) & (probed == known).any(axis=1)]
        into[cell] = procrustes(both @ keys[cell], both @ keys[known]) @ into[known]
    cosines = [unit(row[None] @ into[c])[0] @ (clean @ keys[root]) if c in into else 0
               for row, clean, c in zip(protected, stored, places)]
    return f"cosine {numpy.mean(cosines):.3f}, above 0.9 {numpy.mean(numpy.array(cosines) > 0.9):.2f}"


main()

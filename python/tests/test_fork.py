"""A child that was forked has none of its parent's threads. Everything that works on threads does the same there."""

import asyncio
import multiprocessing

import numpy
import pytest

import embosk
from conftest import unit_rows
from embosk import attacks, retrieval
from toys import toy

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
    pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork"),
]

ROTATION = "rotation(key=env:EMBOSK_TEST_KEY)"
CODES = f"{ROTATION} | quantization(bits=8)"
SMALL = {"corpus": "records:300", "attacker_corpus": "records:400", "samples": 2, "adversaries": ["naive", "leaked(100)"]}
TRAINED = {"model": "reference", "steps": 2, "beam_width": 2}
BUDGET = """
attack = "none"
corpus = "records:300"
[limits]
ndcg_drop = 0.9
[[stack]]
defense = "gaussian(sigma=0.01)"
"""


@pytest.fixture(scope="module")
def reference():
    return embosk.Embedder("reference")


@pytest.fixture(scope="module")
def large():
    return unit_rows(4000, 64)


@pytest.fixture(scope="module", autouse=True)
def the_parent_has_threads(reference, large):
    """Every kind of thread that a child would wait for."""
    retrieval.search(large, large[:100], 3, range(len(large)))
    reference.embed(["lunch is at noon"])
    reference.embed(["lunch is at noon"] * 100)
    embosk.Stack("scaling(key=env:EMBOSK_TEST_KEY)", keys={"EMBOSK_TEST_KEY": embosk.Key.generate()}).protect(large)


def in_child(call):
    """What `call` returns in a forked child."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=lambda: theirs.send(call()))
    child.start()
    theirs.close()
    try:
        assert ours.poll(120), "the child hangs"
        return ours.recv()
    finally:
        child.kill()
        child.join()


def in_a_thread(embedder):
    """Like an async embedder, which is called on a thread of its own."""

    async def embed(texts):
        return await asyncio.to_thread(embedder.embed, texts)

    return embed


def evaluated(embedder=toy):
    return embosk.evaluate(embedder, defenses=["none", "quantization(bits=8)"], attack="none", name="toy", normalizer="none", **SMALL)


CALLS = {
    "protect": lambda of: embosk.Stack(ROTATION).protect(of.large),
    "protect a vector": lambda of: embosk.Stack(ROTATION).protect(unit_rows(1, 1024)),
    "protect float64": lambda of: embosk.Stack(ROTATION).protect(of.large.astype("float64")),
    "bind": lambda of: embosk.Stack(ROTATION, dim=1024).fingerprint,
    "unprotect": lambda of: embosk.Stack(ROTATION).unprotect(of.large),
    "encode and decode": lambda of: embosk.Stack(CODES).decode(embosk.Stack(CODES).encode(of.large)),
    "search": lambda of: retrieval.search(of.large, of.large[:100], 3, range(len(of.large))),
    "embed a text": lambda of: of.reference.embed(["anna lives in oslo"]),
    "embed texts": lambda of: of.reference.embed([f"number {at} of many" for at in range(100)]),
    "open": lambda of: embosk.Embedder("reference").embed(["anna lives in oslo"]),
    "invert": lambda of: attacks.invert(of.reference.embed(["anna lives in oslo"]), of.reference, TRAINED),
    "invert by search": lambda of: attacks.invert(toy(["a b", "c d"]), toy, {"model": "guided", "queries": 20}),
    "evaluate": lambda of: embosk.evaluate(of.reference, defenses=["none", CODES], attack=TRAINED, **SMALL).to_dict(),
    "evaluate a function": lambda of: evaluated().to_dict(),
    "evaluate a function on threads": lambda of: evaluated(in_a_thread(of.reference)).to_dict(),
    "gate": lambda of: embosk.gate(BUDGET, toy, name="toy")[1].to_dict(),
    "check": lambda of: of.report.check(BUDGET, raises=False).to_dict(),
    "show": lambda of: of.report._repr_html_(),
}


@pytest.fixture(scope="module")
def report(large):
    return evaluated()


@pytest.mark.parametrize("name", CALLS)
def test_a_forked_child_does_what_its_parent_does(name, reference, large, report):
    class Of:
        pass

    of = Of()
    of.reference, of.large, of.report = reference, large, report
    expected = CALLS[name](of)
    found = in_child(lambda: CALLS[name](of))
    assert (found == expected).all() if isinstance(expected, numpy.ndarray) else found == expected


def test_a_child_of_a_child_has_threads_too(large):
    stack = embosk.Stack(ROTATION)
    expected = stack.protect(large)
    assert (in_child(lambda: (stack.protect(large), in_child(lambda: stack.protect(large)))[1]) == expected).all()

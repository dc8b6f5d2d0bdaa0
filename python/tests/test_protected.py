"""Protected embedders of every kind, sync and async."""

import asyncio
import pickle

import numpy
import pytest

import embosk
from toys import AsyncClient, Client, Model, ModelWithRoles, toy

SPEC = "rotation(key=env:EMBOSK_TEST_KEY) | gaussian(sigma=0.05, key=env:EMBOSK_TEST_KEY)"
TEXTS = ["the invoice is overdue", "lunch is at noon", ""]


async def async_toy(texts):
    await asyncio.sleep(0)
    return toy(texts)


def by_role(texts, role):
    return toy([f"{role} {text}" for text in texts])


@pytest.mark.parametrize(
    ("embedder", "model"),
    [(toy, None), (Model(), None), (Client(), "m"), (lambda texts: toy(texts).tolist(), None)],
    ids=["function", "model", "client", "lists"],
)
def test_every_kind_of_embedder_is_protected(embedder, model):
    protected = embosk.Protected(embedder, SPEC, model=model)
    stack = embosk.Stack(SPEC)
    assert protected.fingerprint.startswith("embosk2 rotation(")
    documents = protected.embed_documents(TEXTS, ids=[1, 2, 3])
    assert documents.dtype == "float32"
    assert (documents == stack.protect(toy(TEXTS), ids=[1, 2, 3])).all()
    assert (protected.embed_queries(TEXTS) == stack.protect(toy(TEXTS), role="query")).all()
    assert (protected.embed_query("noon") == stack.protect(toy(["noon"])[0], role="query")).all()
    awaited = asyncio.run(protected.aembed_documents(TEXTS, ids=[1, 2, 3]))
    assert (awaited == documents).all()
    assert (asyncio.run(protected.aembed_query("noon")) == protected.embed_query("noon")).all()


@pytest.mark.parametrize(("embedder", "model"), [(async_toy, None), (AsyncClient(), "m")], ids=["function", "client"])
def test_async_embedders_are_awaited(embedder, model):
    protected = embosk.Protected(embedder, SPEC, model=model)
    expected = embosk.Stack(SPEC).protect(toy(TEXTS))
    assert (asyncio.run(protected.aembed_documents(TEXTS)) == expected).all()
    with pytest.raises(embosk.EmbedderError, match="await aembed_documents"):
        protected.embed_documents(TEXTS)


@pytest.mark.parametrize("embedder", [by_role, ModelWithRoles()], ids=["function", "model"])
def test_roles_are_passed_on(embedder):
    protected = embosk.Protected(embedder, "none")
    assert (protected.embed_documents(["a"]) == toy(["document a"])).all()
    assert (protected.embed_query("a") == toy(["query a"])[0]).all()


def test_the_reference_comes_with_the_package():
    protected = embosk.Protected("reference", "none")
    embedder = embosk.Embedder()
    assert embedder.dimension == 384 and embedder.has_unit_norm
    assert (protected.embed_documents(TEXTS) == embedder.embed(TEXTS)).all()
    assert numpy.argmax(protected.embed_documents(TEXTS) @ protected.embed_query("when do we eat?")) == 1


@pytest.mark.parametrize(
    ("embedder", "model"), [("reference", None), (embosk.Embedder(), None), (toy, None), (Client(), "m")], ids=["a name", "an Embedder", "a function", "a client"]
)
def test_it_is_pickled_as_its_embedder_and_stack(embedder, model, key):
    protected = embosk.Protected(embedder, SPEC, model=model)
    again = pickle.loads(pickle.dumps(protected))
    assert (again.embed_documents(TEXTS) == protected.embed_documents(TEXTS)).all()
    given = embosk.Stack("rotation(key=env:GIVEN)", keys={"GIVEN": key})
    with pytest.raises(embosk.NotPicklableError, match="GIVEN"):
        pickle.dumps(embosk.Protected(embedder, given, model=model))


def test_what_is_not_an_embedder_is_refused():
    for embedder, model, message in ((7, None, "int is none of them"), (Client(), None, "name of a model"), (toy, "m", "leave it out")):
        with pytest.raises(embosk.SettingError, match=message):
            embosk.Protected(embedder, "none", model=model)
    with pytest.raises(embosk.SettingError, match="no such folder"):
        embosk.Embedder("no/such folder")
    for wrong in (lambda texts: toy(texts)[0], lambda texts: toy(texts)[1:]):
        with pytest.raises(embosk.EmbedderError, match="given 2 texts and returned an array of shape"):
            embosk.Protected(wrong, "none").embed_documents(["a", "b"])

    def failing(texts):
        raise ConnectionError("the service is down")

    with pytest.raises(ConnectionError):
        embosk.Protected(failing, "none").embed_documents(["a"])


def test_what_is_no_list_of_texts_is_refused_and_never_repeated():
    protected = embosk.Protected(lambda texts: numpy.ones((len(texts), 4), "float32"), "none")
    for texts in ("a secret text", b"a secret text", ["one", None], [1]):
        with pytest.raises(embosk.SettingError) as refused:
            protected.embed_documents(texts)
        assert "secret" not in str(refused.value)
    with pytest.raises(embosk.SettingError, match="NoneType"):
        protected.embed_query(None)
    with pytest.raises(embosk.SettingError, match="Stack or its spec"):
        embosk.Protected(protected.stack, lambda texts: texts)
    for returned in (["a secret text"], [[1.0], [1.0, 2.0]], {"a secret": 1}):
        with pytest.raises(embosk.EmbedderError) as refused:
            embosk.Protected(lambda texts: returned, "none").embed_documents(["one", "two"])
        assert "secret" not in str(refused.value) and refused.value.__suppress_context__
    with pytest.raises(embosk.SettingError) as refused:
        embosk.Protected("http://user:planted@localhost/v1#m", "none")
    assert "address" in str(refused.value) and "planted" not in str(refused.value)

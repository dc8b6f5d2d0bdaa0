"""Real clients get protected vectors from the sidecar, and need no setting but its address."""

import asyncio
import json
import os
import subprocess
from pathlib import Path
from urllib.request import urlopen

import llama_index.core
import numpy as np
import pytest
from conftest import inputs, vector
from langchain_openai import OpenAIEmbeddings
from llama_index.embeddings.openai import OpenAIEmbedding
from openai import AsyncOpenAI, OpenAI

MODEL = "text-embedding-3-small"
KEY = "not needed here"
MOST = 2048

# Each takes lists of texts, asks for each list in a request, and returns all vectors.


def openai(base, model, parts):
    with OpenAI(base_url=base, api_key=KEY) as client:
        answers = [client.embeddings.create(model=model, input=part) for part in parts]
    return rows(answers)


def openai_async(base, model, parts):
    async def ask():
        async with AsyncOpenAI(base_url=base, api_key=KEY) as client:
            return await asyncio.gather(*(client.embeddings.create(model=model, input=part) for part in parts))

    return rows(asyncio.run(ask()))


def rows(answers):
    return [row.embedding for answer in answers for row in answer.data]


def openai_node(base, model, parts):
    if not os.environ["EMBOSK_NODE_PACKAGES"]:
        pytest.skip("there is no Node")
    program = Path(__file__).with_name("client.mjs")
    asked = json.dumps({"base": base, "model": model, "parts": parts})
    ran = subprocess.run(["node", program], input=asked, capture_output=True, text=True, timeout=120)
    if ran.returncode != 0:
        raise RuntimeError(ran.stderr)
    return json.loads(ran.stdout)


def langchain(base, model, parts):
    return flat(langchain_at(base, model).embed_documents(part) for part in parts)


def langchain_async(base, model, parts):
    embeddings = langchain_at(base, model)
    return at_once(embeddings.aembed_documents, parts)


def langchain_texts(base, model, parts):
    embeddings = langchain_at(base, model, check_embedding_ctx_length=False)
    return flat(embeddings.embed_documents(part) for part in parts)


def langchain_at(base, model, **settings):
    return OpenAIEmbeddings(model=model, base_url=base, api_key=KEY, chunk_size=MOST, **settings)


def llama_index_client(base, model, parts):
    return flat(llama_index_at(base, model).get_text_embedding_batch(part) for part in parts)


def llama_index_async(base, model, parts):
    return at_once(llama_index_at(base, model).aget_text_embedding_batch, parts)


def llama_index_at(base, model):
    return OpenAIEmbedding(model_name=model, api_base=base, api_key=KEY, embed_batch_size=MOST)


def at_once(embed, parts):
    async def ask():
        return await asyncio.gather(*(embed(part) for part in parts))

    return flat(asyncio.run(ask()))


def flat(parts):
    return [row for part in parts for row in part]


CLIENTS = [
    openai,
    openai_async,
    openai_node,
    langchain,
    langchain_async,
    langchain_texts,
    llama_index_client,
    llama_index_async,
]

every_client = pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)


@pytest.fixture(autouse=True)
def token_lists(monkeypatch):
    """LangChain sends tokens. The list of those comes with LlamaIndex, so that nothing else is fetched."""
    cache = Path(llama_index.core.__file__).parent / "_static" / "tiktoken_cache"
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(cache))


def texts(count):
    return [f"Rent is due on day {at} of the month. Größe, 家賃, {'x' * (at % 17)}" for at in range(count)]


def similarities(vectors):
    vectors = np.asarray(vectors, dtype="f8")
    return vectors @ vectors.T


def assert_rotated(protected, clean, requests):
    """The vectors are not the upstream's, and their similarities are."""
    clean = np.asarray(clean, dtype="f8")
    assert np.asarray(protected).shape == clean.shape
    expected = [vector(one) for request in requests for one in inputs(request)]
    # in whatever order requests came
    order = lambda vectors: np.asarray(sorted(np.asarray(vectors, dtype="f8").tolist()))
    np.testing.assert_allclose(order(clean), order(expected), atol=1e-6)
    assert np.abs(np.asarray(protected) - clean).max() > 0.1
    np.testing.assert_allclose(similarities(protected), similarities(clean), atol=1e-5)


def said(refused):
    """What an error shows its reader, and the code of OpenAI's own."""
    return f"{refused.value} {getattr(refused.value, 'code', '')}"


@every_client
def test_similarities_are_those_of_the_upstream(client, upstream, rotated):
    parts = [[text] for text in texts(32)]
    clean = client(upstream.base, MODEL, parts)
    direct = list(upstream.requests)
    upstream.requests.clear()
    protected = client(rotated, MODEL, parts)
    assert len(upstream.requests) == len(parts)
    assert_rotated(protected, clean, direct)


@every_client
def test_a_request_may_have_2048_inputs(client, upstream, rotated):
    parts = [texts(MOST)]
    clean = client(upstream.base, MODEL, parts)
    protected = client(rotated, MODEL, parts)
    direct, through = upstream.requests
    assert direct["input"] == through["input"] and len(inputs(through)) == MOST
    assert_rotated(protected, clean, [direct])


@every_client
def test_the_model_names_the_role(client, upstream, rotated, noisy):
    parts = [texts(8)]
    clean = client(upstream.base, MODEL, parts)
    queries = client(noisy, f"{MODEL}:query", parts)
    documents = client(noisy, f"{MODEL}:document", parts)
    assert {request["model"] for request in upstream.requests} == {MODEL}
    assert_rotated(queries, clean, upstream.requests[:1])
    off = np.abs(similarities(documents) - similarities(clean))
    assert off.max() > 0.01
    with pytest.raises(Exception) as refused:
        client(noisy, MODEL, parts)
    assert "role_required" in said(refused)
    # where the roles are alike, naming one changes nothing
    named = client(rotated, f"{MODEL}:document", parts)
    np.testing.assert_allclose(named, client(rotated, MODEL, parts), atol=1e-6)


def test_langchain_sends_tokens_and_averages_long_texts(upstream, rotated):
    long = ["one two three four five six seven eight nine ten " * count for count in range(1, 6)]
    embed = lambda base: langchain_at(base, MODEL, embedding_ctx_length=16).embed_documents(long)
    clean, protected = embed(upstream.base), embed(rotated)
    assert all(isinstance(token, int) for one in inputs(upstream.requests[-1]) for token in one)
    assert len(inputs(upstream.requests[-1])) > len(long)
    assert np.abs(np.asarray(protected) - clean).max() > 0.1
    np.testing.assert_allclose(similarities(protected), similarities(clean), atol=1e-5)


def test_the_fingerprint_is_in_the_raw_response(upstream, rotated):
    with OpenAI(base_url=rotated, api_key=KEY) as client:
        raw = client.embeddings.with_raw_response
        first = raw.create(model=MODEL, input="a")
        stored = first.headers["x-embosk-fingerprint"]
        again = raw.create(model=MODEL, input="a", extra_headers={"x-embosk-fingerprint": stored})
        assert again.parse().data[0].embedding == first.parse().data[0].embedding
        with pytest.raises(Exception) as refused:
            raw.create(model=MODEL, input="a", extra_headers={"x-embosk-fingerprint": "embosk2 none"})
    assert "rotation" in stored and "other_space" in said(refused)
    # the client did not try again
    with urlopen(rotated.removesuffix("/v1") + "/metrics") as metrics:
        assert 'embosk_requests_total{status="409",code="other_space"} 1' in metrics.read().decode().splitlines()

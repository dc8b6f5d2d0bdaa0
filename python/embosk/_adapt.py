"""What embosk takes as an embedder: callables, models and clients, told apart by what they can do."""

import asyncio
import inspect
import re
from contextlib import contextmanager

import numpy

from embosk._embosk import Embedder
from embosk.errors import EmbedderError, EmboskError, EvaluationError, SettingError


class Adapted:
    """An embedder of any kind, with one method for each way to call it.

    `documents` and `queries` take a list of str and return `[texts, dim]`; they are coroutine functions if `is_async`.
    """

    def __init__(self, documents, queries=None, *, is_async=False, name=None, ours=None):
        self.documents = documents
        self.queries = queries or documents
        self.has_roles = queries is not None
        self.is_async = is_async
        self.name = name
        self.ours = ours

    def embed(self, texts, role):
        """Embeds texts now. An async embedder is refused."""
        if self.is_async:
            raise EmbedderError("the embedder is async; await aembed_documents, aembed_queries or aembed_query")
        return vectors(self._of(role)(texts), len(texts))

    async def aembed(self, texts, role):
        """Embeds texts; one that is not async does it in a thread."""
        if self.is_async:
            return vectors(await self._of(role)(texts), len(texts))
        return await asyncio.to_thread(self.embed, texts, role)

    def blocking(self, texts, role):
        """Embeds texts now, for an evaluation: an async embedder runs in an event loop of its own."""
        with told("the embedder", texts, EmbedderError):
            return asyncio.run(self.aembed(texts, role)) if self.is_async else self.embed(texts, role)

    def _of(self, role):
        return self.queries if role == "query" else self.documents


def adapt(embedder, model=None):
    """Returns the `Adapted` of an embedder, or raises SettingError."""
    if isinstance(embedder, Adapted):
        return embedder
    if model is not None and not _is_openai(embedder):
        raise SettingError("a model is named, but the embedder is not a client that takes one; leave it out")
    if isinstance(embedder, str):
        embedder = Embedder(embedder)
    if isinstance(embedder, Embedder):
        return Adapted(
            lambda texts: embedder.embed(texts),
            lambda texts: embedder.embed(texts, role="query"),
            ours=embedder,
        )
    for is_kind, made in (
        (_is_openai, lambda: _openai(embedder, model)),
        (_is_langchain, lambda: _langchain(embedder)),
        (_is_llama_index, lambda: _llama_index(embedder)),
        (lambda it: callable(getattr(it, "encode", None)), lambda: _sentence_transformer(embedder)),
        (callable, lambda: _callable(embedder)),
    ):
        if is_kind(embedder):
            return made()
    raise SettingError(
        f"an embedder is a callable from a list of str to an array, a model with `encode`, a client with "
        f"`embeddings.create`, or an object with `embed_documents`; {type(embedder).__name__} is none of them"
    )


def vectors(made, texts):
    """Returns what an embedder returned as an array, `[texts, dim]`. Lists become float32."""
    if hasattr(made, "detach"):
        made = made.detach().cpu()
    try:
        # a masked array stays one, and is refused later; `asarray` would forget the mask
        array = numpy.asanyarray(made, dtype=None if hasattr(made, "dtype") else numpy.float32)
    except (TypeError, ValueError):
        # numpy's words may repeat a text
        raise EmbedderError(
            f"the embedder returned {type(made).__name__}, which cannot be made an array of numbers; it should return one row "
            f"of numbers for each text"
        ) from None
    if array.ndim != 2 or array.shape[0] != texts:
        raise EmbedderError(
            f"the embedder was given {texts} texts and returned an array of shape {list(array.shape)}; it should "
            f"return one row for each text"
        )
    return array


@contextmanager
def told(what, texts=(), kind=EvaluationError):
    """Turns an exception of the user's code into one of embosk that says what failed, with the original as its cause."""
    try:
        yield
    except EmboskError:
        raise
    except Exception as error:
        raise kind(f"{what} raised {_said(error, texts)}") from error


def _said(error, texts):
    """The type and the message of an exception. A message that repeats part of a text, or holds a key, is left out."""
    name, message = type(error).__name__, " ".join(str(error).split())
    if not message:
        return name
    if "embosk1-" in message or _repeats(message.lower(), " \0 ".join(" ".join(text.lower().split()) for text in texts)):
        return f"{name}, whose message is left out because it repeats a part of a text or a key"
    return f"{name}: {message if len(message) <= 300 else message[:300] + '…'}"


def _repeats(message, texts):
    """Whether a message has a quotation from texts, or any 12 characters of one in a row."""
    quoted = [quotation for _, quotation in re.findall(r"(['\"`])(.+?)\1", message)]
    runs = [message[at : at + 12] for at in range(max(1, len(message) - 11))]
    whole = (text for text in texts.split(" \0 ") if 4 <= len(text) < 12)
    return any(part in texts for part in [*quoted, *runs]) or any(text in message for text in whole)


def _is_openai(embedder):
    return callable(getattr(getattr(embedder, "embeddings", None), "create", None))


def _openai(client, model):
    if model is None:
        raise SettingError('a client needs the name of a model: model="text-embedding-3-small"')
    create = client.embeddings.create

    def rows(response):
        return [item.embedding for item in sorted(response.data, key=lambda item: item.index)]

    if inspect.iscoroutinefunction(create) or type(client).__name__.startswith("Async"):

        async def embed(texts):
            return rows(await create(model=model, input=list(texts)))

        return Adapted(embed, is_async=True, name=model)
    return Adapted(lambda texts: rows(create(model=model, input=list(texts))), name=model)


def _is_langchain(embedder):
    return callable(getattr(embedder, "embed_documents", None)) and callable(getattr(embedder, "embed_query", None))


def _langchain(embeddings):
    return Adapted(
        lambda texts: embeddings.embed_documents(list(texts)),
        lambda texts: [embeddings.embed_query(text) for text in texts],
    )


def _is_llama_index(embedder):
    return callable(getattr(embedder, "get_text_embedding_batch", None))


def _llama_index(embedding):
    return Adapted(
        lambda texts: embedding.get_text_embedding_batch(list(texts)),
        lambda texts: [embedding.get_query_embedding(text) for text in texts],
    )


def _sentence_transformer(model):
    documents = getattr(model, "encode_document", None)
    queries = getattr(model, "encode_query", None)
    if callable(documents) and callable(queries):
        return Adapted(lambda texts: documents(list(texts)), lambda texts: queries(list(texts)))
    return Adapted(lambda texts: model.encode(list(texts)))


def _callable(function):
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)
    )
    try:
        takes_role = "role" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        takes_role = False
    if not takes_role:
        return Adapted(lambda texts: function(list(texts)), is_async=is_async)
    return Adapted(
        lambda texts: function(list(texts), role="document"),
        lambda texts: function(list(texts), role="query"),
        is_async=is_async,
    )

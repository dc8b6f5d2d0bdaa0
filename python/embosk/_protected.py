"""`embosk.Protected`."""

import asyncio
from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from embosk import _pickled
from embosk._adapt import adapt
from embosk._embosk import Stack
from embosk._types import Id, listed
from embosk.errors import SettingError


class Protected:
    """An embedder whose vectors are protected before anyone sees them.

    Documents are embedded with `embed_documents`, and queries with `embed_queries` or `embed_query`. It is not itself an
    embedder, because one call for both would choose the role silently.

    Arguments:
        embedder: one of these:
            - a callable from a list of str to `[texts, dim]`. If it has a parameter `role`, it gets "document" or "query";
            - a model with `encode`, such as one of sentence-transformers. If it has `encode_document` and `encode_query`,
              these are used;
            - an OpenAI client, sync or async;
            - an `embosk.Embedder`, or its name;
            - embeddings of LangChain or LlamaIndex.
        stack: a `Stack`, or its spec.
        model: the name of the model, if `embedder` is an OpenAI client.

    It can be pickled if its embedder and its stack can be.

    Raises the errors of `Stack.protect`, and `EmbedderError` unless the embedder returns a row for each text. An exception
    of the embedder is passed on.
    """

    def __init__(self, embedder: Any, stack: Stack | str, *, model: str | None = None) -> None:
        self._given = (embedder, model)
        self._embedder = adapt(embedder, model)
        self.stack = stack_of(stack)

    @property
    def fingerprint(self) -> str:
        """The stack's fingerprint, to store beside the vectors."""
        return self.stack.fingerprint

    def embed_documents(self, texts: Iterable[str], ids: Iterable[Id] | None = None) -> NDArray[Any]:
        """Embeds and protects documents: `[texts, dim]`. `ids` gives each document an id, for keyed noise."""
        return self._embed(listed(texts), "document", ids)

    def embed_queries(self, texts: Iterable[str], ids: Iterable[Id] | None = None) -> NDArray[Any]:
        """Embeds and protects queries: `[texts, dim]`."""
        return self._embed(listed(texts), "query", ids)

    def embed_query(self, text: str) -> NDArray[Any]:
        """Embeds and protects one query: `[dim]`."""
        return self.embed_queries([text])[0]

    async def aembed_documents(
        self, texts: Iterable[str], ids: Iterable[Id] | None = None
    ) -> NDArray[Any]:
        """As `embed_documents`. An embedder that is not async runs in a thread."""
        return await self._aembed(listed(texts), "document", ids)

    async def aembed_queries(
        self, texts: Iterable[str], ids: Iterable[Id] | None = None
    ) -> NDArray[Any]:
        """As `embed_queries`. An embedder that is not async runs in a thread."""
        return await self._aembed(listed(texts), "query", ids)

    async def aembed_query(self, text: str) -> NDArray[Any]:
        """As `embed_query`. An embedder that is not async runs in a thread."""
        return (await self.aembed_queries([text]))[0]

    def _embed(self, texts, role, ids):
        return self.stack.protect(self._embedder.embed(texts, role), role=role, ids=ids)

    async def _aembed(self, texts, role, ids):
        vectors = await self._embedder.aembed(texts, role)
        return await asyncio.to_thread(self.stack.protect, vectors, role=role, ids=ids)

    def __reduce__(self):
        embedder, model = self._given
        return _pickled.protected, (embedder, self.stack, model)

    def __repr__(self):
        return f"Protected({self.stack!r})"


def stack_of(stack: Stack | str) -> Stack:
    """The stack of a spec, or the stack itself."""
    if isinstance(stack, Stack):
        return stack
    if not isinstance(stack, str):
        raise SettingError(f"a stack must be an embosk.Stack or its spec, a str, not {type(stack).__name__}")
    return Stack(stack)

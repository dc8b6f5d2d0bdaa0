"""LlamaIndex: `ProtectedEmbedding`, for any index. Needs llama-index-core: `pip install embosk[llama-index]`."""

from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr

from embosk._embosk import Stack
from embosk._protected import Protected

__all__ = ["ProtectedEmbedding"]


class ProtectedEmbedding(BaseEmbedding):
    """An embedding model whose vectors are protected before an index sees them.

    Arguments:
        embedder: whatever `embosk.Protected` takes, such as the embedding model of LlamaIndex that was used so far.
        stack: an `embosk.Stack`, or its spec.
        model: the model, for a client.
        settings: the other settings of a BaseEmbedding, such as `embed_batch_size`.
    """

    _protected: Protected = PrivateAttr()

    def __init__(self, embedder: Any, stack: Stack | str, *, model: str | None = None, **settings: Any) -> None:
        settings.setdefault("model_name", "embosk")
        super().__init__(**settings)
        self._protected = Protected(embedder, stack, model=model)

    @classmethod
    def class_name(cls) -> str:
        return "ProtectedEmbedding"

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._protected.embed_documents(texts).tolist()

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._protected.embed_query(query).tolist()

    async def _aget_text_embedding(self, text):
        return (await self._aget_text_embeddings([text]))[0]

    async def _aget_text_embeddings(self, texts):
        return (await self._protected.aembed_documents(texts)).tolist()

    async def _aget_query_embedding(self, query):
        return (await self._protected.aembed_query(query)).tolist()

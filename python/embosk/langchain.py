"""LangChain: `ProtectedEmbeddings`, for any vector store. Needs langchain-core: `pip install embosk[langchain]`."""

from typing import Any

from langchain_core.embeddings import Embeddings

from embosk._embosk import Stack
from embosk._protected import Protected

__all__ = ["ProtectedEmbeddings"]


class ProtectedEmbeddings(Embeddings):
    """Embeddings whose vectors are protected before a vector store sees them.

    Arguments:
        embedder: whatever `embosk.Protected` takes, such as the embeddings of LangChain that were used so far.
        stack: an `embosk.Stack`, or its spec.
        model: the model, for a client.
    """

    def __init__(self, embedder: Any, stack: Stack | str, *, model: str | None = None) -> None:
        self.protected = Protected(embedder, stack, model=model)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.protected.embed_documents(texts).tolist() if texts else []

    def embed_query(self, text: str) -> list[float]:
        return self.protected.embed_query(text).tolist()

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        return (await self.protected.aembed_documents(texts)).tolist() if texts else []

    async def aembed_query(self, text: str) -> list[float]:
        return (await self.protected.aembed_query(text)).tolist()

"""Haystack: embedders for pipelines. Needs haystack-ai: `pip install embosk[haystack]`."""

from dataclasses import replace
from typing import Any

from haystack import Document, component

from embosk._embosk import Stack
from embosk._protected import Protected

__all__ = ["ProtectedDocumentEmbedder", "ProtectedTextEmbedder"]


@component
class ProtectedTextEmbedder:
    """Embeds and protects a query. Arguments are those of `embosk.Protected`."""

    def __init__(self, embedder: Any, stack: Stack | str, *, model: str | None = None) -> None:
        self.protected = Protected(embedder, stack, model=model)

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, Any]:
        return {"embedding": self.protected.embed_query(text).tolist()}


@component
class ProtectedDocumentEmbedder:
    """Embeds and protects documents. Keyed noise is by the document's id, which changes with its content.

    Arguments are those of `embosk.Protected`.
    """

    def __init__(self, embedder: Any, stack: Stack | str, *, model: str | None = None) -> None:
        self.protected = Protected(embedder, stack, model=model)

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        if not documents:
            return {"documents": []}
        ids = [document.id for document in documents] if self.protected.stack.uses_ids() else None
        vectors = self.protected.embed_documents([document.content or "" for document in documents], ids=ids)
        made = [replace(document, embedding=vector.tolist()) for document, vector in zip(documents, vectors)]
        return {"documents": made}

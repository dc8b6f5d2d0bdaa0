"""Chroma: `ProtectedEmbeddingFunction`, for collections. Needs chromadb: `pip install embosk[chroma]`."""

from typing import Any

from chromadb import EmbeddingFunction
from chromadb.utils.embedding_functions import register_embedding_function

from embosk._embosk import Stack
from embosk._protected import Protected
from embosk.errors import EmbedderError, FingerprintError

__all__ = ["ProtectedEmbeddingFunction"]


@register_embedding_function
class ProtectedEmbeddingFunction(EmbeddingFunction):
    """An embedding function whose vectors are protected before a collection sees them.

    Chroma stores an embedding function's configuration beside its vectors, so the configuration here has the stack's
    fingerprint and no key. Give the function again when you open a collection; without it, a query is refused.

    Arguments are those of `embosk.Protected`.
    """

    def __init__(self, embedder: Any, stack: Stack | str, *, model: str | None = None) -> None:
        self.protected = Protected(embedder, stack, model=model)

    def __call__(self, input: Any) -> Any:
        return list(self._given().embed_documents(input))

    def embed_query(self, input: Any) -> Any:
        return list(self._given().embed_queries(input))

    @staticmethod
    def name() -> str:
        return "embosk"

    def default_space(self) -> Any:
        return "cosine"

    def supported_spaces(self) -> Any:
        return ["cosine", "l2", "ip"]

    def get_config(self) -> dict[str, Any]:
        return {"fingerprint": self.fingerprint if self.protected is None else self.protected.fingerprint}

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        if old_config.get("fingerprint") != new_config.get("fingerprint"):
            raise FingerprintError("the stored vectors are under another stack; protect them again, or take their stack")

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> "ProtectedEmbeddingFunction":
        """What Chroma makes of a configuration: a function that says what is missing once it is called."""
        made = ProtectedEmbeddingFunction.__new__(ProtectedEmbeddingFunction)
        made.protected, made.fingerprint = None, config.get("fingerprint")
        return made

    def _given(self):
        if self.protected is None:
            raise EmbedderError(
                "an embedder and a key are not stored with a collection; open it with "
                "embedding_function=ProtectedEmbeddingFunction(embedder, stack)"
            )
        return self.protected

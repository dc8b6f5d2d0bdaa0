"""Chroma: `ProtectedEmbeddingFunction`, for collections. Needs chromadb: `pip install embosk[chroma]`."""

from typing import Any

from chromadb import EmbeddingFunction
from chromadb.utils.embedding_functions import known_embedding_functions, register_embedding_function

from embosk._embosk import Stack
from embosk._protected import Protected
from embosk.errors import EmbedderError, FingerprintError

__all__ = ["ProtectedEmbeddingFunction"]

_NAME = "embosk"


class _Name(str):
    """The name of an embedding function, with the fingerprint of its stack. Chroma stores the name beside the vectors,
    and compares it, and nothing else, when a collection is opened."""

    stack: Stack | None

    def __new__(cls, fingerprint, stack):
        name = super().__new__(cls, f"{_NAME} {fingerprint}")
        name.stack = stack
        known_embedding_functions[name] = ProtectedEmbeddingFunction
        return name

    def __ne__(self, other):
        ours, stored = (self, other) if self.stack is not None else (other, self)
        stack = getattr(ours, "stack", None)
        start, _, fingerprint = str.partition(stored, " ")
        if stack is None or start != _NAME or not fingerprint:
            return str.__ne__(self, other)
        try:
            stack.check_fingerprint(fingerprint)
        except FingerprintError as error:
            raise FingerprintError(f"the collection cannot be opened with this embedding function: {error}") from None
        # the same space, written in another way
        known_embedding_functions[stored] = ProtectedEmbeddingFunction
        return False

    def __eq__(self, other):
        return str.__eq__(self, other)

    __hash__ = str.__hash__


class _NameOf:
    """`name()` of the class, which Chroma registers, and of each function, which has the fingerprint of its stack."""

    def __get__(self, function, _kind):
        if function is None:
            return lambda: _NAME
        stack = None if function.protected is None else function.protected.stack
        return lambda: _Name(function.get_config()["fingerprint"], stack)


@register_embedding_function
class ProtectedEmbeddingFunction(EmbeddingFunction):
    """An embedding function whose vectors are protected before a collection sees them.

    Chroma stores the fingerprint of the stack beside the vectors, and no key. Give the function again when you open a
    collection: under another stack, opening raises `FingerprintError`; without a function, a query is refused.

    Arguments are those of `embosk.Protected`.
    """

    name = _NameOf()
    protected: Protected | None
    fingerprint: Any

    def __init__(self, embedder: Any, stack: Stack | str, *, model: str | None = None) -> None:
        self.protected = Protected(embedder, stack, model=model)

    def __call__(self, input: Any) -> Any:
        return list(self._given().embed_documents(input))

    def embed_query(self, input: Any) -> Any:
        return list(self._given().embed_queries(input))

    def default_space(self) -> Any:
        return "cosine"

    def supported_spaces(self) -> Any:
        return ["cosine", "l2", "ip"]

    def get_config(self) -> dict[str, Any]:
        return {"fingerprint": self.fingerprint if self.protected is None else self.protected.fingerprint}

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

"""Chroma: `ProtectedEmbeddingFunction`, for collections. Needs chromadb: `pip install embosk[chroma]`."""

from chromadb import EmbeddingFunction
from chromadb.utils.embedding_functions import register_embedding_function

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

    def __init__(self, embedder, stack, *, model=None):
        self.protected = Protected(embedder, stack, model=model)

    def __call__(self, input):
        return list(self._given().embed_documents(input))

    def embed_query(self, input):
        return list(self._given().embed_queries(input))

    @staticmethod
    def name():
        return "embosk"

    def default_space(self):
        return "cosine"

    def supported_spaces(self):
        return ["cosine", "l2", "ip"]

    def get_config(self):
        return {"fingerprint": self.fingerprint if self.protected is None else self.protected.fingerprint}

    def validate_config_update(self, old_config, new_config):
        if old_config.get("fingerprint") != new_config.get("fingerprint"):
            raise FingerprintError("the stored vectors are under another stack; protect them again, or take their stack")

    @staticmethod
    def build_from_config(config):
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

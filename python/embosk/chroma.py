"""Chroma: `ProtectedEmbeddingFunction`, for collections. Needs chromadb: `pip install embosk[chroma]`."""

from chromadb import EmbeddingFunction

from embosk._protected import Protected

__all__ = ["ProtectedEmbeddingFunction"]


class ProtectedEmbeddingFunction(EmbeddingFunction):
    """An embedding function whose vectors are protected before a collection sees them.

    Chroma stores an embedding function's configuration beside its vectors, so the configuration here names the stack's
    fingerprint and no key. Give the function again when you open a collection.

    Arguments are those of `embosk.Protected`.
    """

    def __init__(self, embedder, stack, *, model=None):
        self.protected = Protected(embedder, stack, model=model)

    def __call__(self, input):
        return list(self.protected.embed_documents(input))

    def embed_query(self, input):
        return list(self.protected.embed_queries(input))

    @staticmethod
    def name():
        return "embosk"

    def default_space(self):
        return "cosine"

    def supported_spaces(self):
        return ["cosine", "l2", "ip"]

    def get_config(self):
        return {"fingerprint": self.protected.fingerprint}

    def validate_config_update(self, old_config, new_config):
        if old_config.get("fingerprint") != new_config.get("fingerprint"):
            raise ValueError("the stored vectors are under another stack; protect them again, or take their stack")

    @staticmethod
    def build_from_config(config):
        raise ValueError("an embedder and a key are not stored; give the embedding function when you open the collection")

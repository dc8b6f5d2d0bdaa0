"""LangChain: `ProtectedEmbeddings`, for any vector store. Needs langchain-core: `pip install embosk[langchain]`."""

from langchain_core.embeddings import Embeddings

from embosk._protected import Protected

__all__ = ["ProtectedEmbeddings"]


class ProtectedEmbeddings(Embeddings):
    """Embeddings whose vectors are protected before a vector store sees them.

    Arguments:
        embedder: whatever `embosk.Protected` takes, such as the embeddings of LangChain that were used so far.
        stack: an `embosk.Stack`, or its spec.
        model: the model, for a client.
    """

    def __init__(self, embedder, stack, *, model=None):
        self.protected = Protected(embedder, stack, model=model)

    def embed_documents(self, texts):
        return self.protected.embed_documents(texts).tolist() if texts else []

    def embed_query(self, text):
        return self.protected.embed_query(text).tolist()

    async def aembed_documents(self, texts):
        return (await self.protected.aembed_documents(texts)).tolist() if texts else []

    async def aembed_query(self, text):
        return (await self.protected.aembed_query(text)).tolist()

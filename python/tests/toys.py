"""Embedders that need nothing: vectors of hashed words."""

import hashlib

import numpy

DIM = 64


def toy(texts):
    """Each word is a direction; a text is the sum of its words, scaled to norm 1."""
    vectors = numpy.zeros((len(texts), DIM), dtype="float32")
    for row, text in enumerate(texts):
        for word in text.lower().split() or [""]:
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
            vectors[row] += numpy.random.default_rng(seed).standard_normal(DIM)
    return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


class Model:
    """Like a model of sentence-transformers."""

    def encode(self, texts, **_):
        return toy(texts)


class ModelWithRoles(Model):
    def encode_document(self, texts, **_):
        return toy([f"document {text}" for text in texts])

    def encode_query(self, texts, **_):
        return toy([f"query {text}" for text in texts])


class Client:
    """Like OpenAI's client. The answers come in another order than the texts."""

    def __init__(self):
        self.embeddings = self
        self.models = []

    def create(self, *, model, input):
        self.models.append(model)
        data = [Row(index, vector.tolist()) for index, vector in enumerate(toy(input))]
        return Answer(data[::-1])


class AsyncClient(Client):
    async def create(self, *, model, input):
        return super().create(model=model, input=input)


class Row:
    def __init__(self, index, embedding):
        self.index, self.embedding = index, embedding


class Answer:
    def __init__(self, data):
        self.data = data

"""Adapters: LangChain's own conformance tests, and a small retrieval with each package that is installed."""

import asyncio
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import embosk
from conftest import KEY_HEX
from toys import toy

SPEC = "rotation(key=env:EMBOSK_TEST_KEY) | gaussian(sigma=0.01, key=env:EMBOSK_TEST_KEY)"
TEXTS = ["the invoice is overdue", "lunch is at noon", "anna lives in oslo"]
QUESTION = "when is lunch"

try:
    from langchain_tests.integration_tests import EmbeddingsIntegrationTests
    from langchain_tests.unit_tests import EmbeddingsUnitTests
except ImportError:

    def test_langchain():
        pytest.skip("langchain-tests is not installed")

else:
    from embosk.langchain import ProtectedEmbeddings

    class _OfLangChain:
        @property
        def embeddings_class(self):
            return ProtectedEmbeddings

        @property
        def embedding_model_params(self):
            return {"embedder": toy, "stack": SPEC}

    class TestLangChainUnit(_OfLangChain, EmbeddingsUnitTests):
        pass

    class TestLangChainIntegration(_OfLangChain, EmbeddingsIntegrationTests):
        pass


def test_langchain_finds_documents():
    pytest.importorskip("langchain_core")
    from langchain_core.embeddings import Embeddings
    from langchain_core.vectorstores import InMemoryVectorStore

    from embosk.langchain import ProtectedEmbeddings

    embeddings = ProtectedEmbeddings(toy, SPEC)
    store = InMemoryVectorStore.from_texts(TEXTS, embeddings)
    assert store.similarity_search(QUESTION, k=1)[0].page_content == TEXTS[1]
    assert isinstance(embeddings, Embeddings) and embeddings.embed_documents([]) == []
    again = ProtectedEmbeddings(ProtectedEmbeddings(toy, "none"), SPEC)
    assert again.embed_query(QUESTION) == embeddings.embed_query(QUESTION)


def test_llama_index_finds_documents():
    pytest.importorskip("llama_index.core")
    from llama_index.core import Document, VectorStoreIndex

    from embosk.llama_index import ProtectedEmbedding

    embedding = ProtectedEmbedding(toy, SPEC, embed_batch_size=2)
    index = VectorStoreIndex.from_documents([Document(text=text) for text in TEXTS], embed_model=embedding)
    found = index.as_retriever(similarity_top_k=1).retrieve(QUESTION)
    assert found[0].node.get_content() == TEXTS[1]
    expected = embosk.Protected(toy, SPEC).embed_query(QUESTION).tolist()
    assert embedding.get_query_embedding(QUESTION) == expected
    assert asyncio.run(embedding.aget_query_embedding(QUESTION)) == expected


LETTERS = {
    "acme": "the invoice of acme over 420 euros is overdue since march",
    "lunch": "lunch on friday is at noon in the small kitchen",
    "anna": "anna moved to oslo and her new number is 5512",
    "boiler": "the boiler in the cellar was repaired by mister brandt",
}
QUESTIONS = {"what number has anna in oslo": "anna", "who repaired the boiler": "boiler", "is the invoice of acme overdue": "acme"}


def test_llama_index_answers_from_protected_documents():
    pytest.importorskip("llama_index.core")
    from llama_index.core import Document, VectorStoreIndex
    from llama_index.core.llms import MockLLM
    from llama_index.core.node_parser import SentenceSplitter

    from embosk.llama_index import ProtectedEmbedding

    embedding = ProtectedEmbedding(toy, SPEC)
    documents = [Document(text=text, id_=name) for name, text in LETTERS.items()]
    index = VectorStoreIndex.from_documents(documents, embed_model=embedding, transformations=[SentenceSplitter()])
    for node, vector in index.vector_store.data.embedding_dict.items():
        clean = toy([index.docstore.get_node(node).get_content()])[0]
        assert abs(clean @ vector) < 0.6, "what is stored is not the clean vector"
    # this model repeats its prompt, which is what a real one would read
    engine = index.as_query_engine(llm=MockLLM(), similarity_top_k=1)
    for question, right in QUESTIONS.items():
        answer = engine.query(question)
        assert [found.node.ref_doc_id for found in answer.source_nodes] == [right]
        assert question in str(answer) and [name for name, text in LETTERS.items() if text in str(answer)] == [right]


def test_chroma_answers_from_protected_documents(tmp_path):
    chromadb = pytest.importorskip("chromadb")
    from embosk.chroma import ProtectedEmbeddingFunction

    def answers(spec):
        function = ProtectedEmbeddingFunction(toy, spec)
        collection = chromadb.PersistentClient(path=str(tmp_path)).get_or_create_collection("rag", embedding_function=function)
        found = collection.query(query_texts=list(QUESTIONS), n_results=1)
        # what a model would answer from
        return [prompt_of(question, text) for question, [text] in zip(QUESTIONS, found["documents"])]

    def prompt_of(question, text):
        return f"Answer from this letter: {text}. {question}?"

    client = chromadb.PersistentClient(path=str(tmp_path))
    collection = client.create_collection("rag", embedding_function=ProtectedEmbeddingFunction(toy, SPEC))
    collection.add(ids=list(LETTERS), documents=list(LETTERS.values()))
    stored = collection.get(include=["embeddings"])
    for name, vector in zip(stored["ids"], stored["embeddings"]):
        assert abs(toy([LETTERS[name]])[0] @ vector) < 0.6, "what is stored is not the clean vector"
    assert answers(SPEC) == [prompt_of(question, LETTERS[right]) for question, right in QUESTIONS.items()]


def test_chroma_finds_documents(tmp_path):
    chromadb = pytest.importorskip("chromadb")
    from embosk.chroma import ProtectedEmbeddingFunction

    client = chromadb.PersistentClient(path=str(tmp_path))
    function = ProtectedEmbeddingFunction(toy, SPEC)
    collection = client.create_collection("letters", embedding_function=function)
    collection.add(ids=["1", "2", "3"], documents=TEXTS)
    assert collection.query(query_texts=[QUESTION], n_results=1)["documents"] == [[TEXTS[1]]]
    again = client.get_collection("letters", embedding_function=function)
    assert again.query(query_texts=[QUESTION], n_results=1)["documents"] == [[TEXTS[1]]]
    with pytest.raises(embosk.EmbedderError, match="open it with"):
        client.get_collection("letters").query(query_texts=[QUESTION], n_results=1)
    stored = (tmp_path / "chroma.sqlite3").read_bytes()
    assert b"EMBOSK_TEST_KEY" not in stored and b"embosk1-" not in stored


def test_chroma_refuses_a_collection_under_another_stack(tmp_path):
    """The collection is opened again by processes that have not made it."""
    chromadb = pytest.importorskip("chromadb")
    from embosk.chroma import ProtectedEmbeddingFunction

    function = ProtectedEmbeddingFunction(toy, SPEC)
    for name, metadata in (("letters", None), ("others", {"hnsw:space": "cosine"})):
        collection = chromadb.PersistentClient(path=str(tmp_path)).create_collection(
            name, embedding_function=function, metadata=metadata
        )
        collection.add(ids=["1", "2", "3"], documents=TEXTS)
    program = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import chromadb, embosk
        from embosk.chroma import ProtectedEmbeddingFunction
        from toys import DIM, toy

        client = chromadb.PersistentClient(path={str(tmp_path)!r})
        key = {{"OTHER": embosk.Key.from_hex("07" * 32)}}
        same, noisier, bound = {SPEC!r}, {SPEC!r}.replace("0.01", "0.02"), embosk.Stack({SPEC!r}, dim=DIM)
        for stack in (same, noisier, bound):
            function = ProtectedEmbeddingFunction(toy, stack)
            for opened in (client.get_collection, client.get_or_create_collection):
                for name in ("letters", "others"):
                    collection = opened(name, embedding_function=function)
                    assert collection.query(query_texts=[{QUESTION!r}], n_results=1)["documents"] == [[{TEXTS[1]!r}]]
            collection.modify(configuration={{"embedding_function": function}})
        others = [
            "none",
            embosk.Stack({SPEC!r}.replace("EMBOSK_TEST_KEY", "OTHER"), keys=key),
            "permutation(key=env:EMBOSK_TEST_KEY)",
        ]
        for stack in others:
            function = ProtectedEmbeddingFunction(toy, stack)
            for refused in (
                lambda: client.get_collection("letters", embedding_function=function),
                lambda: client.get_or_create_collection("letters", embedding_function=function),
                lambda: collection.modify(configuration={{"embedding_function": function}}),
            ):
                try:
                    refused()
                except embosk.FingerprintError as error:
                    assert "queries that the same stack protected" in str(error), error
                else:
                    raise AssertionError(stack)
        try:
            client.get_collection("letters", embedding_function=chromadb.utils.embedding_functions.ONNXMiniLM_L6_V2())
        except ValueError as error:
            assert "conflict" in str(error)
        else:
            raise AssertionError("another function")
        try:
            client.get_collection("letters").query(query_texts=[{QUESTION!r}], n_results=1)
        except embosk.EmbedderError as error:
            assert "open it with" in str(error)
        else:
            raise AssertionError("no function")
        """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert KEY_HEX not in ran.stdout + ran.stderr


def test_haystack_finds_documents():
    pytest.importorskip("haystack")
    from haystack import Document, Pipeline
    from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
    from haystack.document_stores.in_memory import InMemoryDocumentStore

    from embosk.haystack import ProtectedDocumentEmbedder, ProtectedTextEmbedder

    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    documents = ProtectedDocumentEmbedder(toy, SPEC).run([Document(content=text) for text in TEXTS])["documents"]
    store.write_documents(documents)
    pipeline = Pipeline()
    pipeline.add_component("embedder", ProtectedTextEmbedder(toy, SPEC))
    pipeline.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=1))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    found = pipeline.run({"embedder": {"text": QUESTION}})["retriever"]["documents"]
    assert found[0].content == TEXTS[1]
    ids = [document.id for document in documents]
    expected = embosk.Protected(toy, SPEC).embed_documents(TEXTS, ids=ids)
    assert [document.embedding for document in documents] == expected.tolist()


def test_importing_embosk_imports_no_adapter():
    script = "import embosk, sys; print([name for name in ('pandas', 'pyarrow', 'pyspark', 'ray', 'polars', 'duckdb', 'datafusion', 'openai', 'langchain_core', 'llama_index', 'chromadb', 'haystack') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize(("module", "needs"), [("arrow.protect", "pyarrow"), ("spark.protect", "pyspark"), ("langchain.ProtectedEmbeddings", "langchain_core")])
def test_adapters_are_attributes_of_the_package(module, needs):
    pytest.importorskip(needs)
    script = f"import embosk; print(callable(embosk.{module}), {module.split('.')[0]!r} in dir(embosk))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "True True"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        embosk.nothing

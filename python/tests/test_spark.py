"""Spark: the same bytes as on one machine, on real workers; keys stay out of plans; retrieval as on one machine."""

import functools
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy
import pytest

import embosk
import vault
from conftest import KEY_HEX, unit_rows
from test_goldens import KEYED
from toys import toy

pyspark = pytest.importorskip("pyspark")
pytest.importorskip("pyarrow")
if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
    pytest.skip("Spark needs Java", allow_module_level=True)

from embosk import spark as on_spark  # noqa: E402
from embosk.retrieval import ndcg, search  # noqa: E402

ROTATION = "rotation(key=env:EMBOSK_TEST_KEY)"
NOISE = f"{ROTATION} | gaussian(sigma=0.05, key=env:EMBOSK_TEST_KEY)"
ROWS, DIM = 500, 24
IDS = [f"id {at}" for at in range(ROWS)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("events")


@pytest.fixture(scope="module")
def session(folder):
    from pyspark.sql import SparkSession

    text = embosk.Key.from_hex(KEY_HEX).to_text()
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["EMBOSK_TEST_KEY"] = text
    session = (
        SparkSession.builder.master(os.environ.get("EMBOSK_SPARK_MASTER", "local[2]"))
        .config("spark.executorEnv.EMBOSK_TEST_KEY", text)
        .config("spark.executorEnv.EMBOSK_SHOWN", text)
        .config("spark.redaction.regex", "(?i)secret|_KEY")
        .config("spark.eventLog.enabled", "true")
        .config("spark.eventLog.compress", "false")
        .config("spark.eventLog.dir", folder.as_uri())
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "4")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "64")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture(scope="module")
def vectors():
    return unit_rows(ROWS, DIM)


@pytest.fixture(scope="module")
def frame(session, vectors):
    rows = [(f"id {at}", at, None if at % 50 == 7 else row.tolist()) for at, row in enumerate(vectors)]
    return session.createDataFrame(rows, "id string, n int, vector array<float>").repartition(4)


def collected(frame):
    rows = sorted(frame.collect(), key=lambda row: row.n)
    return [None if row.vector is None else numpy.array(row.vector, "float32") for row in rows]


def are(found, expected):
    """Whether the vectors that were collected are those of one machine, bit by bit."""
    return len(found) == len(expected) and all(
        row is None if at % 50 == 7 else row.tobytes() == expected[at].tobytes() for at, row in enumerate(found)
    )


@pytest.mark.parametrize("spec", KEYED)
@pytest.mark.filterwarnings("ignore:ids make no difference")
def test_the_bytes_are_those_of_one_machine(frame, vectors, spec):
    protected = on_spark.protect(frame, "vector", spec, "id")
    assert protected.schema == frame.schema
    assert are(collected(protected), embosk.Stack(spec).protect(vectors, ids=IDS))


def test_keys_are_read_from_files_on_the_executors(frame, vectors, key_file):
    spec = NOISE.replace("env:EMBOSK_TEST_KEY", f'file:"{key_file}"')
    away = key_file.rename(f"{key_file}.away")
    with pytest.raises(Exception, match=f"InvalidKeyError: .*{key_file.name}"):
        on_spark.protect(frame, "vector", spec, "id").collect()
    away.rename(key_file)
    assert are(collected(on_spark.protect(frame, "vector", spec, "id")), embosk.Stack(NOISE).protect(vectors, ids=IDS))
    os.chmod(key_file, 0o644)
    # a dimension of its own, because workers keep the stacks that they have built
    rows = [(at, row.tolist()) for at, row in enumerate(unit_rows(4, DIM + 1))]
    other = frame.sparkSession.createDataFrame(rows, "n int, vector array<float>")
    with pytest.raises(Exception, match="open to others"):
        on_spark.protect(other, "vector", spec, "n").collect()


def test_the_dimension_of_a_stack_travels(frame):
    for bound in (embosk.Stack(ROTATION, dim=DIM), embosk.Stack(ROTATION)):
        expected = collected(on_spark.protect(frame, "vector", ROTATION))
        assert [repr(row) for row in collected(on_spark.protect(frame, "vector", bound))] == [repr(row) for row in expected]
    other = embosk.Stack(ROTATION, dim=DIM + 1)
    for refused in (
        on_spark.protect(frame, "vector", other),
        on_spark.protect(frame, "vector", ROTATION, dim=DIM + 1),
        on_spark.unprotect(frame, "vector", other),
        on_spark.rekey(frame, "vector", ROTATION, other),
        on_spark.rekey(frame, "vector", other, ROTATION),
    ):
        with pytest.raises(Exception, match=f"bound to dimension {DIM + 1}, the vectors have {DIM}"):
            refused.collect()
    with pytest.raises(embosk.SettingError, match="leave dim out"):
        on_spark.protect(frame, "vector", other, dim=DIM)


def test_doubles_and_a_changed_dimension(session, vectors):
    rows = [(at, row.tolist()) for at, row in enumerate(vectors[:50])]
    frame = session.createDataFrame(rows, "n long, vector array<double>")
    spec = "projection(key=env:EMBOSK_TEST_KEY, dims=5) | gaussian(sigma=0.05, key=env:EMBOSK_TEST_KEY)"
    protected = on_spark.protect(frame, "vector", spec, "n")
    expected = embosk.Stack(spec).protect(vectors[:50], ids=range(50))
    assert (numpy.array([row.vector for row in sorted(protected.collect(), key=lambda row: row.n)]) == expected).all()


def test_a_worker_protects_tables_of_several_dimensions(session):
    for dim in (8, 12, 8):
        clean = unit_rows(20, dim)
        rows = [(at, row.tolist()) for at, row in enumerate(clean)]
        frame = session.createDataFrame(rows, "n int, vector array<float>").coalesce(1)
        found = numpy.array(collected(on_spark.protect(frame, "vector", NOISE, "n")))
        assert found.tobytes() == embosk.Stack(NOISE).protect(clean, ids=range(20)).tobytes()


def test_vectors_are_restored_and_moved_to_another_spec(frame, vectors):
    other = f"{ROTATION} | permutation(key=env:EMBOSK_TEST_KEY)"
    protected = on_spark.protect(frame, "vector", ROTATION)
    restored = collected(on_spark.unprotect(protected, "vector", ROTATION))
    moved = collected(on_spark.rekey(protected, "vector", ROTATION, other))
    expected = embosk.Stack(other).protect(vectors)
    for at in range(ROWS):
        if at % 50 != 7:
            assert numpy.abs(restored[at] - vectors[at]).max() < 1e-6
            assert numpy.abs(moved[at] - expected[at]).max() < 1e-6


def test_vectors_are_moved_to_keyed_noise_and_never_to_fresh_noise(frame, vectors):
    protected = on_spark.protect(frame, "vector", ROTATION)
    old, new = embosk.Stack(ROTATION), embosk.Stack(NOISE)
    moved = collected(on_spark.rekey(protected, "vector", ROTATION, NOISE, "id"))
    assert are(moved, old.rekey(old.protect(vectors), new, ids=IDS))
    expected = new.protect(vectors, ids=IDS)
    assert max(numpy.abs(row - expected[at]).max() for at, row in enumerate(moved) if row is not None) < 1e-6
    for spec in ("gaussian(sigma=0.05)", f"{ROTATION} | dcpe(key=env:EMBOSK_TEST_KEY, beta=0.5)"):
        with pytest.raises(embosk.SettingError, match="draws fresh noise, and a task that runs again would write other bytes"):
            on_spark.rekey(protected, "vector", ROTATION, spec, "id")
    with pytest.raises(embosk.SettingError, match="name the column with id_column"):
        on_spark.rekey(protected, "vector", ROTATION, NOISE)


def test_other_norms_are_refused_or_scaled_on_the_executors(session, vectors):
    longer = 3 * vectors[:100]
    rows = [(at, row.tolist()) for at, row in enumerate(longer)]
    frame = session.createDataFrame(rows, "n int, vector array<float>").coalesce(1)
    found = numpy.array(collected(on_spark.protect(frame, "vector", NOISE, "n", norms="normalize")))
    expected = embosk.Stack(NOISE).protect(longer, ids=range(100), norms="normalize")
    assert found.tobytes() == expected.tobytes()
    with pytest.raises(Exception, match="ArrayError: the column 'vector': row 0 .* has norm 3.000"):
        on_spark.protect(frame, "vector", NOISE, "n", norms="refuse").collect()
    with pytest.raises(Exception, match="has norm 3.000"):
        on_spark.evaluate_retrieval(frame, frame, {0: {0: 1}}, NOISE, id_column="n", norms="refuse")
    with pytest.raises(embosk.SettingError, match='norms must be "warn"'):
        on_spark.protect(frame, "vector", NOISE, "n", norms="scale")


def test_a_key_that_spark_shows_is_warned_of(frame, folder):
    with pytest.warns(UserWarning, match="Spark shows the key in spark.executorEnv.EMBOSK_SHOWN"):
        on_spark.protect(frame, "vector", ROTATION.replace("EMBOSK_TEST_KEY", "EMBOSK_SHOWN"))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Spark shows")
        on_spark.protect(frame, "vector", NOISE, "id").count()
    text = embosk.Key.from_hex(KEY_HEX).to_text()
    events = "".join(path.read_text() for path in folder.rglob("events_*"))
    shown = f'"spark.executorEnv.EMBOSK_SHOWN":"{text}"'
    assert shown in events and text not in events.replace(shown, "")


def test_a_key_is_in_no_plan(frame):
    import io
    from contextlib import redirect_stdout

    protected = on_spark.protect(frame, "vector", NOISE, "id")
    shown = io.StringIO()
    with redirect_stdout(shown):
        protected.explain(True)
    text = embosk.Key.from_env("EMBOSK_TEST_KEY").to_text()
    assert text not in shown.getvalue() and KEY_HEX not in shown.getvalue()
    given = embosk.Stack(ROTATION, keys={"EMBOSK_TEST_KEY": embosk.Key.generate()})
    for refused in (on_spark.protect, on_spark.unprotect, lambda *of: on_spark.rekey(*of, ROTATION)):
        with pytest.raises(embosk.NotPicklableError, match="do not travel"):
            refused(frame, "vector", given)


@pytest.mark.parametrize("keys", [vault.key_of, vault.text_of, "vault:key_of", "vault:opened.key_of"], ids=["a function", "a function of text", "a name", "a dotted name"])
def test_keys_come_from_a_provider_on_the_workers(session, frame, keys, monkeypatch):
    session.sparkContext.addPyFile(vault.__file__)
    spec = NOISE.replace("EMBOSK_TEST_KEY", vault.NAME)
    expected = collected(on_spark.protect(frame, "vector", NOISE, "id"))
    found = collected(on_spark.protect(frame, "vector", spec, "id", keys=keys))
    assert [repr(row) for row in found] == [repr(row) for row in expected]
    rotation = ROTATION.replace("EMBOSK_TEST_KEY", vault.NAME)
    moved = on_spark.rekey(frame, "vector", rotation, rotation, keys=keys)
    restored = collected(on_spark.unprotect(moved, "vector", rotation, keys=keys))
    assert len(restored) == ROWS


def test_what_a_provider_lacks_is_said_by_the_worker(session, frame):
    session.sparkContext.addPyFile(vault.__file__)
    with pytest.raises(Exception, match="KeyError: 'EMBOSK_TEST_KEY'"):
        on_spark.protect(frame, "vector", ROTATION, keys=vault.key_of).collect()
    with pytest.raises(Exception, match="vault:nothing_of returned NoneType for VAULT_KEY"):
        on_spark.protect(frame, "vector", "rotation(key=env:VAULT_KEY)", keys=vault.nothing_of).collect()


def test_a_provider_that_could_carry_a_key_is_refused(frame, key):
    def local(name):
        return key

    refused = [local, lambda name: key, vault.opened.key_of, functools.partial(vault.key_of), key, 7]
    for keys in refused:
        with pytest.raises(embosk.SettingError, match="only its name travels"):
            on_spark.protect(frame, "vector", ROTATION, keys=keys)
    with pytest.raises(embosk.SettingError, match="module:function"):
        on_spark.protect(frame, "vector", ROTATION, keys="vault.key_of")


@pytest.mark.parametrize(
    ("column", "spec", "ids", "kind", "message"),
    [
        ("vector", "gaussian(sigma=0.05)", "id", embosk.SettingError, "would write other bytes"),
        ("vector", "dcpe(key=env:EMBOSK_TEST_KEY, beta=0.5)", "id", embosk.SettingError, "would write other bytes"),
        ("vector", NOISE, None, embosk.SettingError, "name the column with id_column"),
        ("vectors", ROTATION, None, embosk.SettingError, "no column 'vectors'"),
        ("n", ROTATION, None, embosk.ArrayError, "of type int"),
        ("vector", NOISE, "vector", embosk.IdsError, "ids are string, binary"),
        ("vector", "rotate(key=env:A)", None, embosk.SpecError, "unknown defense"),
        ("vector", f"rotation(key={KEY_HEX})", None, embosk.SpecError, "env:NAME"),
    ],
)
def test_what_a_cluster_cannot_do_is_refused_at_once(frame, column, spec, ids, kind, message):
    with pytest.raises(kind, match=message) as refused:
        on_spark.protect(frame, column, spec, ids)
    assert KEY_HEX not in str(refused.value)


def test_retrieval_takes_rows_without_a_vector(session):
    rows = [(f"d{at}", row.tolist()) for at, row in enumerate(unit_rows(8, DIM, 1))]
    schema = "id string, vector array<float>"
    documents = session.createDataFrame(rows, schema).union(session.createDataFrame([("none", None)], schema))
    # the last partition has nothing but a null
    queries = documents.filter("id in ('d1', 'd2', 'none')")
    found = on_spark.evaluate_retrieval(queries, documents, {"d1": {"d1": 1}, "d2": {"d2": 1}}, NOISE)
    assert found["clean"] == 1.0 and found["queries"] == 2
    with pytest.raises(embosk.SettingError, match="no queries with a vector"):
        on_spark.evaluate_retrieval(documents.filter("id = 'none'"), documents, {"d1": {"d1": 1}}, NOISE)


@pytest.fixture(scope="module")
def numbered(session):
    """Documents and queries with whole numbers as ids, in which query n looks for document n."""
    rows = [(at, row.tolist()) for at, row in enumerate(unit_rows(8, DIM, 1))]
    documents = session.createDataFrame(rows, "id long, vector array<float>")
    return documents.filter("id < 4"), documents


def test_qrels_are_a_dict_or_a_frame(session, numbered):
    queries, documents = numbered
    # query 2 is not judged, document 7 is no document, and query 9 is no query
    judged = {0: {0: 2, 7: 0}, 1: {0: 1}, 3: {}, 9: {0: 1}}
    rows = [(query, document, grade) for query, of in judged.items() for document, grade in of.items()]
    as_text = {str(query): {str(document): grade for document, grade in of.items()} for query, of in judged.items()}
    frames = [
        session.createDataFrame(rows, "query_id long, document_id long, grade int"),
        session.createDataFrame([(*map(str, row[:2]), row[2], "x") for row in rows], "query_id string, document_id string, grade short, more string"),
        session.createDataFrame([(str(row[0]).encode(), row[1], row[2]) for row in rows], "query_id binary, document_id int, grade long"),
    ]
    for k in (1, numpy.int64(3), 100):
        found = [on_spark.evaluate_retrieval(queries, documents, qrels, ROTATION, k=k) for qrels in (judged, as_text, *frames)]
        assert found == [found[0]] * len(found) and found[0]["queries"] == 2
        # query 0 finds its document first, and query 1 finds document 0 after its own, if at all
        assert 0.5 <= found[0]["clean"] < 1 and (k > 1 or found[0]["clean"] == 0.5)
        assert found[0]["protected"] == pytest.approx(found[0]["clean"], abs=1e-6)


def test_binary_ids_need_not_be_text(session):
    rows = [(bytes([200 + at, 7]), row.tolist()) for at, row in enumerate(unit_rows(8, DIM, 1))]
    documents = session.createDataFrame(rows, "id binary, vector array<float>")
    qrels = {one: {one: 1} for one, _ in rows}
    assert on_spark.evaluate_retrieval(documents, documents, qrels, NOISE)["clean"] == 1.0


@pytest.mark.parametrize(
    ("changed", "kind", "message"),
    [
        ({"qrels": [(0, 0, 1)]}, embosk.SettingError, "qrels: a Spark DataFrame is needed, not list"),
        ({"qrels": {0: [0]}}, embosk.SettingError, "qrels: query 0 .* has a list; it needs a dict"),
        ({"qrels": {0: {0: 1, 1: 1.5}}}, embosk.SettingError, "qrels: judgement 1 .* has a grade of type float"),
        ({"qrels": {0: {0: "1"}}}, embosk.SettingError, "qrels: judgement 0 .* has a grade of type str"),
        ({"qrels": {0: {None: 1}}}, embosk.SettingError, "qrels: judgement 0 .* lacks the id"),
        ({"qrels": {}}, embosk.SettingError, "qrels: no query has judgements"),
        ({"qrels": {"q0": {"d0": 1}}}, embosk.SettingError, "qrels: no query has judgements; .* compared as text"),
        ({"k": 0}, embosk.SettingError, "k is a whole number"),
        ({"k": "10"}, embosk.SettingError, "k is a whole number"),
        ({"id_column": "name"}, embosk.SettingError, r"queries: there is no column 'name'; the columns are \["),
        ({"column": "id"}, embosk.ArrayError, "queries: the column 'id' is of type bigint"),
        ({"documents": None}, embosk.SettingError, "documents: a Spark DataFrame is needed, not NoneType"),
        ({"spec": "gaussian(sigma=0.05)"}, embosk.SettingError, "draws fresh noise"),
    ],
)
def test_what_retrieval_cannot_measure_is_refused_by_name(numbered, changed, kind, message):
    queries, documents = numbered
    usual = {"queries": queries, "documents": documents, "qrels": {0: {0: 1}}, "spec": ROTATION}
    with pytest.raises(kind, match=message):
        on_spark.evaluate_retrieval(**{**usual, **changed})


def test_qrels_of_a_frame_are_checked(session, numbered):
    for row, schema, message in (
        ((0, 0, 1), "query long, document_id long, grade int", "qrels: there is no column 'query_id'"),
        ((0, 0, 1.0), "query_id long, document_id long, grade double", "judgement 0 .* of type float"),
        ((0, 0, None), "query_id long, document_id long, grade int", "judgement 0 .* of type NoneType"),
        ((None, 0, 1), "query_id long, document_id long, grade int", "judgement 0 .* lacks the id"),
    ):
        with pytest.raises(embosk.SettingError, match=message):
            on_spark.evaluate_retrieval(*numbered, session.createDataFrame([row], schema), ROTATION)


def test_retrieval_needs_ids(session, numbered):
    queries, documents = numbered
    without = documents.union(session.createDataFrame([(None, unit_rows(1, DIM)[0].tolist())], documents.schema))
    with pytest.raises(embosk.IdsError, match="a query has no id"):
        on_spark.evaluate_retrieval(without, documents, {0: {0: 1}}, ROTATION)
    with pytest.raises(Exception, match="IdsError: a document has no id"):
        on_spark.evaluate_retrieval(queries, without, {0: {0: 1}}, ROTATION)


def test_retrieval_is_that_of_one_machine(session):
    documents, queries = unit_rows(400, DIM, 1), unit_rows(20, DIM, 2)
    ids = [f"d{at}" for at in range(400)]
    generator = numpy.random.default_rng(3)
    qrels = {f"q{at}": {ids[one]: int(generator.integers(0, 3)) for one in generator.integers(0, 400, 60)} for at in range(20)}
    qrels["q3"] = {}
    on_cluster = on_spark.evaluate_retrieval(
        session.createDataFrame([(f"q{at}", row.tolist()) for at, row in enumerate(queries)], "id string, vector array<float>"),
        session.createDataFrame(list(zip(ids, documents.tolist())), "id string, vector array<float>").repartition(5),
        qrels,
        NOISE,
    )
    stack = embosk.Stack(NOISE)
    sides = {
        "clean": (documents, queries),
        "protected": (
            stack.protect(documents, ids=ids),
            stack.protect(queries, role="query", ids=[f"q{at}" for at in range(20)]),
        ),
    }
    for side, (stored, asked) in sides.items():
        found = search(stored, asked, 10, ids)
        scores = [ndcg([ids[at] for at, _ in hits], qrels[f"q{query}"]) for query, hits in enumerate(found)]
        scores = [score for score in scores if score is not None]
        assert on_cluster[side] == pytest.approx(numpy.mean(scores), abs=1e-12), side
    assert on_cluster["queries"] == 19


@pytest.mark.parametrize("spec", ["none", ROTATION, "quantization(bits=8)"])
def test_retrieval_is_that_of_an_evaluation(session, collection, spec):
    report = embosk.evaluate(toy, collection.folder, ["none", spec], attack="none", name="toy", normalizer="none")
    scores = {row["defense"]: row["ndcg_at_10"]["value"] for row in report.rows}
    clean, *protected = scores.values()

    def frame(texts):
        rows = list(zip(texts, toy(list(texts.values())).tolist()))
        return session.createDataFrame(rows, "id string, vector array<float>")

    documents = frame(collection.documents).repartition(3)
    found = on_spark.evaluate_retrieval(frame(collection.queries), documents, collection.qrels, spec)
    assert found["queries"] == len(collection.queries) and 0.1 < clean < 0.9
    assert found["clean"] == pytest.approx(clean, abs=1e-12)
    assert found["protected"] == pytest.approx(protected[0] if protected else clean, abs=1e-12)


def test_a_worker_that_is_killed_loses_nothing(tmp_path):
    bench = Path(__file__).parents[1] / "benches" / "spark.py"
    arguments = [tmp_path, "20000", "--workers", "--kill", "2"]
    ran = subprocess.run([sys.executable, bench, *arguments], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "one of 2 workers killed" in ran.stdout and "all 20000 rows are those of one machine" in ran.stdout

"""Ray Data: the same bytes as on one machine, on real workers, one of which is killed; keys stay out of plans."""

import functools
import os
import signal
from pathlib import Path

import numpy
import pytest

import embosk
import vault
from conftest import KEY_HEX, unit_rows

ray = pytest.importorskip("ray")
pytest.importorskip("ray.data")
pyarrow = pytest.importorskip("pyarrow")

from embosk import ray as on_ray  # noqa: E402

ROTATION = "rotation(key=env:EMBOSK_TEST_KEY)"
NOISE = f"{ROTATION} | gaussian(sigma=0.05, key=env:EMBOSK_TEST_KEY)"
PROJECTION = "projection(key=env:EMBOSK_TEST_KEY, dims=5) | gaussian(sigma=0.05, key=env:EMBOSK_TEST_KEY)"
ROWS, DIM = 500, 24


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory):
    text = embosk.Key.from_hex(KEY_HEX).to_text()
    with pytest.MonkeyPatch.context() as patch:
        # what workers have from the machine that they run on
        patch.setenv("EMBOSK_TEST_KEY", text)
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")])))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            num_cpus=2,
            object_store_memory=100_000_000,
            include_dashboard=False,
            log_to_driver=False,
            runtime_env={"env_vars": {"EMBOSK_SHOWN": text}},
        )
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def vectors():
    return unit_rows(ROWS, DIM)


@pytest.fixture(scope="module")
def dataset(vectors):
    rows = [None if at % 50 == 7 else row.tolist() for at, row in enumerate(vectors)]
    table = pyarrow.table(
        {
            "id": [f"id {at}" for at in range(ROWS)],
            "n": numpy.arange(ROWS),
            "vector": pyarrow.array(rows, pyarrow.list_(pyarrow.float32())),
        }
    )
    return ray.data.from_arrow([table.slice(at, 100) for at in range(0, ROWS, 100)])


def collected(dataset):
    """The vectors in the order of their numbers; each row must be there once."""
    found = {}
    for row in dataset.iter_rows():
        assert row["n"] not in found
        found[row["n"]] = None if row["vector"] is None else numpy.array(row["vector"], "float32")
    assert sorted(found) == list(range(len(found)))
    return [found[at] for at in range(len(found))]


def same(found, expected):
    return len(found) == len(expected) and all(row.tobytes() == other.tobytes() for row, other in zip(found, expected))


def test_the_bytes_are_those_of_one_machine(dataset, vectors):
    protected = on_ray.protect(dataset, "vector", NOISE, "id", batch_size=64)
    assert protected.schema().base_schema == dataset.schema().base_schema
    expected = embosk.Stack(NOISE).protect(vectors, ids=[f"id {at}" for at in range(ROWS)])
    found = collected(protected)
    assert [at for at, row in enumerate(found) if row is None] == list(range(7, ROWS, 50))
    assert all(row is None or row.tobytes() == other.tobytes() for row, other in zip(found, expected))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_tensors_stay_tensors_also_of_another_dimension(vectors, dtype):
    columns = {"n": numpy.arange(50), "vector": vectors[:50].astype(dtype)}
    dataset = ray.data.from_items(list(range(50)), override_num_blocks=3).map_batches(
        lambda batch: {name: values[batch["item"]] for name, values in columns.items()}
    )
    for spec in (NOISE, PROJECTION):
        protected = on_ray.protect(dataset, "vector", spec, "n")
        rows = sorted(protected.take_all(), key=lambda row: row["n"])
        found = numpy.stack([row["vector"] for row in rows])
        expected = embosk.Stack(spec).protect(columns["vector"], ids=range(50))
        assert found.dtype == dtype and found.tobytes() == expected.tobytes()


def test_tensors_of_other_shapes_are_refused_on_the_worker():
    dataset = ray.data.from_numpy(numpy.ones((4, 2, 3), "float32"))
    with pytest.raises(Exception, match="tensors of one dimension"):
        on_ray.protect(dataset, "data", ROTATION).take_all()


def test_vectors_are_restored_and_moved_to_another_spec(vectors):
    dataset = ray.data.from_arrow(pyarrow.table({"n": numpy.arange(ROWS), "vector": list(vectors)}))
    other = f"{ROTATION} | permutation(key=env:EMBOSK_TEST_KEY)"
    protected = on_ray.protect(dataset, "vector", ROTATION)
    restored = collected(on_ray.unprotect(protected, "vector", ROTATION))
    moved = collected(on_ray.rekey(protected, "vector", ROTATION, other))
    assert numpy.abs(restored - vectors).max() < 1e-6
    assert numpy.abs(moved - embosk.Stack(other).protect(vectors)).max() < 1e-6


def test_a_worker_protects_tables_of_several_dimensions():
    for dim in (8, 12, 8):
        clean = unit_rows(20, dim)
        table = pyarrow.table({"n": numpy.arange(20), "vector": list(clean)})
        found = collected(on_ray.protect(ray.data.from_arrow(table), "vector", NOISE, "n"))
        assert same(found, embosk.Stack(NOISE).protect(clean, ids=range(20)))


def test_other_norms_are_refused_or_scaled_on_the_workers(vectors):
    longer = 3 * vectors
    dataset = ray.data.from_arrow(pyarrow.table({"n": numpy.arange(ROWS), "vector": list(longer)}))
    found = collected(on_ray.protect(dataset, "vector", NOISE, "n", norms="normalize", batch_size=64))
    assert same(found, embosk.Stack(NOISE).protect(longer, ids=range(ROWS), norms="normalize"))
    with pytest.raises(Exception, match="the column 'vector': row 0 .* has norm 3.000"):
        on_ray.protect(dataset, "vector", NOISE, "n", norms="refuse").take_all()
    with pytest.raises(embosk.SettingError, match='norms must be "warn"'):
        on_ray.protect(dataset, "vector", NOISE, "n", norms="scale")


def test_a_task_whose_worker_was_killed_writes_the_same_bytes(dataset, tmp_path):
    expected = collected(on_ray.protect(dataset.drop_columns(["vector"]).map_batches(filled), "vector", NOISE, "id"))
    killed = tmp_path / "killed"
    dying = dataset.drop_columns(["vector"]).map_batches(filled).map_batches(functools.partial(die_once, noted=str(killed)))
    found = collected(on_ray.protect(dying, "vector", NOISE, "id"))
    assert killed.exists() and same(found, expected)


def filled(batch):
    return {**batch, "vector": unit_rows(ROWS, DIM, 3)[batch["n"]]}


def die_once(batch, noted):
    """Kills the worker in the middle of the dataset, the first time."""
    if 250 in batch["n"] and not os.path.exists(noted):
        Path(noted).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return batch


def test_a_key_is_in_no_plan(dataset):
    protected = on_ray.protect(dataset, "vector", NOISE, "id")
    plan = ray.cloudpickle.dumps(protected)
    key = embosk.Key.from_env("EMBOSK_TEST_KEY")
    assert b"EMBOSK_TEST_KEY" in plan
    assert not any(secret in plan for secret in (key.to_text().encode(), KEY_HEX.encode(), bytes.fromhex(KEY_HEX)))
    given = embosk.Stack(ROTATION, keys={"EMBOSK_TEST_KEY": embosk.Key.generate()})
    with pytest.raises(embosk.NotPicklableError, match="do not travel"):
        on_ray.protect(dataset, "vector", given)


def test_a_key_that_ray_shows_is_warned_of(dataset):
    with pytest.warns(UserWarning, match="Ray shows the key in the variable EMBOSK_SHOWN"):
        on_ray.protect(dataset, "vector", ROTATION.replace("EMBOSK_TEST_KEY", "EMBOSK_SHOWN"))


@pytest.mark.parametrize("keys", [vault.key_of, vault.text_of, "vault:key_of", "vault:opened.key_of"], ids=["a function", "a function of text", "a name", "a dotted name"])
def test_keys_come_from_a_provider_on_the_workers(dataset, keys):
    spec = NOISE.replace("EMBOSK_TEST_KEY", vault.NAME)
    expected = collected(on_ray.protect(dataset, "vector", NOISE, "id"))
    found = collected(on_ray.protect(dataset, "vector", spec, "id", keys=keys))
    assert [repr(row) for row in found] == [repr(row) for row in expected]


def test_what_a_provider_lacks_is_said_by_the_worker(dataset):
    with pytest.raises(Exception, match="KeyError: 'EMBOSK_TEST_KEY'"):
        on_ray.protect(dataset, "vector", ROTATION, keys=vault.key_of).take_all()
    with pytest.raises(Exception, match="vault:nothing_of returned NoneType for VAULT_KEY"):
        on_ray.protect(dataset, "vector", "rotation(key=env:VAULT_KEY)", keys=vault.nothing_of).take_all()


@pytest.mark.parametrize(
    ("column", "spec", "ids", "kind", "message"),
    [
        ("vector", "gaussian(sigma=0.05)", "id", embosk.SettingError, "would write other bytes"),
        ("vector", "dcpe(key=env:EMBOSK_TEST_KEY, beta=0.5)", "id", embosk.SettingError, "would write other bytes"),
        ("vector", NOISE, None, embosk.SettingError, "name the column with id_column"),
        ("vectors", ROTATION, None, embosk.SettingError, "no column 'vectors'"),
        ("vector", NOISE, "name", embosk.SettingError, "no column 'name'"),
        ("vector", "rotate(key=env:A)", None, embosk.SpecError, "unknown defense"),
        ("vector", f"rotation(key={KEY_HEX})", None, embosk.SpecError, "env:NAME"),
    ],
)
def test_what_a_cluster_cannot_do_is_refused_at_once(dataset, column, spec, ids, kind, message):
    with pytest.raises(kind, match=message) as refused:
        on_ray.protect(dataset, column, spec, ids)
    assert KEY_HEX not in str(refused.value)


@pytest.mark.parametrize(("column", "ids", "message"), [("n", None, "of type int64"), ("vector", "vector", "the column .vector.: an id must be a str")])
def test_what_is_wrong_with_a_column_is_said_by_the_worker(dataset, column, ids, message):
    with pytest.raises(Exception, match=message):
        on_ray.protect(dataset, column, NOISE, ids or "id").take_all()

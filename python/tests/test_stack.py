"""Keys and stacks: shapes, dtypes, errors by kind, and what is pickled."""

import copy
import os
import pickle
import threading
import uuid
import warnings

import numpy
import pytest

import embosk
from conftest import KEY_HEX, unit_rows

ROTATION = "rotation(key=env:EMBOSK_TEST_KEY)"


def test_a_key_is_made_in_five_ways_and_never_shown(key, key_file):
    ways = [
        embosk.Key.from_env("EMBOSK_TEST_KEY"),
        embosk.Key.from_file(key_file),
        embosk.Key.from_text(key.to_text()),
        embosk.Key.from_hex(KEY_HEX.upper()),
    ]
    assert all(way == key for way in ways) and embosk.Key.generate() != key
    assert repr(key) == str(key) == f"Key(fingerprint:{key.fingerprint})"
    assert KEY_HEX not in repr(key)
    for refused in (pickle.dumps, copy.deepcopy):
        with pytest.raises(embosk.NotPicklableError, match="a key is not pickled"):
            refused(key)


@pytest.mark.parametrize("digits", ["", "00", "zz" * 32, "0" * 63, "0" * 66])
def test_what_is_not_a_key_is_refused_and_not_repeated(digits):
    with pytest.raises(embosk.InvalidKeyError) as refused:
        embosk.Key.from_hex(digits)
    assert not digits or digits not in str(refused.value)


def test_a_key_that_others_can_read_is_refused(key_file):
    os.chmod(key_file, 0o644)
    with pytest.raises(embosk.InvalidKeyError, match="chmod 600"):
        embosk.Key.from_file(key_file)
    with pytest.raises(embosk.InvalidKeyError, match="EMBOSK_NO_SUCH_KEY"):
        embosk.Stack("rotation(key=env:EMBOSK_NO_SUCH_KEY)")


def test_a_given_key_stands_for_its_variable(key, monkeypatch):
    vectors = unit_rows(3, 8)
    expected = embosk.Stack(ROTATION).protect(vectors)
    monkeypatch.delenv("EMBOSK_TEST_KEY")
    stack = embosk.Stack(ROTATION, keys={"EMBOSK_TEST_KEY": key})
    assert (stack.protect(vectors) == expected).all()
    with pytest.raises(embosk.NotPicklableError, match="EMBOSK_TEST_KEY"):
        pickle.dumps(stack)
    assert copy.deepcopy(stack) is stack
    with pytest.raises(embosk.SettingError, match="does not name it"):
        embosk.Stack("none", keys={"EMBOSK_TEST_KEY": key})
    with pytest.raises(embosk.SettingError, match="a dict from names"):
        embosk.Stack(ROTATION, keys={"EMBOSK_TEST_KEY": KEY_HEX})


@pytest.mark.parametrize("spec", [ROTATION, "rotation(key=file:a.key) | quantization(bits=8)", "gaussian(sigma=0.01)"])
def test_a_stack_whose_keys_are_named_is_pickled_as_its_spec(spec, key_file, monkeypatch):
    monkeypatch.chdir(key_file.parent)
    for stack in (embosk.Stack(spec), embosk.Stack(spec, dim=8)):
        again = pickle.loads(pickle.dumps(stack))
        assert (again.spec, repr(again), str(again)) == (stack.spec, repr(stack), str(stack))
        assert again.fingerprint == stack.fingerprint
        assert KEY_HEX.encode() not in pickle.dumps(stack)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_every_dtype_and_shape_is_given_back(dtype):
    vectors = unit_rows(5, 8).astype(dtype)
    before = vectors.copy()
    stack = embosk.Stack(ROTATION)
    protected = stack.protect(vectors)
    assert (protected.dtype, protected.shape) == (vectors.dtype, vectors.shape)
    assert (vectors == before).all() and not numpy.shares_memory(vectors, protected)
    exact = stack.protect(vectors.astype("float32"))
    assert (protected == exact.astype(dtype)).all()
    one = stack.protect(vectors[2])
    assert one.shape == (8,) and (one == protected[2]).all()
    assert stack.protect(vectors[:0]).shape == (0, 8)
    for view in (vectors[::2], numpy.asfortranarray(vectors), vectors[:, ::-1]):
        assert (stack.protect(view) == stack.protect(view.copy("C"))).all()


def test_large_batches_are_the_rows_one_by_one():
    vectors = unit_rows(20_000, 16)
    stack = embosk.Stack(ROTATION)
    protected = stack.protect(vectors.astype("float64"))
    assert (protected[19_999] == stack.protect(vectors[19_999])).all()


class Interface:
    """What makes an array of itself, or fails to."""

    def __init__(self, made):
        self.made = made

    def __array__(self, dtype=None, copy=None):
        if isinstance(self.made, Exception):
            raise self.made
        return self.made


@pytest.mark.parametrize(
    ("array", "kind", "message"),
    [
        (numpy.zeros((2, 2, 2), "float32"), embosk.ArrayError, "3 dimensions"),
        (numpy.float32(1).reshape(()), embosk.ArrayError, "0 dimensions"),
        (numpy.zeros((2, 2), "int32"), embosk.ArrayError, "dtype is int32"),
        (numpy.zeros((2, 2), ">f4"), embosk.ArrayError, "dtype is >f4"),
        (numpy.zeros((2, 2), "complex64"), embosk.ArrayError, "complex64"),
        (numpy.ma.masked_array(numpy.ones((2, 2), "float32"), [[0, 1], [0, 0]]), embosk.ArrayError, "is masked.*array.filled"),
        (numpy.ma.masked_array(numpy.ones(2, "float64")), embosk.ArrayError, "is masked"),
        (Interface(numpy.ma.ones((2, 2))), embosk.ArrayError, "is masked"),
        (Interface(RuntimeError("requires grad")), embosk.ArrayError, "made of the Interface; a tensor has one as"),
        ([[1.0, 2.0]], embosk.ArrayError, "numpy.asarray"),
        ("text", embosk.ArrayError, "not str"),
        (numpy.array([[1, 0], [0, numpy.nan]], "float32"), embosk.NotFiniteError, "row 1"),
        (numpy.array([[numpy.inf, 0]], "float64"), embosk.NotFiniteError, "row 0"),
        (numpy.array([[1e300, 0]], "float64"), embosk.NotFiniteError, "row 0"),
    ],
)
def test_what_is_not_vectors_is_refused_by_name(array, kind, message):
    with pytest.raises(kind, match=message):
        embosk.Stack("none").protect(array)


def test_other_arrays_are_read_as_what_they_hold():
    vectors = unit_rows(3, 8)
    expected = embosk.Stack(ROTATION).protect(vectors)
    assert (embosk.Stack(ROTATION).protect(Interface(vectors)) == expected).all()
    assert (embosk.Stack(ROTATION).protect(vectors.view(numpy.matrix)) == expected).all()


def test_float16_that_would_overflow_is_refused():
    with pytest.raises(embosk.NotFiniteError, match="row 1 .*float16"):
        embosk.Stack(ROTATION).protect(numpy.array([[1, 0], [65_504, 65_504]], "float16") * numpy.float16(1))


def test_dimensions():
    stack = embosk.Stack(ROTATION)
    stack.protect(unit_rows(2, 8))
    with pytest.raises(embosk.DimensionError, match="8.*9"):
        stack.protect(unit_rows(2, 9))
    bound = embosk.Stack("gaussian(sigma=0.01)", dim=8)
    with pytest.raises(embosk.DimensionError, match="8.*9"):
        bound.protect(unit_rows(2, 9))
    assert "dim=8" in embosk.Stack(ROTATION, dim=8).fingerprint
    assert embosk.Stack("projection(key=env:EMBOSK_TEST_KEY, dims=3)").dimension(8) == 3
    assert embosk.Stack("projection(key=env:EMBOSK_TEST_KEY, dims=3)").protect(unit_rows(2, 8)).shape == (2, 3)


@pytest.mark.parametrize(
    ("spec", "kind", "message"),
    [
        ("rotate(key=env:A)", embosk.SpecError, "character 1: unknown defense `rotate`"),
        ("gaussian(sigma=-1)", embosk.SettingError, "sigma"),
        (f"rotation(key={KEY_HEX})", embosk.SpecError, "env:NAME"),
        ("projection(fit=file:no-such-fit)", embosk.FitError, "no-such-fit"),
        ("rotation(key=file:no-such-key)", embosk.InvalidKeyError, "no-such-key"),
    ],
)
def test_specs_are_refused_where_they_are_wrong(spec, kind, message):
    with pytest.raises(kind, match=message) as refused:
        embosk.Stack(spec)
    assert KEY_HEX not in str(refused.value)
    assert isinstance(refused.value, (embosk.EmboskError, ValueError))


def test_roles_and_ids_are_checked():
    stack = embosk.Stack("gaussian(sigma=0.05, key=env:EMBOSK_TEST_KEY)")
    vectors = unit_rows(3, 8)
    with pytest.raises(embosk.SettingError, match="document"):
        stack.protect(vectors, role="passage")
    for unordered in ({"a", "b", "c"}, {"a": 1, "b": 2, "c": 3}):
        with pytest.raises(embosk.IdsError, match="in the order of the rows"):
            stack.protect(vectors, ids=unordered)
    with pytest.raises(embosk.IdsError, match="3 rows were given 2 ids"):
        stack.protect(vectors, ids=["a", "b"])
    masked = numpy.ma.masked_array([1, 2, 3], [0, 1, 0])
    for ids, message in (
        (["a", None, "c"], "row 1"),
        (["a", "b", 1.5], "row 2"),
        ([True, False, True], "row 0"),
        ("abc", "not one str"),
        (7, "not int"),
        (["a", "\ud800", "c"], "the id of row 1 holds half of a surrogate pair"),
        (masked, "row 1 is of type NoneType"),
    ):
        with pytest.raises(embosk.IdsError, match=message):
            stack.protect(vectors, ids=ids)
    same = [["7", "8", "9"], [b"7", b"8", b"9"], (7, 8, 9), numpy.array([7, 8, 9]), numpy.array(["7", "8", "9"])]
    protected = [stack.protect(vectors, ids=ids).tobytes() for ids in same]
    assert len(set(protected)) == 1
    assert (stack.protect(vectors[0], ids="7") == stack.protect(vectors, ids=same[0])[0]).all()
    uuids = [uuid.UUID(int=at) for at in range(3)]
    named = stack.protect(vectors, ids=[str(one) for one in uuids])
    assert (stack.protect(vectors, ids=uuids) == named).all() and (stack.protect(vectors[0], ids=uuids[0]) == named[0]).all()
    with pytest.warns(UserWarning, match="row 2 .* repeats an id"):
        stack.protect(vectors, ids=["a", "b", "a"])
    with pytest.warns(UserWarning, match="ids make no difference"):
        embosk.Stack("none").protect(vectors, ids=["a", "b", "c"])
    with pytest.warns(UserWarning, match="mean norm of 4"):
        stack.protect(vectors * 4, ids=["a", "b", "c"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stack.protect(vectors * 4, ids=["a", "b", "c"])  # it was said
    mixed = vectors * [[0.5], [1.5], [1]]
    with pytest.warns(UserWarning, match=r"mean norm of 1.000 \(from 0.500 to 1.500\)"):
        embosk.Stack(stack.spec).protect(mixed, ids=["a", "b", "c"])
    embosk.Stack("gaussian(sigma=0.05, on=queries)").protect(mixed)
    with pytest.raises(embosk.ArrayError, match=r"row 0 \(counted from 0\) has norm 0.500"):
        stack.protect(mixed, ids=["a", "b", "c"], norms="refuse")
    with pytest.raises(embosk.SettingError, match='norms must be "warn"'):
        stack.protect(mixed, norms="scale")
    normalized = stack.protect(mixed, ids=["a", "b", "c"], norms="normalize")
    assert numpy.abs(normalized - stack.protect(vectors, ids=["a", "b", "c"])).max() < 1e-6
    assert stack.uses_ids() and stack.is_repeatable() and not embosk.Stack("none").uses_ids()
    fresh = embosk.Stack("gaussian(sigma=0.05, on=documents)")
    assert not fresh.is_repeatable() and fresh.is_repeatable("query")
    assert (fresh.protect(vectors) != fresh.protect(vectors)).any()
    for beta, is_repeatable in ((0.5, False), (0, True)):
        assert embosk.Stack(f"dcpe(key=env:EMBOSK_TEST_KEY, beta={beta})").is_repeatable() == is_repeatable


def test_fingerprints():
    stack = embosk.Stack(ROTATION, dim=8)
    stack.check_fingerprint(stack.fingerprint)
    other = embosk.Stack(ROTATION, dim=8, keys={"EMBOSK_TEST_KEY": embosk.Key.generate()})
    with pytest.raises(embosk.FingerprintError, match="key"):
        other.check_fingerprint(stack.fingerprint)


def test_what_can_be_undone_is_undone_and_moved_to_another_key():
    vectors = unit_rows(50, 16)
    old = embosk.Stack("rotation(key=env:EMBOSK_TEST_KEY) | scaling(key=env:EMBOSK_TEST_KEY)")
    new = embosk.Stack(ROTATION, keys={"EMBOSK_TEST_KEY": embosk.Key.generate()})
    assert numpy.abs(old.unprotect(old.protect(vectors)) - vectors).max() < 1e-6
    assert numpy.abs(old.rekey(old.protect(vectors), new) - new.protect(vectors)).max() < 1e-6
    assert old.unprotect(old.protect(vectors[0].astype("float64"))).dtype == "float64"
    for spec in ("gaussian(sigma=0.01)", f"{ROTATION} | quantization(bits=8)", "projection(key=env:EMBOSK_TEST_KEY, dims=3)"):
        with pytest.raises(embosk.NotInvertibleError, match="cannot be undone"):
            embosk.Stack(spec).unprotect(vectors)


def test_codes_are_packed_unpacked_and_stored():
    vectors = unit_rows(6, 16)
    stack = embosk.Stack(f"{ROTATION} | quantization(bits=4)")
    codes = stack.encode(vectors)
    assert (codes.dim, len(codes), codes.bytes.shape, codes.scales.shape) == (16, 6, (6, 8), (6,))
    assert (stack.decode(codes) == stack.protect(vectors)).all()
    stored = embosk.Codes(codes.dim, codes.bytes, codes.scales)
    for same in (stored, pickle.loads(pickle.dumps(codes))):
        assert (stack.decode(same) == stack.protect(vectors)).all()
    with pytest.raises(embosk.CodesError):
        stack.decode(embosk.Codes(17, codes.bytes, codes.scales))
    with pytest.raises(embosk.CodesError, match="the stack has no codes"):
        embosk.Stack(ROTATION).encode(vectors)


def test_guarantees():
    noise = embosk.Stack(f"{ROTATION} | gaussian(sigma=0.1)").guarantee
    assert round(noise.epsilon(1e-5)) == 284 and noise.sigma() == 0.1
    assert noise.over(4) == embosk.Stack("gaussian(sigma=0.05)").guarantee
    assert embosk.Stack(ROTATION).guarantee.epsilon(1e-5) == float("inf")
    assert round(embosk.Guarantee.sigma_for(1.0, 1e-5), 2) == 7.46
    with pytest.raises(embosk.SettingError, match="delta"):
        noise.epsilon(2)


def test_other_threads_go_on_while_vectors_are_protected():
    stack = embosk.Stack(ROTATION, dim=768)
    vectors = unit_rows(20_000, 768)
    ticks, done = [0], threading.Event()

    def tick():
        while not done.is_set():
            ticks[0] += 1

    thread = threading.Thread(target=tick)
    thread.start()
    before = ticks[0]
    stack.protect(vectors)
    during = ticks[0] - before
    done.set()
    thread.join()
    # a thread that had to wait for the lock would be let in a few times at most
    assert during > 1000


KEY = embosk.Key.from_hex(KEY_HEX)
STACK = embosk.Stack("none")


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: embosk.Key.from_text(7), embosk.InvalidKeyError, "must be a str, not int"),
        (lambda: embosk.Key.from_env(None), embosk.InvalidKeyError, "must be a str, not NoneType"),
        (lambda: embosk.Key.from_hex(b"00"), embosk.InvalidKeyError, "must be a str, not bytes"),
        (lambda: embosk.Key.from_text("\ud800"), embosk.InvalidKeyError, "half of a surrogate pair"),
        (lambda: embosk.Key.from_file(None), embosk.InvalidKeyError, "must be a str or a Path, not NoneType"),
        (lambda: embosk.Stack(None), embosk.SpecError, "a spec must be a str, not NoneType"),
        (lambda: embosk.Stack("rotation(key=file:\ud800)"), embosk.SpecError, "half of a surrogate pair"),
        (lambda: embosk.Stack("none", dim=-1), embosk.SettingError, "dim is a whole number of at least 1"),
        (lambda: embosk.Stack("none", dim="8"), embosk.SettingError, "dim is a whole number of at least 1"),
        (lambda: embosk.Stack("none", dim=0), embosk.SettingError, "dim is a whole number of at least 1"),
        (lambda: embosk.Stack(ROTATION, keys=KEY), embosk.SettingError, "a dict from names"),
        (lambda: STACK.rekey(unit_rows(2, 8), "none"), embosk.SettingError, r"not str: embosk.Stack\(spec\)"),
        (lambda: STACK.check_fingerprint(None), embosk.FingerprintError, "a fingerprint must be a str"),
        (lambda: STACK.check_fingerprint("nothing"), embosk.SettingError, "must be the fingerprint that the stack gave"),
        (lambda: STACK.dimension(-1), embosk.SettingError, "dim is"),
        (lambda: embosk.Stack("quantization(bits=8)").decode(unit_rows(2, 8)), embosk.CodesError, "embosk.Codes, not ndarray"),
        (lambda: embosk.Codes(8, unit_rows(2, 8)), embosk.CodesError, "bytes are .* of uint8"),
        (lambda: embosk.Codes(8, numpy.zeros((2, 8), "uint8"), [1.0]), embosk.CodesError, "scales are .* of float32"),
        (lambda: STACK.guarantee.over(-1), embosk.SettingError, "releases is a whole number"),
        (lambda: embosk.Embedder().embed("a text"), embosk.SettingError, "put a single text into a list"),
        (lambda: embosk.Embedder().embed({"a", "b"}), embosk.SettingError, "texts must be a list of str, not set"),
        (lambda: embosk.Embedder().embed(7), embosk.SettingError, "texts must be a list of str, not int"),
        (lambda: embosk.Embedder()(["a", 7]), embosk.SettingError, "text 1 must be a str, not int"),
        (lambda: embosk.Embedder().embed(["a", "b \ud800"]), embosk.SettingError, "text 1 holds half of a surrogate pair"),
        (lambda: embosk.Report.from_json(7), embosk.SettingError, "a report's JSON must be a str"),
        (lambda: embosk.gate(7), embosk.SettingError, "a budget must be the path of a file, or its text"),
        (lambda: embosk.gate(os.devnull + "\0"), embosk.SettingError, "no such budget"),
    ],
)
def test_arguments_of_other_types_are_refused_by_name(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_messages_have_the_words_of_python():
    """Names of Rust's types and methods mean nothing here."""
    calls = [
        lambda: STACK.check_fingerprint("nothing"),
        lambda: STACK.check_fingerprint("embosk9 nothing"),
        lambda: embosk.Stack(f"projection(fit=file:{__file__})"),
        lambda: embosk.Stack(f"product_quantization(codebook=file:{__file__})"),
        lambda: embosk.Stack(f"microaggregation(groups=file:{__file__})"),
        lambda: embosk.Stack(f"quantization(bits=8, scale=file:{__file__})"),
        lambda: embosk.Stack(f"{ROTATION} | quantization(bits=8)").unprotect(unit_rows(2, 8)),
        lambda: embosk.Stack("none").protect(numpy.full((1, 2), numpy.nan, "float32")),
        lambda: embosk.Embedder("no/such folder"),
        lambda: embosk.Report.from_json("{}"),
    ]
    for call in calls:
        with pytest.raises(embosk.EmboskError) as refused:
            call()
        message = str(refused.value)
        assert not any(word in message for word in ("::", "Vec<", "f32", "usize", "to_bytes", "cargo")), message

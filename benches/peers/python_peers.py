"""numpy and FAISS on vectors from a file, one thread: python_peers.py FILE DIM SECONDS

Each operation writes to memory that it has already, as ours do, so that it is seen at its best.
"""

import json
import sys
import time

import faiss
import numpy

SIGMA = numpy.float32(0.01)
BLOCK = 0.002  # calls are timed together until they take so many seconds


def main() -> None:
    file, dim, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    faiss.omp_set_num_threads(1)
    vectors = numpy.fromfile(file, dtype="<f4").reshape(-1, dim)
    for rows in (1, len(vectors)):
        for name, operation in operations(vectors, rows):
            line = {"name": name, "dim": dim, "rows": rows, "seconds": best_time(operation, seconds)}
            print(json.dumps(line))


def operations(all_vectors: numpy.ndarray, rows: int):
    dim = all_vectors.shape[1]
    vectors = all_vectors[:rows].copy()
    out = numpy.empty_like(vectors)
    yield "numpy: standard_normal, add", noise(vectors, out)
    yield "numpy: @", product(vectors, out)
    rotation = faiss.RandomRotationMatrix(dim, dim)
    rotation.init(1)
    pointers = faiss.swig_ptr(vectors), faiss.swig_ptr(out)
    yield "FAISS: RandomRotationMatrix", lambda: rotation.apply_noalloc(rows, *pointers)
    quantizer = faiss.ScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit)
    quantizer.train(all_vectors)
    codes = numpy.empty((rows, quantizer.code_size), dtype=numpy.uint8)
    encode = lambda: compute_codes(quantizer, vectors, codes)
    yield "FAISS: ScalarQuantizer, encode", encode
    yield "FAISS: ScalarQuantizer, encode and decode", lambda: (encode(), decode(quantizer, codes, out))


def noise(vectors: numpy.ndarray, out: numpy.ndarray):
    generator = numpy.random.default_rng()

    def operation() -> None:
        generator.standard_normal(dtype=numpy.float32, out=out)
        numpy.multiply(out, SIGMA, out=out)
        numpy.add(out, vectors, out=out)

    return operation


def product(vectors: numpy.ndarray, out: numpy.ndarray):
    dim = vectors.shape[1]
    normals = numpy.random.default_rng(1).standard_normal((dim, dim))
    matrix = numpy.ascontiguousarray(numpy.linalg.qr(normals)[0].T.astype(numpy.float32))
    return lambda: numpy.dot(vectors, matrix, out=out)  # `@` into memory that is there, and a little faster


# FAISS' Python layer takes arrays and returns new ones; its C++ functions under it take pointers.
def compute_codes(quantizer, vectors: numpy.ndarray, codes: numpy.ndarray) -> None:
    quantizer.compute_codes_c(faiss.swig_ptr(vectors), faiss.swig_ptr(codes), len(vectors))


def decode(quantizer, codes: numpy.ndarray, out: numpy.ndarray) -> None:
    quantizer.decode_c(faiss.swig_ptr(codes), faiss.swig_ptr(out), len(codes))


def best_time(operation, seconds: float) -> float:
    operation()
    first = timed(1, operation)
    calls = max(1, min(100_000, int(BLOCK / first)))
    best, end = first, time.perf_counter() + seconds
    while time.perf_counter() < end:
        best = min(best, timed(calls, operation))
    return best


def timed(calls: int, operation) -> float:
    begin = time.perf_counter()
    for _ in range(calls):
        operation()
    return max((time.perf_counter() - begin) / calls, 1e-9)


if __name__ == "__main__":
    main()

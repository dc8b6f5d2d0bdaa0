"""Protects a Parquet table on Spark and compares it with one machine, byte for byte: python benches/spark.py FOLDER ROWS

For each number of workers, in local-cluster mode: rows per second from Parquet to Parquet. With `--kill`, a worker's
process is killed in the middle of the last run; Spark runs its tasks again.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy
import pyarrow
import pyarrow.parquet

import embosk
from embosk import arrow, spark

DIM, PER_FILE = 384, 50_000
SPEC = "rotation(key=env:EMBOSK_KEY) | gaussian(sigma=0.01, key=env:EMBOSK_KEY)"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("rows", type=int)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--kill", action="store_true")
    arguments = parser.parse_args()
    os.environ.setdefault("EMBOSK_KEY", embosk.Key.generate().to_text())
    os.environ["RAYON_NUM_THREADS"] = "1"
    source = arguments.folder / "clean"
    write(source, arguments.rows)
    for workers in arguments.workers:
        kills = arguments.kill and workers == arguments.workers[-1]
        out = arguments.folder / f"protected-{workers}"
        seconds = on_spark(source, out, workers, kills)
        print(f"{workers} workers: {arguments.rows / seconds:.0f} rows/s ({seconds:.1f} s){', one killed' if kills else ''}")
        compare(source, out, arguments.rows)


def write(folder, rows):
    if folder.exists():
        return
    folder.mkdir(parents=True)
    generator = numpy.random.default_rng(0)
    for number, first in enumerate(range(0, rows, PER_FILE)):
        count = min(PER_FILE, rows - first)
        vectors = generator.standard_normal((count, DIM), dtype="float32") / numpy.float32(DIM**0.5)
        ends = numpy.arange(count + 1, dtype="int32") * DIM
        lists = pyarrow.ListArray.from_arrays(ends, pyarrow.array(vectors.reshape(-1)))
        table = pyarrow.table({"id": numpy.arange(first, first + count), "vector": lists})
        pyarrow.parquet.write_table(table, folder / f"{number:05}.parquet", compression="none", use_dictionary=False)


def on_spark(source, out, workers, kills):
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = (
        SparkSession.builder.master(f"local-cluster[{workers},1,1536]")
        .config("spark.executor.memory", "1536m")
        .config("spark.executorEnv.EMBOSK_KEY", os.environ["EMBOSK_KEY"])
        .config("spark.executorEnv.RAYON_NUM_THREADS", "1")
        .config("spark.executorEnv.PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "4096")
        .config("spark.sql.parquet.compression.codec", "uncompressed")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    session.range(1000).mapInArrow(lambda batches: batches, "id long").count()
    table = session.read.parquet(str(source))
    if kills:
        threading.Thread(target=kill_an_executor, args=(5,), daemon=True).start()
    began = time.monotonic()
    spark.protect(table, "vector", SPEC, "id").write.mode("overwrite").parquet(str(out))
    seconds = time.monotonic() - began
    session.stop()
    return seconds


def kill_an_executor(after):
    """Kills one of our own executors."""
    time.sleep(after)
    listed = subprocess.run(["pgrep", "-u", str(os.getuid()), "-f", "CoarseGrainedExecutorBackend"], capture_output=True, text=True)
    executors = [int(pid) for pid in listed.stdout.split() if is_ours(int(pid))]
    os.kill(executors[0], signal.SIGKILL)
    print(f"killed one of {len(executors)} executors", flush=True)


def is_ours(pid):
    """Whether a process descends from this one."""
    while pid > 1:
        if pid == os.getpid():
            return True
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            return False
    return False


def compare(source, out, rows):
    stack = embosk.Stack(SPEC)
    found = pyarrow.parquet.ParquetDataset(out)
    hashes = {}
    for batch in found.read(use_threads=False).to_batches(max_chunksize=PER_FILE):
        for one, row in zip(batch.column("id").to_pylist(), numpy.asarray(batch.column("vector").flatten()).reshape(-1, DIM)):
            assert one not in hashes, f"id {one} is there twice"
            hashes[one] = hash(row.tobytes())
    assert len(hashes) == rows, f"{len(hashes)} rows of {rows}"
    for file in sorted(source.iterdir()):
        expected = arrow.protect(pyarrow.parquet.read_table(file), "vector", stack, ids="id").combine_chunks()
        vectors = numpy.asarray(expected.column("vector").chunk(0).flatten()).reshape(-1, DIM)
        for one, row in zip(expected.column("id").to_pylist(), vectors):
            assert hashes[one] == hash(row.tobytes()), f"id {one} differs"
    print(f"all {rows} rows are those of one machine, byte for byte")


if __name__ == "__main__":
    main()

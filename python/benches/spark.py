"""Protects a Parquet table on Spark and compares it with one machine, byte for byte: python benches/spark.py FOLDER ROWS

For each number of workers, in local-cluster mode with one core each: rows per second from Parquet to Parquet, and the
processor time that Spark's processes took for a million rows. With `--kill WORKERS`, one more run, in which the process
of one worker is killed in the middle (SIGKILL), and Spark runs its tasks again. Needs 6 KB of disk for each row.
"""

import argparse
import os
import shutil
import signal
import sys
import threading
import time
from functools import lru_cache
from pathlib import Path

import numpy
import pyarrow
import pyarrow.parquet

import embosk
from embosk import arrow, spark

DIM = 384
SPEC = "rotation(key=env:EMBOSK_SECRET) | gaussian(sigma=0.01, key=env:EMBOSK_SECRET)"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("rows", type=int)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--kill", type=int, metavar="WORKERS")
    arguments = parser.parse_args()
    os.environ.setdefault("EMBOSK_SECRET", embosk.Key.generate().to_text())
    os.environ["RAYON_NUM_THREADS"] = "1"
    table = Table(arguments.folder / f"clean-{arguments.rows}", arguments.rows)
    table.write()
    runs = [(workers, False) for workers in arguments.workers]
    runs += [(arguments.kill, True)] if arguments.kill else []
    for workers, kills in runs:
        out = arguments.folder / "protected"
        print(f"{workers} workers: {on_spark(table, out, workers, kills)}", flush=True)
        print(f"  {compare(table, out)}", flush=True)
        shutil.rmtree(out)


class Table:
    """A folder of Parquet files, each with the same number of rows. The rows are numbered."""

    def __init__(self, folder, rows):
        self.folder, self.rows = folder, rows
        self.per_file = min(50_000, -(-rows // 16))
        self.files = -(-rows // self.per_file)

    def path(self, number):
        return self.folder / f"{number:05}.parquet"

    def write(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        for number in range(self.files):
            if self.path(number).exists():
                continue
            first = number * self.per_file
            count = min(self.per_file, self.rows - first)
            vectors = numpy.random.default_rng(number).standard_normal((count, DIM), dtype="float32")
            vectors /= numpy.linalg.norm(vectors, axis=1, keepdims=True)
            ends = numpy.arange(count + 1, dtype="int32") * DIM
            lists = pyarrow.ListArray.from_arrays(ends, pyarrow.array(vectors.reshape(-1)))
            table = pyarrow.table({"id": numpy.arange(first, first + count), "vector": lists})
            unfinished = self.path(number).with_suffix(".unfinished")
            pyarrow.parquet.write_table(table, unfinished, compression="none", use_dictionary=False)
            unfinished.rename(self.path(number))


def on_spark(table, out, workers, kills):
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = (
        SparkSession.builder.master(f"local-cluster[{workers},1,1536]")
        .config("spark.executor.memory", "1536m")
        .config("spark.executorEnv.EMBOSK_SECRET", os.environ["EMBOSK_SECRET"])
        .config("spark.executorEnv.RAYON_NUM_THREADS", "1")
        .config("spark.executorEnv.PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "4096")
        .config("spark.sql.parquet.compression.codec", "uncompressed")
        # a task for each file
        .config("spark.sql.files.openCostInBytes", "128m")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    # all workers are there, and have their Python
    session.sparkContext.parallelize(range(10 * workers), 10 * workers).foreach(lambda _: time.sleep(0.2))
    source = session.read.parquet(str(table.folder))
    killing = Killing(table, out) if kills else None
    began, spent = time.monotonic(), processor_seconds()
    spark.protect(source, "vector", SPEC, "id").write.mode("overwrite").parquet(str(out))
    seconds, spent = time.monotonic() - began, processor_seconds() - spent
    session.stop()
    rate = f"{table.rows / seconds:.0f} rows/s ({table.rows} rows in {seconds:.1f} s)"
    rate += f", {spent * 1e6 / table.rows:.1f} s of processor time per million"
    return f"{rate}, {killing.outcome()}" if killing else rate


class Killing:
    """Kills one of our own executors once a third of the files are written."""

    def __init__(self, table, out):
        self.files, self.out, self.killed = table.files, out, None
        shutil.rmtree(out, ignore_errors=True)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while (done := self.done()) < self.files / 3:
            time.sleep(0.01)
        executors = [pid for pid in descendants() if "CoarseGrainedExecutorBackend" in command_of(pid)]
        os.kill(executors[0], signal.SIGKILL)
        self.killed = f"one of {len(executors)} workers killed after {done} of {self.files} files"

    def done(self):
        """How many tasks have been committed."""
        return len(list(self.out.glob("_temporary/0/task_*")))

    def outcome(self):
        if self.killed is None:
            raise SystemExit("no worker was killed: the run was over before; take more rows")
        return self.killed


def descendants():
    """The processes that this one has started, and those that they have."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := fields_of(int(entry.name))):
            parents[int(entry.name)] = int(fields[1])
    found = {os.getpid()}
    while new := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= new
    return sorted(found - {os.getpid()})


def processor_seconds():
    """The processor time of these processes, and of those that they have waited for."""
    ticks = sum(int(ticks) for pid in descendants() for ticks in fields_of(pid)[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def fields_of(pid):
    """What the system says of a process, after its name; nothing if it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def compare(table, out):
    """Compares each row with that of one machine. Each must be there once."""
    stack = embosk.Stack(SPEC)
    seconds = 0.0

    @lru_cache(maxsize=4)
    def alone(number):
        nonlocal seconds
        clean = pyarrow.parquet.read_table(table.path(number))
        began = time.monotonic()
        protected = arrow.protect(clean, "vector", stack, ids="id")
        seconds += time.monotonic() - began
        return matrix(protected.combine_chunks().to_batches()[0])

    seen = numpy.zeros(table.rows, dtype=bool)
    for file in sorted(out.glob("*.parquet")):
        for batch in pyarrow.parquet.ParquetFile(file).iter_batches(table.per_file):
            ids, found = batch.column("id").to_numpy(), matrix(batch)
            if seen[ids].any() or len(numpy.unique(ids)) < len(ids):
                raise SystemExit(f"{file.name} holds a row that is there twice")
            seen[ids] = True
            for number in numpy.unique(ids // table.per_file):
                here = numpy.flatnonzero(ids // table.per_file == number)
                expected = alone(number)[ids[here] - number * table.per_file]
                if (found[here].view("uint32") != expected.view("uint32")).any():
                    raise SystemExit(f"{file.name} holds a row that is not that of one machine")
    if not seen.all():
        raise SystemExit(f"{table.rows - seen.sum()} rows of {table.rows} are lost")
    return f"all {table.rows} rows are those of one machine, byte for byte; there, one thread protects {table.rows / seconds:.0f} rows/s"


def matrix(batch):
    return numpy.asarray(batch.column("vector").flatten()).reshape(-1, DIM)


if __name__ == "__main__":
    main()

"""Privacy defenses for text embeddings, measured with the full vec2text attack.

- `Stack` protects arrays of vectors, and `Key` is what keyed defenses derive their transforms from.
- `Protected` puts a stack behind an embedder: any callable, a sentence-transformers model or an OpenAI client.
- `evaluate` measures what an attack still recovers from protected vectors, and what is left of retrieval. `gate` checks
  a budget file.
- `embosk.arrow`, `embosk.spark` and `embosk.ray` protect columns of tables.
- `embosk.langchain`, `embosk.llama_index`, `embosk.haystack` and `embosk.chroma` adapt protected embedders to these
  packages. Each module is imported only when it is used.

The exceptions are in `embosk.errors`. All of them are subclasses of `EmboskError`.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

# candle's threads would only spin beside ours, and a forked child would wait for its parent's; candle reads the number
# when it is first used
os.environ.setdefault("CANDLE_NUM_THREADS", "1")

from embosk import attacks
from embosk._embosk import Codes, Embedder, Guarantee, Key, Stack, __version__
from embosk._evaluate import evaluate, gate
from embosk._protected import Protected
from embosk._report import Report, Verdict
from embosk.errors import (
    ArrayError,
    BudgetError,
    CodesError,
    DimensionError,
    EmbedderError,
    EmboskError,
    EvaluationError,
    FingerprintError,
    FitError,
    IdsError,
    InvalidKeyError,
    NotFiniteError,
    NotInvertibleError,
    NotPicklableError,
    SettingError,
    SpecError,
)

if TYPE_CHECKING:
    from embosk import arrow, chroma, haystack, langchain, llama_index, ray, retrieval, spark

# modules that need other packages
_ON_USE = ("arrow", "chroma", "haystack", "langchain", "llama_index", "ray", "retrieval", "spark")


def __getattr__(name: str) -> Any:
    if name in _ON_USE:
        return importlib.import_module(f"embosk.{name}")
    raise AttributeError(f"module 'embosk' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ON_USE])


__all__ = [
    "ArrayError",
    "BudgetError",
    "Codes",
    "CodesError",
    "DimensionError",
    "Embedder",
    "EmbedderError",
    "EmboskError",
    "EvaluationError",
    "FingerprintError",
    "FitError",
    "Guarantee",
    "IdsError",
    "InvalidKeyError",
    "Key",
    "NotFiniteError",
    "NotInvertibleError",
    "NotPicklableError",
    "Protected",
    "Report",
    "SettingError",
    "SpecError",
    "Stack",
    "Verdict",
    "__version__",
    "attacks",
    "evaluate",
    "gate",
]

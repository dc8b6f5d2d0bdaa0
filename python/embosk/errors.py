"""The exceptions of embosk, by kind.

No message holds a text, a vector's values or a key. Each kind is also a built-in exception, so `except ValueError`
catches wrong values and `except TypeError` wrong types.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embosk._report import Verdict


class EmboskError(Exception):
    """The base of all exceptions of embosk."""


class ArrayError(EmboskError, TypeError):
    """An array does not have the type, shape or dtype of vectors."""


class BudgetError(EmboskError, AssertionError):
    """A privacy budget is broken, or it cannot be decided whether it is kept. `verdict` has the findings."""

    def __init__(self, message: str, verdict: "Verdict | None" = None) -> None:
        super().__init__(message)
        self.verdict = verdict


class CodesError(EmboskError, ValueError):
    """Codes do not fit the stack, or the stack does not end in a quantization."""


class DimensionError(EmboskError, ValueError):
    """A defense is bound to another dimension than the vectors have."""


class EmbedderError(EmboskError, RuntimeError):
    """The embedder failed, or did not return vectors."""


class EvaluationError(EmboskError, RuntimeError):
    """An evaluation or an attack could not run."""


class FingerprintError(EmboskError, ValueError):
    """The stored vectors are not in the space of this stack."""


class FitError(EmboskError, ValueError):
    """A fitted file is missing, damaged or of another kind."""


class IdsError(EmboskError, ValueError):
    """Ids are missing, or are not one str, bytes, int or UUID for each row."""


class InvalidKeyError(EmboskError, ValueError):
    """A key is missing, is not a key, or can be read by others."""


class NotFiniteError(EmboskError, ValueError):
    """A row holds NaN, an infinity, or values that are too large."""


class NotInvertibleError(EmboskError, ValueError):
    """A part of the stack cannot be undone."""


class NotPicklableError(EmboskError, TypeError):
    """A pickle would contain a key in readable form."""


class SettingError(EmboskError, ValueError):
    """A setting is unknown, of the wrong type, or outside its range."""


class SpecError(EmboskError, ValueError):
    """A spec is outside the grammar, or names an unknown defense or parameter."""

"""The types that several signatures have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union

from numpy.typing import NDArray

if TYPE_CHECKING:
    from embosk._embosk import Key

Role: TypeAlias = Literal["document", "query"]
Id: TypeAlias = Union[str, bytes, int]
# of float32, float16 or float64, [rows, dim] or [dim]
Vectors: TypeAlias = NDArray[Any]
# the name of a function from a key's name to the key or its text, or this function
KeyProvider: TypeAlias = Union[str, Callable[[str], Union["Key", str]]]

"""The types that several signatures have in common, and lists of texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union
from uuid import UUID

from numpy.typing import NDArray

from embosk.errors import SettingError

if TYPE_CHECKING:
    from embosk._embosk import Key

Role: TypeAlias = Literal["document", "query"]
# what is done with vectors of another norm than 1
Norms: TypeAlias = Literal["warn", "refuse", "normalize"]
Id: TypeAlias = Union[str, bytes, int, UUID]
# of float32, float16 or float64, [rows, dim] or [dim]
Vectors: TypeAlias = NDArray[Any]
# the name of a function from a key's name to the key or its text, or this function
KeyProvider: TypeAlias = Union[str, Callable[[str], Union["Key", str]]]


def is_ordered(given: Any) -> bool:
    """Whether these are several things in an order that rows can have. A single str or bytes are not."""
    return isinstance(given, Iterable) and not isinstance(given, (str, bytes, Set, Mapping))


def listed(texts: Iterable[str], name: str = "") -> list[str]:
    """The texts as a list, checked: a single str would be taken letter by letter, and a table column name by column name."""
    where = f"{name}: " if name else ""
    kind = type(texts).__name__
    if hasattr(texts, "columns"):
        raise SettingError(f"{where}texts are a list of str, not a {kind}; name its column of texts, as in table['text']")
    if not is_ordered(texts):
        raise SettingError(f"{where}texts must be a list of str, not {kind}; put a single text into a list")
    found = list(texts)
    for row, text in enumerate(found):
        if not isinstance(text, str):
            raise SettingError(f"{where}text {row} is not a str but {type(text).__name__}")
    return found

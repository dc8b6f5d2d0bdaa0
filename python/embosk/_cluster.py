"""What engines that spread work over machines have in common: specs that travel, and stacks built where they are used."""

import importlib
import operator
import os
from functools import lru_cache, partial

from embosk._embosk import Key, Stack, check_norms, check_spec
from embosk.errors import NotPicklableError, SettingError


def planned(stack: Stack | str, dim: int | None = None) -> tuple[str, int | None]:
    """What travels of a stack or a spec: the spec, and the dimension that vectors must have. A stack that was given its
    keys is refused."""
    if not isinstance(stack, Stack):
        return stack, dim
    if stack.given_keys:
        raise NotPicklableError(
            "this stack was given its keys, and keys do not travel in plans; name them as `env:NAME` or `file:PATH`"
        )
    if None not in (stack.dim, dim) and stack.dim != dim:
        raise SettingError(f"the stack is bound to dimension {stack.dim}, and dim is {dim}; leave dim out")
    return stack.spec, stack.dim if dim is None else dim


def check(spec, role, id_column, norms="warn"):
    """Whether the spec needs ids; refuses what is not repeatable, and another `norms` than there is."""
    check_norms(norms)
    fresh, uses_ids, _ = check_spec(spec, role)
    if fresh is not None:
        raise SettingError(
            f"`{fresh}` draws fresh noise, and a task that runs again would write other bytes; take keyed noise, as in "
            f"gaussian(sigma=0.01, key=env:NAME), and name the column of ids"
        )
    if uses_ids and id_column is None:
        raise SettingError("the spec has keyed noise, which is drawn by the id of each row; name the column with id_column")
    return uses_ids


def provider(keys):
    """The name of a provider of keys, `module:function`. Only the name travels; a function could carry a key along."""
    if keys is None:
        return None
    if isinstance(keys, str):
        module, _, function = keys.partition(":")
        if not module or not function:
            raise SettingError(f"a provider of keys is named as `module:function`, not {keys!r}")
        return keys
    name = f"{getattr(keys, '__module__', None)}:{getattr(keys, '__qualname__', None)}"
    try:
        found = None if name.startswith("__main__:") else _provider(name)
    except (ImportError, AttributeError):
        found = None
    if found is not keys or not callable(keys):
        raise SettingError(
            "a provider of keys is a function of a module that the workers can import, because only its name travels; "
            "lambdas, local functions, methods and functions of the main script are refused"
        )
    return name


def builder(spec, keys, dim=None):
    """What builds the stack of a spec on a worker, for the dimension that is found there; it can be pickled."""
    return partial(stack, spec, provider(keys), dim)


@lru_cache(maxsize=16)
def stack(spec, keys, dim, found):
    """The stack of a spec, once in each worker process for each dimension that it has found. `keys` names the provider
    of its keys; `dim` is the dimension that vectors must have, or None."""
    # engines say how many threads a task has; their other cores have tasks of their own
    os.environ.setdefault("RAYON_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    if keys is None:
        return Stack(spec, dim=dim)
    _, _, names = check_spec(spec, "document")
    return Stack(spec, dim=dim, keys={name: _key(keys, name) for name in names})


def _key(keys, name):
    key = _provider(keys)(name)
    if isinstance(key, str):
        return Key.from_text(key)
    if not isinstance(key, Key):
        raise SettingError(f"the provider {keys} returned {type(key).__name__} for {name}; it should return an embosk.Key or its text")
    return key


def _provider(name):
    module, _, function = name.partition(":")
    return operator.attrgetter(function)(importlib.import_module(module))

"""How a stack is unpickled: from its spec. Pickles name this module, so it stays."""

from embosk._embosk import Stack


def stack(spec, dim):
    return Stack(spec, dim=dim)

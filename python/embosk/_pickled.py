"""How objects are unpickled: a stack from its spec, for example. Pickles name these functions, so they stay."""

from embosk._embosk import Stack


def stack(spec, dim):
    return Stack(spec, dim=dim)


def protected(embedder, stack, model):
    from embosk._protected import Protected

    return Protected(embedder, stack, model=model)

"""A store of secrets, in a module that workers import."""

import embosk

NAME = "VAULT_KEY"


def key_of(name):
    if name != NAME:
        raise KeyError(name)
    # conftest.KEY_HEX, which is not where the workers are
    return embosk.Key.from_hex(bytes(range(32)).hex())


def text_of(name):
    return key_of(name).to_text()


def nothing_of(name):
    return None


class Opened:
    def key_of(self, name):
        return key_of(name)


opened = Opened()

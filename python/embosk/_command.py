"""The console script `embosk`."""

import signal
import sys


def main():
    from embosk import _embosk

    # Python would only note the interrupt, and wait for the command to return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _embosk.run_command(sys.argv, _embosk.__file__)


if __name__ == "__main__":
    sys.exit(main())

"""`python -m embosk` is the command `embosk`."""

import sys

from embosk._command import main

sys.argv[0] = "embosk"
sys.exit(main())

"""`python -m symmbfn`: the command line."""

import sys

from symmbfn.cli.verbs import main

sys.exit(main())

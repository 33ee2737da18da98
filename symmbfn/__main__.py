"""`python -m symmbfn`: the command line."""

import sys

from symmbfn.cli import main

sys.exit(main())

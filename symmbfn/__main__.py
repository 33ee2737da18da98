"""`python -m symmbfn`: the command line."""

import gc
import sys

from symmbfn.cli.verbs import main


def run() -> None:
    """Run a verb as a process of its own and leave it."""
    code = main()
    gc.freeze()  # else 0.3 s of the exit go into a last search through all objects of the libraries
    sys.exit(code)


if __name__ == "__main__":
    run()

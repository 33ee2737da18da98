"""Refuse an environment that belongs to another checkout, before `make` installs into it.

    python3 -I -S scripts/environment.py .venv

`make` installs this checkout into `.venv`. Where that is a link, or holds the install of another
checkout, the other one would silently run this one's code from then on. Needs nothing but Python.
"""

import json
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

INSTALLS = "lib/python*/site-packages/symmbfn-*.dist-info/direct_url.json"


def fault(environment: Path, checkout: Path) -> str:
    """Why an environment is not this checkout's own, and what to do; empty if it is.

    Args:
        environment: folder of the virtual environment, which need not exist.
        checkout: folder that `make` installs.
    """
    use = f"PYTHONPATH=. {environment.name}/bin/python -m pytest tests"
    if environment.is_symlink():
        return (
            f"{environment.name} is a link to {environment.readlink()}, and make would install "
            f"{checkout} there, for all who use it. For an environment of its own: "
            f"rm {environment.name}, then make again. To use it as it is: {use}"
        )
    for record in environment.glob(INSTALLS):  # PEP 610: where an install came from
        origin = json.loads(record.read_text())
        source = Path(unquote(urlsplit(origin["url"]).path))
        if origin.get("dir_info", {}).get("editable") and source.resolve() != checkout.resolve():
            return (
                f"{environment.name} runs the code of {source}, and make would point it at "
                f"{checkout}. For an environment of its own: make clean, then make again. "
                f"To use it as it is: {use}"
            )
    return ""


if __name__ == "__main__":
    sys.exit(fault(Path(sys.argv[1]), Path.cwd()) or 0)

"""The front door: few names, found where they live, at no cost until used."""

import subprocess
import sys
from pathlib import Path

import pytest

import symmbfn


@pytest.mark.parametrize("name", symmbfn.__all__)
def test_every_name_is_there(name: str) -> None:
    found = getattr(symmbfn, name)
    assert name in dir(symmbfn)
    if name != "__version__":
        assert found.__module__ == f"symmbfn.{symmbfn._HOMES[name]}"


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="generat_e"):
        _ = symmbfn.generat_e


def test_import_loads_no_library() -> None:
    code = "import sys, symmbfn; print([m for m in ('torch', 'pymatgen') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_generating_a_few_crystals_loads_no_library_that_it_does_not_need(tmp_path: Path) -> None:
    """Each of these takes about as long to load as a crystal takes to make."""
    heavy = "scipy.stats", "matplotlib", "pymatgen", "pandas", "chgnet", "torch_geometric", "ase.io"
    code = (
        "import sys; from symmbfn.cli.verbs import main\n"
        f"main(['generate', '--n', '2', '--steps', '1', '--out', {str(tmp_path / 'run')!r}])\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"

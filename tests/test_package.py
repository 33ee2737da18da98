"""The front door: few names, found where they live, at no cost until used."""

import subprocess
import sys

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

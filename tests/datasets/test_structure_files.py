"""Crystals in files of any kind are the same crystal; what is left out or unreadable is named."""

import gzip
import io
import json
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase import io as ase_io
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp import Poscar

from symmbfn.cli.verbs import main
from symmbfn.datasets import structure_texts
from symmbfn.datasets.registry import load_dataset
from symmbfn.datasets.structure_files import kind_of
from symmbfn.datasets.structure_texts import structure_of

# triclinic, so that no wrong axis or angle goes unseen
CRYSTAL = Structure(
    Lattice.from_parameters(4.1, 5.2, 6.3, 81.0, 77.0, 68.0),
    ["Ti", "O", "O"],
    [[0.1, 0.2, 0.3], [0.43, 0.11, 0.77], [0.71, 0.62, 0.05]],
)
SALT = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)
CIF_TEXT = SALT.to(fmt="cif")


def poscar(structure: Structure = CRYSTAL) -> str:
    return Poscar(structure).get_str(significant_figures=14)


def extxyz(*structures: Structure) -> str:
    text = io.StringIO()
    atoms = [structure.to_ase_atoms() for structure in structures]
    ase_io.write(text, atoms, format="extxyz", write_info=False)
    return text.getvalue()


def zipped(path: Path, members: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_every_format_gives_the_same_crystal(tmp_path: Path) -> None:
    contents = {
        "a.cif": CRYSTAL.to(fmt="cif", significant_figures=12),
        "b.vasp": poscar(),
        "POSCAR": poscar(),
        "CONTCAR_2": poscar(),
        "e.extxyz": extxyz(CRYSTAL),
    }
    for name, text in contents.items():
        (tmp_path / name).write_text(text)
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    table = load_dataset(tmp_path)
    assert sorted(table["material_id"]) == sorted([*contents, *(f"{name}.gz" for name in contents)])
    matcher = StructureMatcher(primitive_cell=False, scale=False, ltol=1e-6, stol=1e-6)
    for found in map(structure_of, table["cif"]):
        assert matcher.fit(found, CRYSTAL)
        assert found.volume == pytest.approx(CRYSTAL.volume, rel=1e-6)
    # alone each has the name of its file
    (only,) = load_dataset(tmp_path / "e.extxyz.gz").itertuples()
    assert only.material_id == "e" and matcher.fit(structure_of(only.cif), CRYSTAL)


def test_a_folder_is_read_whole_and_the_rest_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "one.cif").write_text(CIF_TEXT)
    (tmp_path / "two.cif.gz").write_bytes(gzip.compress(CIF_TEXT.encode()))
    (tmp_path / "POSCAR").write_text(poscar())
    (tmp_path / "many.extxyz").write_text(extxyz(SALT, CRYSTAL, SALT))
    for name in ("INCAR", "notes.txt", ".DS_Store", "._one.cif"):
        (tmp_path / name).touch()
    for folder in ("deeper/still", ".git", "judged"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "one.cif").write_text(CIF_TEXT)
    (tmp_path / "judged" / "manifest.json").write_text("{}")
    (tmp_path / "deeper" / "INCAR").touch()
    (tmp_path / "link").symlink_to(tmp_path / "deeper", target_is_directory=True)
    table = load_dataset(tmp_path, workers=2)
    names = ["POSCAR", "deeper/still/one", "many-0", "many-1", "many-2", "one", "two"]
    assert table["material_id"].tolist() == names
    formulas = [structure_of(text).reduced_formula for text in table["cif"]]
    assert formulas == ["TiO2", "NaCl", "NaCl", "TiO2", "NaCl", "NaCl", "NaCl"]
    left_out = [".git/", "INCAR", "deeper/INCAR", "judged/", "link/", "notes.txt"]
    assert table.attrs["left_out"] == left_out
    assert "6 left out" in (said := capsys.readouterr().err)
    assert ".git/, INCAR, deeper/INCAR, judged/, link/ and 1 more" in said


def test_names_that_are_shared_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    members = {"x/POSCAR": poscar(), "y/POSCAR": poscar(), "z/salt.cif": CIF_TEXT}
    table = load_dataset(zipped(tmp_path / "a.zip", members))
    assert table["material_id"].tolist() == ["x/POSCAR", "y/POSCAR", "z/salt"]
    (tmp_path / "folder").mkdir()
    for suffix, text in (("cif", CIF_TEXT), ("vasp", poscar()), ("xyz", extxyz(SALT))):
        (tmp_path / "folder" / f"a.{suffix}").write_text(text)
    table = load_dataset(tmp_path / "folder")
    assert table["material_id"].tolist() == ["a.cif", "a.vasp", "a.xyz"]
    assert "keep their whole one: a" in capsys.readouterr().err
    path = tmp_path / "b.zip"
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "w") as archive:
        archive.writestr("same.cif", CIF_TEXT)
        archive.writestr("same.cif", CIF_TEXT)
    assert load_dataset(path)["material_id"].tolist() == ["same.cif", "same.cif#2"]


def test_a_zip_is_read_in_place_and_nothing_is_unpacked(tmp_path: Path) -> None:
    members = {
        "../../out.cif": CIF_TEXT,
        "/root.cif": CIF_TEXT,
        "deep/er/b.cif.gz": gzip.compress(CIF_TEXT.encode()),
        "__MACOSX/._b.cif": b"\0",
        "inner.zip": b"PK",
        "re\x1b[31md.cif": CIF_TEXT,
    }
    (tmp_path / "folder").mkdir()
    table = load_dataset(zipped(tmp_path / "folder" / "a.zip", members))
    assert sorted(table["material_id"]) == ["deep/er/b", "out", "re?[31md", "root"]
    assert table.attrs["left_out"] == ["inner.zip"]
    assert all(structure_of(text).reduced_formula == "NaCl" for text in table["cif"])
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["a.zip"]


def test_bombs_are_rows_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = structure_texts.MAX_CIF_CHARACTERS
    zeros = b"0" * (8 * limit)
    path = zipped(tmp_path / "a.zip", {"a.cif": zeros, "b.cif": CIF_TEXT})
    (tmp_path / "c.cif.gz").write_bytes(gzip.compress(zeros))
    long_frame = f"{limit}\n" + "H 0 0 0\n" * (limit // 4)
    (tmp_path / "d.extxyz.gz").write_bytes(gzip.compress(long_frame.encode()))
    table = load_dataset(path)
    assert len(table["cif"][0]) == limit + 1 and table["cif"][1] == CIF_TEXT
    for text in (table["cif"][0], *load_dataset(tmp_path)["cif"]):
        with pytest.raises(ValueError, match=f"more than {limit} characters"):
            structure_of(text)
    monkeypatch.setattr(structure_texts, "MAX_TOTAL", limit)
    with pytest.raises(ValueError, match="in parts"):
        load_dataset(path)
    (tmp_path / "e.extxyz").write_text("1\nLattice\nH 0 0 0\n" * (limit // 15))
    with pytest.raises(ValueError, match="in parts"):
        load_dataset(tmp_path / "e.extxyz")


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    vasp4 = poscar().splitlines()
    vasp4 = "\n".join(
        " ".join(line.split()[:3]) if row > 6 else line
        for row, line in enumerate(vasp4)
        if row != 5
    )
    frame = extxyz(CRYSTAL)
    slab = CRYSTAL.to_ase_atoms()
    slab.pbc = (True, True, False)
    text = io.StringIO()
    ase_io.write(text, slab, format="extxyz")
    close = SALT.copy()
    close.append("Na", [0.001, 0, 0])
    contents = {
        "a.vasp": (vasp4, "names no elements"),
        "b.vasp": ("nonsense", "POSCAR"),
        "c.vasp": (poscar(close), "overlapping"),
        "d.xyz": (frame.replace("Lattice", "Something"), "no lattice"),
        "e.xyz": (text.getvalue(), "not periodic"),
        "f.xyz": ("\n".join(frame.splitlines()[:-1]), "extxyz"),
        "g.xyz": (frame.replace("Ti ", "X  "), "no known element"),
        "h.xyz": (f"three\n{frame}", "'three' stands where"),
        "i.xyz": (frame.replace("Ti ", "Qq "), "extxyz"),
    }
    for name, (content, _) in contents.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "j.cif.gz").write_bytes(b"no gzip")
    (tmp_path / "k.cif.gz").write_bytes(gzip.compress(CIF_TEXT.encode())[:-20])
    table = load_dataset(tmp_path).set_index("material_id")
    for name, reason in [(name, reason) for name, (_, reason) in contents.items()] + [
        ("j", "not read: Not a gzipped file"),
        ("k", "not read: .*ended before"),
    ]:
        with pytest.raises(ValueError, match=reason):
            structure_of(table["cif"][name.split(".")[0]])


def test_damaged_members_are_rows_and_damaged_archives_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.cif": CIF_TEXT, "b.cif": CIF_TEXT})
    raw = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        place = archive.getinfo("b.cif").header_offset
    raw[place + 60] ^= 0xFF  # in the compressed data
    path.write_bytes(raw)
    table = load_dataset(path)
    assert structure_of(table["cif"][0]).reduced_formula == "NaCl"
    with pytest.raises(ValueError, match="not read"):
        structure_of(table["cif"][1])
    # the flag of a member that needs a password, in both places where it stands
    data = zlib.crc32(b"x"), b"x"
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 1, 0, 0, 33, data[0], 1, 1, 5, 0) + b"c.cif"
    central = struct.pack(
        "<4s6H3I5H2I", b"PK\1\2", 20, 20, 1, 0, 0, 33, data[0], 1, 1, 5, 0, 0, 0, 0, 0, 0
    )
    central += b"c.cif"
    body = local + data[1]
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(central), len(body), 0)
    (tmp_path / "b.zip").write_bytes(body + central + end)
    with pytest.raises(ValueError, match="not read: .*password|not read: .*encrypted"):
        structure_of(load_dataset(tmp_path / "b.zip")["cif"][0])
    (tmp_path / "c.zip").write_bytes(b"no zip")
    with pytest.raises(ValueError, match="no readable zip"):
        load_dataset(tmp_path / "c.zip")
    with pytest.raises(ValueError, match="holds no .cif file.*: notes.txt"):
        load_dataset(zipped(tmp_path / "d.zip", {"notes.txt": "none"}))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.CIF", "CIF"),
        ("a.cif.GZ", "CIF"),
        ("poscar", "POSCAR"),
        ("POSCAR.NaCl", "POSCAR"),
        ("a.poscar.vasp", "POSCAR"),
        ("a.xyz.gz", "extxyz"),
        ("a.zip", "zip"),
        ("a.zip.gz", None),
        ("poscars.txt", None),
        ("a.csv", None),
        ("cif", None),
    ],
)
def test_the_name_tells_the_kind(name: str, kind: str | None) -> None:
    assert kind_of(name) == kind


def test_encode_and_evaluate_take_them(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A POSCAR as reference, beside which a CIF and two frames in a zip are judged."""
    known, made, folder = tmp_path / "POSCAR", tmp_path / "made.zip", tmp_path / "judged"
    known.write_text(poscar(SALT))
    members = {"a.cif": CIF_TEXT, "frames.xyz": extxyz(SALT, CRYSTAL), "README": "no crystal"}
    arguments = ["evaluate", str(zipped(made, members)), "--out", str(folder), "--workers", "1"]
    assert main([*arguments, "--reference", str(known)]) == 0
    table = pd.read_parquet(folder / "per_structure.parquet")
    assert table["name"].tolist() == ["a", "frames-0", "frames-1"]
    assert table["status"].eq("ok").all()
    assert table["is_novel"].tolist() == [False, False, True]
    assert "1 left out" in capsys.readouterr().err
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["source_facts"] == {"files_left_out": ["README"]}


def test_an_atom_on_the_edge_of_a_cell_stays_one_atom() -> None:
    """Positions of extxyz are Cartesian, so that 1 - 1e-17 may be 1."""
    atoms = Atoms("CsCl", cell=4.1 * np.eye(3), positions=[[4.1, 0, 0], [2.05] * 3], pbc=True)
    text = io.StringIO()
    ase_io.write(text, atoms, format="extxyz")
    found = structure_of(structure_texts.cif_of(("extxyz", text.getvalue())))
    assert len(found) == 2 and found.reduced_formula == "CsCl"

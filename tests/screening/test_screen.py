"""From crystals to a report: every request is a row, and the rows add up to what is stated."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Composition, Lattice, Structure

from symmbfn.cli.verbs import main
from symmbfn.crystals.cell import Cell
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.records import RECORDS
from symmbfn.datasets.encoding import encode_dataset
from symmbfn.evaluation.energies.entries import Entry
from symmbfn.evaluation.energies.hull import Hull
from symmbfn.evaluation.energies.judge import chgnet_judge
from symmbfn.generation.run import generate_run
from symmbfn.pages.screening_report import seconds_of, write_report
from symmbfn.screening.screen import STAGES, TABLE, ScreeningConfig, answers_of, screen
from symmbfn.screening.shortlist import input_files, shortlist, write_shortlist
from symmbfn.screening.sources import Candidate
from symmbfn.screening.stages import compared as compared_stage
from symmbfn.screening.stages import relaxed as relaxed_stage
from symmbfn.screening.stages.relaxed import RELAXED, above_hull, relaxed_crystals
from tests.evaluation.energies.toys import alloy, alloys, emt_formation_energy, write_world

SITES = [[0, 0, 0], [0.5, 0.5, 0.5]]
EDGES = {"NaCl": 5.7, "KCl": 6.4, "KBr": 6.7, "MgO": 4.25}


def rock_salt(formula: str, edge: float | None = None) -> Structure:
    elements = [element.symbol for element in Composition(formula)]
    lattice = Lattice.cubic(edge or EDGES[formula])
    return Structure.from_spacegroup("Fm-3m", lattice, elements, SITES)


def nothing_left(cells: list, *_: object, **__: object) -> list:
    assert not cells
    return []


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Crystals of some other generator, a small known world, and energies of its phases."""
    root = tmp_path_factory.mktemp("screening")
    made, known = root / "made", root / "known"
    made.mkdir(), known.mkdir()
    for formula in ("NaCl", "KCl", "MgO"):
        rock_salt(formula).to(str(known / f"mp-{formula}.cif"))
    moved = rock_salt("NaCl") * (2, 1, 1)
    moved.translate_sites(list(range(len(moved))), [0.13, 0.2, 0.3])
    rock_salt("NaCl").to(str(made / "a.cif"))
    moved.to(str(made / "b.cif"))
    rock_salt("KBr").to(str(made / "c.cif"))
    (made / "d.cif").write_text("no crystal")
    rock_salt("MgO", 2.6).to(str(made / "e.cif"))
    entries = {"a": ("NaCl", -2.1), "mp-KCl": ("KCl", -2.2), "mp-KBr": ("KBr", -2.0)}
    entries["mp-NaCl3"] = ("NaCl3", -0.2)
    table = pd.DataFrame(
        [(name, *entry) for name, entry in entries.items()],
        columns=["id", "formula", "formation_energy_per_atom"],
    )
    table.to_csv(root / "hull.csv", index=False)
    return {"made": made, "known": known, "hull": root / "hull.csv", "root": root}


@pytest.fixture(scope="module")
def screened(folders: dict[str, Path]) -> tuple[Path, pd.DataFrame]:
    out = folders["root"] / "out"
    return out, _screen(folders, out)


def _screen(folders: dict[str, Path], out: Path) -> pd.DataFrame:
    known, hull = str(folders["known"]), folders["hull"]
    config = ScreeningConfig(reference=known, relax="chgnet", hull=hull)
    return screen(folders["made"], out, config)


def test_every_file_is_a_row_with_a_status(screened: tuple[Path, pd.DataFrame]) -> None:
    _, table = screened
    assert table.name.tolist() == list("abcde")
    assert table.status.tolist() == ["ok"] * 3 + ["reconstruction_failed", "ok"]
    assert table.relax_status.tolist() == ["ok"] * 3 + ["reconstruction_failed", "invalid_geometry"]
    assert "unreadable CIF" in table.reason[3]
    assert table.e_above_hull.notna().tolist() == [True, True, True, False, False]


def test_copies_and_known_crystals_are_found(screened: tuple[Path, pd.DataFrame]) -> None:
    _, table = screened
    for prefix in ("", "relaxed_"):
        chosen = table[:3]
        assert chosen[f"{prefix}duplicate_of"].tolist() == [0, 0, 2]
        assert chosen[f"{prefix}is_first"].tolist() == [True, False, True]
        assert chosen[f"{prefix}is_novel"].tolist() == [False, False, True]
        assert chosen[f"{prefix}known_train"].tolist() == ["mp-NaCl", "mp-NaCl", None]
    assert table.nearest_train[0] < 1e-3 < 0.5 * table.volume_per_atom[0]
    assert np.isnan(table.nearest_train[2])


def test_energies_count_from_the_hull_of_the_user(screened: tuple[Path, pd.DataFrame]) -> None:
    out, table = screened
    relaxed = relaxed_crystals(answers_of(out, RELAXED))
    assert table.energy_per_atom[0] == relaxed[0].energy_per_atom
    assert table.hull_energy_per_atom[:3].tolist() == [-2.1, -2.1, -2.0]
    expected = table.formation_energy_per_atom - table.hull_energy_per_atom
    assert np.allclose(table.e_above_hull[:3], expected[:3])
    # "a" is the name of an entry: without it NaCl decays to two thirds of NaCl3 and sodium
    without = table.formation_energy_per_atom[0] + 2 / 3 * 0.2
    assert table.e_above_hull_without_own[0] == pytest.approx(without)
    assert table.e_above_hull_without_own[1] == table.e_above_hull[1]


def test_report_adds_up(screened: tuple[Path, pd.DataFrame]) -> None:
    out, table = screened
    report = write_report(out)
    assert report["n"] == sum(report["statuses"].values()) == len(table)
    assert report["statuses"] == dict(Counter(table.status))
    assert sum(report["relaxation"]["statuses"].values()) == report["n_relaxed"] == 5
    assert table.knows_system[:3].all()
    strict = report["stricter"]["known_system"]
    assert [row["count"] for row in strict if row["figure"] == "stable"] == [
        row["count"] for row in report["stability"] if row["figure"] == "stable"
    ]
    counts = [step["count"] for step in report["funnel"]]
    assert [step["name"] for step in report["funnel"]][:2] == ["relaxed", "valid"]
    assert counts[0] == 5 and counts == sorted(counts, reverse=True)
    assert report["rates"]["novel"]["count"] == 1  # KBr: volumes are scaled, so MgO is known
    low, high = report["rates"]["ok"]["interval"]
    assert low < report["rates"]["ok"]["share"] == 0.8 < high
    assert "group_kept" not in report["rates"]  # nobody asked for a group
    assert json.loads((out / "report.json").read_text()) == report
    page = (out / "report.html").read_text()
    assert "KBr" in page
    files = set(re.findall(r'"(relaxed/[^"]+\.cif)"', page))
    assert len(files) == 3 and all((out / file).is_file() for file in files)


def test_coverage_compares_as_many_as_there_are(screened: tuple[Path, pd.DataFrame]) -> None:
    found = write_report(screened[0], has_coverage=True)["coverage"]
    assert found["n_reference"] == found["n_generated"] == 3
    assert found["n_precise_jointly"] >= 2  # both cells of NaCl
    assert found["precision"] == found["n_precise"] / 3


def test_second_call_does_nothing_again(
    screened: tuple[Path, pd.DataFrame], folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, table = screened

    monkeypatch.setattr(relaxed_stage, "relax_all", nothing_left)
    monkeypatch.setattr(compared_stage, "find_duplicates", nothing_left)
    pd.testing.assert_frame_equal(_screen(folders, out), table)


def test_another_hull_is_another_table_of_the_same_answers(
    screened: tuple[Path, pd.DataFrame],
    folders: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    out, table = tmp_path / "out", screened[1]
    copytree(screened[0], out)
    lower = pd.read_csv(folders["hull"])
    lower["formation_energy_per_atom"] -= 0.1
    lower.to_csv(tmp_path / "lower.csv", index=False)
    monkeypatch.setattr(relaxed_stage, "relax_all", nothing_left)
    config = ScreeningConfig(
        reference=str(folders["known"]), relax="chgnet", relax_first=3, hull=tmp_path / "lower.csv"
    )
    again = screen(folders["made"], out, config)
    assert np.allclose(again.e_above_hull[:3], table.e_above_hull[:3] + 0.1)
    assert again.relax_status.notna().sum() == 3 and table.relax_status.notna().sum() == 5
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["relax_first"] == 3 and "lower.csv" in manifest["hull_name"]
    (first,) = manifest["earlier"]
    assert first["relax_first"] is None and "hull.csv" in first["hull_name"]
    config = replace(config, keeps_space_group=True)
    with pytest.raises(ValueError, match="keeps_space_group is False there and True here"):
        screen(folders["made"], out, config)


def test_a_folder_whose_settings_name_the_hull_goes_on(
    screened: tuple[Path, pd.DataFrame],
    folders: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """As folders were written before a hull decided the table alone."""
    out = tmp_path / "out"
    copytree(screened[0], out)
    manifest = json.loads((out / "manifest.json").read_text())
    settings = manifest["settings"]
    assert settings.pop("weights") == chgnet_judge().digest
    settings |= {"relax_first": 1, "hull": "0" * 64, "has_judges": False}
    (out / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(relaxed_stage, "relax_all", nothing_left)
    pd.testing.assert_frame_equal(_screen(folders, out), screened[1])
    renewed = json.loads((out / "manifest.json").read_text())
    assert renewed["settings"].keys() == settings.keys() ^ {
        *("weights", "relax_first", "hull", "has_judges")
    }
    # a folder that nobody relaxed anything in has other answers
    settings["relax"] = None
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="relax is None there and 'chgnet' here"):
        _screen(folders, out)


def test_command_line_takes_any_calculator_and_a_second_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for name, folder in (("SYMMBFN_DATA", tmp_path), ("SYMMBFN_CACHE", tmp_path / "cache")):
        monkeypatch.setenv(name, str(folder))
    write_world(tmp_path, alloys())
    made, known, out = (tmp_path / name for name in ("made", "known", "out"))
    made.mkdir(), known.mkdir()
    for pair in (("Cu", "Au"), ("Ni", "Pd")):
        alloy(*pair).to(str(made / f"{pair[0]}.cif"))
    rock_salt("NaCl").to(str(made / "salt.cif"))
    alloy("Cu", "Au").to(str(known / "gold.cif"))
    phases = {"mp-a": ("Cu3Au", 0.0), "mp-b": ("Ni3Pd", 0.0), "mp-c": ("NaCl", -2.0)}
    rows = [(name, *entry) for name, entry in phases.items()]
    columns = ["id", "formula", "formation_energy_per_atom"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "hull.csv", index=False)
    arguments = ["evaluate", str(made), "--out", str(out), "--reference", str(known)]
    arguments += ["--hull", str(tmp_path / "hull.csv"), "--workers", "2"]
    emt = "ase.calculators.emt:EMT"
    assert main([*arguments, "--relax", emt, "--second-judge", "chgnet"]) == 0
    table = pd.read_parquet(out / TABLE).set_index("name")
    assert table.relax_status.to_dict() == {"Cu": "ok", "Ni": "ok", "salt": "relaxation_diverged"}
    assert "No EMT-potential" in table.relax_reason["salt"]
    expected = emt_formation_energy(alloy("Cu", "Au"))
    # relaxation from the mean of the edges gains some meV
    assert table.formation_energy_per_atom["Cu"] == pytest.approx(expected, abs=0.02)
    assert table.second_status.fillna("").to_dict() == {"Cu": "ok", "Ni": "ok", "salt": ""}
    # DFT puts Cu3Au 0.05 eV/atom below its elements
    assert table.second_formation_energy_per_atom["Cu"] == pytest.approx(-0.05, abs=0.05)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["relaxation"]["model"].startswith(emt)
    assert manifest["relaxation"]["weights"] == manifest["settings"]["weights"]
    assert manifest["references"]["n_crystals"] == 20
    assert manifest["references"]["held_out_mae"] == pytest.approx(0.0, abs=1e-3)
    assert manifest["second_judge"] == "CHGNet 0.3.0"
    assert manifest["second_references"] == chgnet_judge().references.facts
    capsys.readouterr()
    assert main([*arguments, "--relax", "no.such:thing"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "no.such:thing" in error


def test_what_a_kill_left_is_completed(
    screened: tuple[Path, pd.DataFrame], folders: dict[str, Path]
) -> None:
    out, table = screened
    path = out / STAGES / "relaxed.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["index"] != 2]
    path.write_text("".join(kept) + '{"index": 2, "energy_per')
    again = _screen(folders, out).drop(columns="relax_seconds")
    pd.testing.assert_frame_equal(again, table.drop(columns="relax_seconds"))


def test_bad_requests_are_named(folders: dict[str, Path], screened: tuple) -> None:
    with pytest.raises(ValueError, match="'magic'"):
        ScreeningConfig(relax="magic")
    with pytest.raises(ValueError, match="relax_first 3"):
        ScreeningConfig(relax_first=3)
    with pytest.raises(ValueError, match="relax_first 0"):
        ScreeningConfig(relax="chgnet", relax_first=0)
    for ignored in (
        *({"hull": folders["hull"]}, {"keeps_space_group": True}, {"has_judges": True}),
        {"second_judge": "sevennet"},
    ):
        with pytest.raises(ValueError, match="need a relaxation"):
            ScreeningConfig(**ignored)
    with pytest.raises(ValueError, match="second_first 3"):
        ScreeningConfig(relax="chgnet", second_first=3)
    with pytest.raises(ValueError, match="another one than 'chgnet'"):
        ScreeningConfig(relax="chgnet", second_judge="chgnet")
    with pytest.raises(ValueError, match="relax is 'chgnet' there and None here"):
        screen(folders["made"], screened[0], ScreeningConfig(reference=str(folders["known"])))


def test_command_line_judges_a_run_without_relaxation(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    generate_run(tmp_path / "run", n=5, n_steps=4, seed=1)
    arguments = ["evaluate", str(tmp_path / "run"), "--out", str(tmp_path / "judged")]
    assert main([*arguments, "--reference", str(folders["known"]), "--workers", "1"]) == 0
    assert capsys.readouterr().out.startswith("5 requested\nas generated, each of all 5: ")
    table = pd.read_parquet(tmp_path / "judged" / TABLE)
    assert len(table) == 5 and "e_above_hull" not in table
    report = json.loads((tmp_path / "judged" / "report.json").read_text())
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    kept = {"group_kept": "space_group_found", "ok": "ok", "no_short_contact": "no_short_contact"}
    for name, there in kept.items():
        assert report["rates"][name]["count"] == summary["rates"][there]["count"], name
        assert report["rates"][name]["n"] == 5
    assert report["source_facts"]["settings"]["sampler"]["n_steps"] == 4
    # at another tolerance the reference is another
    symprec, known = ["--symprec", "0.01"], ["--reference", str(folders["known"])]
    again = ["evaluate", arguments[1], "--out", str(tmp_path / "again"), *known, *symprec]
    assert main([*again, "--workers", "1"]) == 0
    expected = encode_dataset(folders["known"], split="all", symprec=0.01).digest
    manifest = json.loads((tmp_path / "again" / "manifest.json").read_text())
    assert manifest["settings"]["known"] == {"all": expected} and manifest["symprec"] == 0.01
    capsys.readouterr()
    assert main([*arguments, "--reference", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err
    # the last two requests alone, in a folder of their own
    lines = (tmp_path / "run" / RECORDS).read_text().splitlines(keepends=True)
    (tmp_path / RECORDS).write_text("".join(lines[-2:]))
    last = screen(tmp_path, tmp_path / "last", ScreeningConfig(reference=str(folders["known"])))
    assert last["index"].tolist() == [0, 1] and last.name.tolist() == ["3", "4"]
    same = ["formula", "status", "comparison", "is_novel", "density"]
    pd.testing.assert_frame_equal(last[same], table[same][-2:].reset_index(drop=True))


def test_the_shortlist_is_new_and_low(screened: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    _, table = screened
    rows = table.loc[[0, 2, 2, 2]].reset_index(drop=True)
    rows["index"] = range(4)
    rows["relaxed_duplicate_of"] = [0, 1, 2, 3]
    rows["e_above_hull"] = [-0.2, 0.05, 0.2, -0.1]
    assert shortlist(rows)["index"].tolist() == [3, 1]  # NaCl is known, 0.2 eV too much
    copies = rows.assign(relaxed_duplicate_of=1, relaxed_is_first=[False, True, False, False])
    assert shortlist(copies)["index"].tolist() == [3]  # the best of a class, not its first
    lost = rows.assign(relaxed_duplicate_of=pd.NA)
    assert shortlist(lost).empty  # nobody knows whether they are copies
    cell = Cell.from_pymatgen(rock_salt("KBr"))
    write_shortlist(tmp_path, rows, dict.fromkeys(range(4), cell))
    place = tmp_path / "candidates" / "00003-KBr"
    assert {path.name for path in place.iterdir()} == {
        *("KBr.cif", "POSCAR", "INCAR", "KPOINTS", "POTCAR.spec")
    }
    again = Structure.from_file(str(place / "POSCAR"))
    assert Cell.from_pymatgen(again).density == pytest.approx(cell.density)
    assert "_symmetry_Int_Tables_number   225" in (place / "KBr.cif").read_text()


def test_elements_without_vasp_settings_keep_their_structure() -> None:
    """The Materials Project has no pseudopotential for polonium."""
    cell = Cell(3.35 * np.eye(3), np.array([84]), np.zeros((1, 3)))
    assert input_files(cell).keys() == {"Po.cif", "POSCAR"}


@pytest.mark.parametrize("relax", [None, "chgnet"])
def test_nothing_but_failures_is_a_report(
    relax: str | None, folders: dict[str, Path], tmp_path: Path
) -> None:
    made = tmp_path / "made"
    made.mkdir()
    (made / "a.cif").write_text("no crystal")
    rock_salt("MgO", 0.9).to(str(made / "b.cif"))  # a cell too small for its atoms to be read
    hull = None if relax is None else folders["hull"]
    config = ScreeningConfig(reference=str(folders["known"]), relax=relax, hull=hull)
    table = screen(made, tmp_path / "out", config)
    assert len(table) == 2 and not (table.status == "ok").any()
    report = write_report(tmp_path / "out")
    assert "No crystal has a structure" in (tmp_path / "out" / "report.html").read_text()
    assert report["statuses"] == {"reconstruction_failed": 1, "invalid_geometry": 1}
    assert report["rates"]["ok"]["count"] == 0 and report["funnel"][-1]["count"] == 0
    if relax:
        assert report["stability"][0] == report["stability"][0] | {"figure": "failed", "count": 2}
        assert report["n_candidates"] == 0


def test_a_number_of_a_request_is_no_name_of_a_phase() -> None:
    cell = Cell.from_pymatgen(rock_salt("NaCl"))
    crystal = Crystal.failed(0, None, "ok", "", 225)
    hull = Hull([Entry("0", {"Na": 1.0, "Cl": 1.0}, -2.1)], name="", digest="")
    for made, is_counted in ((crystal, True), (None, False)):
        found = above_hull(cell, -3.5, Candidate(0, "0", "ok", "", cell, made), hull)
        assert (found["e_above_hull_without_own"] == found["e_above_hull"]) == is_counted


def test_times_too_short_to_be_told_apart_are_one() -> None:
    facts = {"time": {"seconds_of": {"sampling": 3.0}}, "rebuilding_seconds": 1.0}
    assert seconds_of(facts, 2) == {"generation": 1.0, "rebuilding": 0.5}
    assert seconds_of(facts | {"rebuilding_seconds": 4.0}, 2) == {"generation": 1.5}
    assert seconds_of({}, 2) == {}


def test_a_busy_machine_does_not_make_a_crystal_dearer() -> None:
    time = {"seconds_of": {"sampling": 9.0}, "processor_seconds": 3.0, "devices": ["cpu"]}
    assert seconds_of({"time": time}, 2) == {"generation": 1.5, "rebuilding": 0.0}
    assert seconds_of({"time": time | {"processor_seconds": None}}, 2) == {
        "generation": 4.5,
        "rebuilding": 0.0,
    }
    # what a processor does while a GPU computes says nothing
    assert seconds_of({"time": time | {"devices": ["H200"]}}, 2) == {
        "generation": 4.5,
        "rebuilding": 0.0,
    }


def test_coverage_is_of_the_crystals_that_were_screened(
    screened: tuple[Path, pd.DataFrame], folders: dict[str, Path]
) -> None:
    extra = folders["made"] / "f.cif"
    rock_salt("KCl").to(str(extra))
    try:
        with pytest.raises(ValueError, match="other crystals"):
            write_report(screened[0], has_coverage=True)
    finally:
        extra.unlink()

"""The known crystals are encoded by as many processes as a screening was given, and only once."""

from pathlib import Path

import pytest

from symmbfn.runtime.files import write_whole
from symmbfn.screening import reference
from symmbfn.screening.reference import Reference
from symmbfn.screening.screen import ScreeningConfig, screen


def test_a_screening_encodes_with_its_own_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int | None] = []

    def noted(*arguments: object, workers: int | None, **options: object) -> object:
        asked.append(workers)
        raise KeyboardInterrupt

    monkeypatch.setattr(reference, "encode_dataset", noted)
    source = tmp_path / "mine.csv"
    source.write_text("material_id,cif\na,no crystal\n")
    config = ScreeningConfig(reference="prototypes")
    for workers in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            screen(source, tmp_path / "out", config, workers=workers)
    assert asked == [1, 3]


def test_neighbours_of_the_known_crystals_are_looked_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYMMBFN_CACHE", str(tmp_path))
    known = Reference.load("prototypes", workers=1)
    found = known.neighbourhoods
    (path,) = (tmp_path / "evaluation" / "neighbours").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(reference, "neighbourhoods", None)
        again = Reference("prototypes", known.splits).neighbourhoods
    assert again.formula == found.formula and (again.distances == found.distances).all()
    write_whole(path, "no archive")
    made = Reference("prototypes", known.splits).neighbourhoods
    assert (made.distances == found.distances).all(), "what is damaged is made again"

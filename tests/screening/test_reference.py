"""The known crystals are encoded by as many processes as a screening was given, and no more."""

from pathlib import Path

import pytest

from symmbfn.screening import reference
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

"""The 530 settings of the International Tables, each by every name that a CIF may give it."""

import gemmi
import pytest

OPEN = ("symbol", "short_symbol", "full_symbol")  # names that do not say the origin


@pytest.mark.parametrize("part", range(10))
def test_every_setting_is_read_right_or_refused(part: int) -> None:
    from scripts.house.settings import N_SETTINGS, count_settings

    rows = range(part, N_SETTINGS, 10)
    counts = count_settings(rows)
    assert counts["settings_right"] == counts["n"] == len(rows)
    doors = counts["doors"]
    assert not any(counter["wrong"] for counter in doors.values())
    assert not any(counter["refused"] for name, counter in doors.items() if name not in OPEN)
    entries = list(gemmi.spacegroup_table_itb())
    n_open = sum(entries[row].ext in ("1", "2") for row in rows)
    assert doors["symbol"]["refused"] == doors["short_symbol"]["refused"] == n_open

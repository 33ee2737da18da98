"""Progress is a bar on a terminal, and in a log few lines that say enough."""

import re
import sys
import time

import pytest

from symmbfn.runtime import progress as module
from symmbfn.runtime.progress import progress


@pytest.fixture(autouse=True)
def no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)


def test_a_log_has_a_line_a_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """With 0.2 s for a minute, 1 s of work is five lines and one at the end."""
    monkeypatch.setattr(module, "SECONDS", 0.2)
    start = time.monotonic()
    for _ in progress(range(50), label="judging", done=50, total=100):
        time.sleep(0.02)
    shown = capsys.readouterr()
    lines = shown.err.splitlines()
    assert not shown.out and "\r" not in shown.err
    assert 2 <= len(lines) <= (time.monotonic() - start) / 0.2 + 1  # and one at the end
    line = r"judging: (\d+) of 100, +[\d.]+crystal/s, 00:0\d left"
    counts = [int(re.fullmatch(line, text).group(1)) for text in lines]
    assert 50 < counts[0] < 100 and counts == sorted(counts)


def test_what_takes_less_than_a_minute_says_nothing(capsys: pytest.CaptureFixture) -> None:
    with progress(total=3, label="relaxing") as bar:
        bar.update(2)
        assert bar.n == 2
    assert list(progress(iter("abc"), label="x")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_a_terminal_has_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    list(progress(range(3), label="judging"))
    shown = capsys.readouterr().err
    assert "judging: 100%" in shown and "\r" in shown


@pytest.mark.parametrize("is_terminal", [True, False])
def test_it_can_be_silent(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """For all that runs in an environment."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    monkeypatch.setattr(module, "SECONDS", 0.0)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    list(progress(range(3), label="training"))
    assert capsys.readouterr().err == ""

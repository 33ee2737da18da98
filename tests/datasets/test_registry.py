"""Datasets by name, file and folder; downloads against a server on this machine."""

import gzip
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from symmbfn.crystals.structure import parse_cif
from symmbfn.datasets import registry

CSV = b"material_id,pretty_formula,band_gap,cif\nmp-1,NaN,,data_x\nmp-2,NaCl,5.5,data_y\n"


class Server(http.server.ThreadingHTTPServer):
    """Answers with what the test queued, the last answer for ever."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, bytes, int]] = []
        self.paths: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        status, content, announced = self.server.answers[0]
        if len(self.server.answers) > 1:
            self.server.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Length", str(announced))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Say nothing on the console."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(registry, "FIRST_PAUSE", 0.01)
    monkeypatch.delenv("SYMMBFN_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def test_blob_id_is_gits() -> None:
    # `printf 'hello\n' | git hash-object --stdin`
    assert registry.git_blob_id(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_download_tries_again_after_errors_and_truncation(server: Server, tmp_path: Path) -> None:
    whole = (200, CSV, len(CSV))
    server.answers = [(503, b"", 0), (200, CSV[:20], len(CSV)), whole]
    target = tmp_path / "new" / "train.csv"
    registry.download(f"{server.url}/a", target, registry.git_blob_id(CSV))
    assert target.read_bytes() == CSV
    assert len(server.paths) == 3
    assert list(target.parent.iterdir()) == [target]


def test_download_that_never_completes_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.answers = [(200, CSV[:20], len(CSV))]
    with pytest.raises(ConnectionError, match="20 of"):
        registry.download(f"{server.url}/a", tmp_path / "a.csv", registry.git_blob_id(CSV))
    assert len(server.paths) == registry.ATTEMPTS
    assert not list(tmp_path.iterdir())


def test_download_refuses_other_content(server: Server, tmp_path: Path) -> None:
    server.answers = [(200, CSV, len(CSV))]
    with pytest.raises(ValueError, match=registry.git_blob_id(CSV)):
        registry.download(f"{server.url}/a", tmp_path / "a.csv", "0" * 40)
    assert not list(tmp_path.iterdir())


def test_download_does_not_insist_on_what_is_not_there(server: Server, tmp_path: Path) -> None:
    server.answers = [(404, b"", 0)]
    with pytest.raises(ConnectionError, match="HTTP 404"):
        registry.download(f"{server.url}/a", tmp_path / "a.csv", "0" * 40)
    assert len(server.paths) == 1


def test_named_dataset_is_downloaded_once_and_then_works_offline(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SYMMBFN_DATA", raising=False)
    monkeypatch.setenv("SYMMBFN_CACHE", str(tmp_path))
    monkeypatch.setattr(registry, "RAW_FILES", server.url)
    repository, path, _ = registry.DATASETS["mp_20"].official["val"]
    monkeypatch.setitem(
        registry.DATASETS["mp_20"].official, "val", (repository, path, registry.git_blob_id(CSV))
    )
    server.answers = [(200, CSV, len(CSV))]
    first = registry.load_dataset("mp_20", "val")
    assert server.paths == [f"/{repository}/HEAD/{path}"]
    monkeypatch.setenv("SYMMBFN_OFFLINE", "1")
    assert registry.load_dataset("mp_20", "val").equals(first)
    assert len(server.paths) == 1
    with pytest.raises(ConnectionError, match="SYMMBFN_OFFLINE.*not there"):
        registry.load_dataset("mp_20", "train")


def test_a_download_that_was_altered_is_never_read(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers = [(200, CSV, len(CSV))]
    target, blob = tmp_path / "a.csv", registry.git_blob_id(CSV)
    for content in (CSV[:-9], CSV.replace(b"5.5", b"5.6"), b""):
        target.write_bytes(content)
        registry.download(f"{server.url}/a", target, blob)
        assert target.read_bytes() == CSV
    target.write_bytes(CSV[:-9])
    monkeypatch.setenv("SYMMBFN_OFFLINE", "1")
    with pytest.raises(ConnectionError, match=r"a\.csv is altered"):
        registry.download(f"{server.url}/a", target, blob)


def test_a_data_folder_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYMMBFN_DATA", str(tmp_path / "dta"))
    monkeypatch.setenv("SYMMBFN_OFFLINE", "1")
    for read in (registry.load_dataset, lambda name, _: registry.dataset_splits(name)):
        with pytest.raises(ValueError, match="SYMMBFN_DATA is .*dta', which is no folder"):
            read("mp_20", "val")


def test_a_data_folder_without_the_file_is_no_secret(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setenv("SYMMBFN_DATA", str(tmp_path))
    monkeypatch.setenv("SYMMBFN_CACHE", str(tmp_path))
    monkeypatch.setattr(registry, "RAW_FILES", server.url)
    blob = registry.git_blob_id(CSV)
    monkeypatch.setitem(registry.DATASETS["mp_20"].official, "val", ("owner/it", "val.csv", blob))
    server.answers = [(200, CSV, len(CSV))]
    assert len(registry.load_dataset("mp_20", "val")) == 2
    shown = capsys.readouterr().err
    assert "no mp_20_val.csv.gz" in shown and "downloads/mp_20_val.csv" in shown


def test_sodium_nitride_is_no_missing_value(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv.gz"
    path.write_bytes(gzip.compress(CSV))
    table = registry.load_dataset(path)
    assert table["pretty_formula"].tolist() == ["NaN", "NaCl"]
    assert registry.property_columns(table) == ["band_gap"]
    assert table["band_gap"].isna().tolist() == [True, False]
    assert registry.dataset_label(path) == "mine"


def test_official_name_of_the_hull_distance_is_made_one(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("material_id,energy_above_hull,cif\n1,0.5,data_x\n")
    assert registry.property_columns(registry.load_dataset(path)) == ["e_above_hull"]


def test_rows_that_share_a_name_are_kept_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("material_id,cif\na,x\nb,y\na,z\nc,x\nc,x\n")
    assert registry.load_dataset(path)["cif"].tolist() == ["x", "y", "z", "x", "x"]
    assert "several rows are called 'a' and 1 more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no readable CSV"),
        (b"material_id,structure\n1,2\n", "no column cif"),
        (b"\x1f\x8b\x08\x00broken", "no readable CSV"),
        (b'a,b\n1,2,3,4\n"', "no readable CSV"),
    ],
)
def test_a_file_that_is_no_dataset_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        registry.load_dataset(path)


def test_folder_of_cifs_keeps_undecodable_files_as_rows(tmp_path: Path) -> None:
    (tmp_path / "b.cif").write_bytes(b"data_b \xff\xfe")
    (tmp_path / "a.cif").write_text("data_a")
    (tmp_path / "notes.txt").write_text("no crystal")
    table = registry.load_dataset(tmp_path)
    assert table["material_id"].tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="no .cif file"):
        (tmp_path / "empty").mkdir()
        registry.load_dataset(tmp_path / "empty")


def test_a_file_that_cannot_be_read_is_a_row_that_fails(tmp_path: Path) -> None:
    (tmp_path / "broken.cif").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe.cif")
    with (tmp_path / "huge.cif").open("wb") as file:
        file.truncate(1 << 24)
    (tmp_path / "upper.CIF").write_text("data_upper")
    table = registry.load_dataset(tmp_path)
    texts = dict(zip(table["material_id"], table["cif"], strict=True))
    assert texts.keys() == {"broken", "pipe", "huge", "upper"}
    assert texts["upper"] == "data_upper"
    assert len(texts["huge"]) == 10_000_001
    for name in ("broken", "pipe"):
        with pytest.raises(ValueError, match="not read: no such file"):
            parse_cif(texts[name])
    with pytest.raises(ValueError, match="more than 10000000 characters"):
        parse_cif(texts["huge"])


def test_a_file_that_may_not_be_read_is_a_row_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "theirs.cif").touch()
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ValueError, match="not read: Permission denied"):
        parse_cif(registry.load_dataset(tmp_path)["cif"][0])


def test_prototypes_need_no_network_and_are_288(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMMBFN_OFFLINE", "1")
    table = registry.load_dataset("prototypes")
    assert len(table) == 288 and table["material_id"].is_unique
    halite = table[table["mineral"].str.contains("Halite")]["cif"].iloc[0]
    assert "Na4 Cl4" in halite or "NaCl" in halite


def test_unknown_names_and_splits_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYMMBFN_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="mp_21"):
        registry.load_dataset("mp_21")
    with pytest.raises(ValueError, match="'tset'"):
        registry.load_dataset("mp_20", "tset")
    with pytest.raises(ValueError, match="several splits, name one: train, val"):
        registry.load_dataset("mp_20")
    with pytest.raises(ValueError, match="'train'"):
        registry.load_dataset("prototypes", "train")
    with pytest.raises(ValueError, match="mp_20_mini_train512"):
        registry.load_dataset("mp_20_mini")


def test_rows_of_the_data_folder(data_folder: Path) -> None:
    assert registry.dataset_splits("mp_20") == ("train", "val", "test_open")
    table = registry.load_dataset("mp_20", "val")
    assert len(table) == 8948
    assert registry.property_columns(table) == [
        "formation_energy_per_atom",
        "band_gap",
        "e_above_hull",
    ]
    # known for 8,499 rows, says the folder's README
    assert table["band_gap"].notna().sum() == 8499

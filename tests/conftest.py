"""Shape checks switched on for the whole package, and the folder with real data."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

install_import_hook("symmbfn", "beartype.beartype")

DATA_FILES = (
    "mp_20_train",
    "mp_20_val",
    "mp_20_test_open",
    "mp_20_mini_train512",
    "mpts_52_val",
    "mpts_52_test_open",
    "perov_5_train",
    "perov_5_val",
    "perov_5_test_open",
)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep downloads and encoded tensors of the tests out of the user's cache."""
    os.environ["SYMMBFN_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder SYMMBFN_DATA: skip when it is unset, fail when it is set but incomplete."""
    if not os.environ.get("SYMMBFN_DATA"):
        pytest.skip("SYMMBFN_DATA is unset: no folder with real data")
    folder = Path(os.environ["SYMMBFN_DATA"])
    missing = [name for name in DATA_FILES if not (folder / f"{name}.csv.gz").is_file()]
    if missing:
        pytest.fail(f"SYMMBFN_DATA={folder} lacks {', '.join(missing)} (.csv.gz)")
    return folder


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that was never trained: quick, and its crystals are nonsense."""
    from symmbfn.model.checkpoints import save_model
    from tests.models import shaken_model

    folder = tmp_path_factory.mktemp("weights") / "tiny"
    save_model(shaken_model(), folder)
    return folder

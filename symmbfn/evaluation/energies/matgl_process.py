"""Models of matgl in a process of their own, run by `symmbfn.evaluation.energies.matgl`.

They give right numbers in one old environment only, so this file is run by that environment's
interpreter and imports nothing of the package:

    python -I matgl_process.py FOLDER

FOLDER holds the models and `SHA256SUMS`. The first line on standard output says that the files
are the ones listed and that known values came out, or why not. Then every line of standard
input is a crystal, and is answered by one line of JSON.
"""

import hashlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

MODELS = {
    "m3gnet_formation_energy": "M3GNet-MP-2018.6.1-Eform",
    "megnet_formation_energy": "MEGNet-MP-2018.6.1-Eform",
    "megnet_band_gap": "MEGNet-MP-2019.4.1-BandGap-mfi",
}
SUMS = "SHA256SUMS"
NEEDED = ("model.json", "model.pt", "state.pt")
PBE = 0  # number of the functional in the model of band gaps
TOLERANCE = 1e-3  # eV

_FCC = [[0.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]]
_HALF = [[x + 0.5, y + 0.5, z + 0.5] for x, y, z in _FCC]
_QUARTER = [[x + 0.25, y + 0.25, z + 0.25] for x, y, z in _FCC]
_U = 0.3046
_RUTILE = [
    *([0.0, 0.0, 0.0], [0.5, 0.5, 0.5], [_U, _U, 0.0], [-_U, -_U, 0.0]),
    *([0.5 - _U, 0.5 + _U, 0.5], [0.5 + _U, 0.5 - _U, 0.5]),
]


def _crystal(edges: list[float], numbers: list[int], coords: list[list[float]]) -> dict[str, Any]:
    lattice = [[edge if i == j else 0.0 for j in range(3)] for i, edge in enumerate(edges)]
    return {"lattice_matrix": lattice, "atomic_numbers": numbers, "fractional_coords": coords}


KNOWN_CRYSTALS = {
    "NaCl": _crystal([5.69] * 3, [11] * 4 + [17] * 4, _FCC + _HALF),
    "Si": _crystal([5.468] * 3, [14] * 8, _FCC + _QUARTER),
    "TiO2": _crystal([4.653, 4.653, 2.969], [22] * 2 + [8] * 4, _RUTILE),
    "MgO": _crystal([4.25] * 3, [12] * 4 + [8] * 4, _FCC + _HALF),
    "Cu": _crystal([3.62] * 3, [29] * 4, _FCC),
}
# measured with the pinned versions; formation energies lie near DFT's, gaps of MgO and Si do not
KNOWN_VALUES = {
    "m3gnet_formation_energy": (-2.1007, 0.0104, -3.3977, -3.0494, -0.0028),
    "megnet_formation_energy": (-2.1145, 0.0254, -3.4685, -3.0776, -0.0091),
    "megnet_band_gap": (5.031, -0.007, 1.412, 0.313, -0.010),
}


def check_digests(folder: Path, models: Iterable[str]) -> None:
    """Compare every file of the models with the list that came with them.

    Raises:
        ValueError: a file is missing, not listed, or another one.
    """
    if not (folder / SUMS).is_file():
        raise ValueError(f"{folder} has no {SUMS}")
    lines = (line.split(maxsplit=1) for line in (folder / SUMS).read_text().splitlines() if line)
    listed = {name.strip().lstrip("*"): digest for digest, name in lines}
    for model in models:
        names = {name for name in listed if name.startswith(f"{model}/")}
        for name in sorted(names | {f"{model}/{file}" for file in NEEDED}):
            path = folder / name
            if name not in listed:
                raise ValueError(f"{SUMS} in {folder} does not list {name}")
            if not path.is_file():
                raise ValueError(f"{path} is not there")
            if hashlib.sha256(path.read_bytes()).hexdigest() != listed[name]:
                raise ValueError(f"{path} is not the file that {SUMS} lists")


def check_known_values(predict: Callable[[dict[str, Any]], dict[str, float]]) -> None:
    """Predict crystals whose values are known: some versions load a model and get it wrong.

    Raises:
        ValueError: a value is off by more than 0.001 eV.
    """
    for place, (formula, crystal) in enumerate(KNOWN_CRYSTALS.items()):
        for name, value in predict(crystal).items():
            known = KNOWN_VALUES[name][place]
            if not abs(value - known) <= TOLERANCE:
                raise ValueError(
                    f"{MODELS[name]} gives {value:.4f} eV for {formula} where {known:.4f} is "
                    "known: this is not the environment of `make judges`"
                )


def load_predictor(folder: Path) -> Callable[[dict[str, Any]], dict[str, float]]:
    """Load all models; the result maps a crystal to eV per atom and eV, by name of the value."""
    os.environ["DGLBACKEND"] = "pytorch"
    import torch
    from matgl.data.transformer import Normalizer
    from matgl.utils.io import load_model
    from pymatgen.core import Structure

    torch.set_num_threads(1)
    # a mean and a standard deviation are pickled; no other object is let in
    with torch.serialization.safe_globals([Normalizer]):
        models = {name: load_model(folder / model) for name, model in MODELS.items()}
    states = {"megnet_band_gap": torch.tensor([PBE])}

    def predict(crystal: dict[str, Any]) -> dict[str, float]:
        structure = Structure(
            crystal["lattice_matrix"], crystal["atomic_numbers"], crystal["fractional_coords"]
        )
        return {
            name: float(model.predict_structure(structure, states.get(name)))
            for name, model in models.items()
        }

    return predict


def answer(predict: Callable[[dict[str, Any]], dict[str, float]], line: str) -> dict[str, Any]:
    """Values of the crystal in a line, or the reason why there are none."""
    try:
        values = predict(json.loads(line))
    except Exception as error:  # whatever the models make of an impossible crystal
        return {"reason": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
    wrong = [name for name, value in values.items() if not math.isfinite(value)]
    return {"reason": f"{', '.join(wrong)} not finite"} if wrong else values


def main(arguments: list[str]) -> int:
    """Answer crystals until the input ends."""
    # the libraries print; their lines must not get among the answers
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    try:
        folder = Path(arguments[0])
        check_digests(folder, MODELS.values())
        predict = load_predictor(folder)
        check_known_values(predict)
    except Exception as error:  # all of them reach the user in one line
        text = " ".join(str(error).split()) or type(error).__name__
        say({"error": text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"})
        return 1
    from importlib.metadata import version

    say({"versions": {name: version(name) for name in ("matgl", "dgl", "torch", "pymatgen")}})
    for line in sys.stdin:
        say(answer(predict, line))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

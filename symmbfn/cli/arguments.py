"""The arguments of each verb of the command line."""

import argparse
import csv
from pathlib import Path

FINE_TUNING_RATE = 3e-4


def encode(parser: argparse.ArgumentParser) -> None:
    """What to encode, and how."""
    parser.add_argument(
        "--dataset",
        required=True,
        help="a name shown by `symmbfn info`; a CSV with material_id and cif; a CIF, POSCAR or "
        "extxyz file, a folder or a zip of these",
    )
    parser.add_argument("--split", help="default: every split at hand")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: the user's cache")
    parser.add_argument("--form", default="canonical", help="canonical (default) or raw")
    parser.add_argument(
        "--symprec", type=float, metavar="ANGSTROM", help="default: the dataset's, mostly 0.1"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="default: one per core")
    parser.add_argument(
        "--max-failures", type=int, metavar="N", help="exit with 1 above; default: all but one"
    )
    parser.add_argument(
        "--time-limit", type=float, default=60.0, metavar="SECONDS", help="per crystal; 60"
    )


def train(parser: argparse.ArgumentParser) -> None:
    """What to train, for how long, and on what."""
    parser.add_argument(
        "--dataset",
        required=True,
        help="as for encode; without a val split, 5 %% of the crystals validate",
    )
    parser.add_argument("--symprec", type=float, metavar="ANGSTROM", help="as for encode")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new, or to resume")
    parser.add_argument("--preset", help="default, paper, full_cell or circular")
    parser.add_argument(
        "--cell",
        help="of which full_cell and circular know all atoms: conventional (default) or primitive",
    )
    parser.add_argument(
        "--from",
        dest="origin",
        metavar="WEIGHTS",
        help="continue from a shipped model or a model folder",
    )
    parser.add_argument(
        "--properties",
        type=_names,
        metavar="LIST",
        help="columns to condition on: a,b; with --from beside those that the weights have; "
        "default: numbers of a named dataset in a new model, none else",
    )
    parser.add_argument(
        "--labels",
        action="append",
        default=[],
        metavar="FILE",
        help="numbers joined by material_id over the dataset's: a CSV or Parquet file, or "
        "whole_hull, the shipped energies above the hull of MP-20; may be given again",
    )
    parser.add_argument("--epochs", type=float, metavar="E", help="default: 100")
    parser.add_argument("--minutes", type=float, metavar="M", help="in place of epochs")
    parser.add_argument("--batch-size", type=int, metavar="N", help="default: 128")
    parser.add_argument(
        "--learning-rate",
        type=float,
        metavar="RATE",
        help=f"peak; default: 1e-3, or {FINE_TUNING_RATE:g} with --from",
    )
    parser.add_argument("--width", type=int, metavar="H", help="default: the preset's")
    parser.add_argument("--depth", type=int, metavar="L", help="default: the preset's")
    parser.add_argument("--dtype", help="float32 (default) or bf16")
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    parser.add_argument("--threads", type=int, metavar="N", help="default: OMP_NUM_THREADS, or 1")
    parser.add_argument(
        "--compile", action="store_true", help="for long runs: minutes of compiling, quicker steps"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--tensorboard", action="store_true", help="write its files beside the log")


def _names(text: str) -> tuple[str, ...]:
    """Names of columns, each once, from a line as in a CSV file: a name with a comma is quoted."""
    names = next(csv.reader([text], skipinitialspace=True), [])
    return tuple(dict.fromkeys(filter(None, map(str.strip, names))))


def generate(parser: argparse.ArgumentParser) -> None:
    """What to generate, and where to."""
    parser.add_argument("--n", type=int, help="number of crystals")
    parser.add_argument(
        "--requests",
        type=Path,
        metavar="FILE.csv|FILE.jsonl",
        help="in place of --n and conditions: one request a line, with the names of these options",
    )
    parser.add_argument(
        "--first",
        type=int,
        default=0,
        metavar="I",
        help="number of the first crystal: --first 100 --n 50 are those from 100 to 149 of a "
        "longer run; default: 0",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new, or to resume")
    parser.add_argument("--weights", default="default", help="a shipped model or a model folder")
    parser.add_argument(
        "--space-group",
        metavar="LIST",
        help="numbers, symbols, crystal systems: 225,Fm-3m,cubic; default: as in training",
    )
    _conditions(parser.add_argument_group("conditions", "all of them hold for every crystal"))
    parser.add_argument("--steps", type=int, metavar="N", help="default: the model's own")
    parser.add_argument("--solver", help="bfn, ode2 or sde2; default: the model's own")
    parser.add_argument(
        "--clearance",
        type=float,
        metavar="R",
        help="move apart atoms nearer than R sums of covalent radii; 0: none; default: the model's",
    )
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    parser.add_argument("--threads", type=int, metavar="N", help="default: OMP_NUM_THREADS, or 1")
    parser.add_argument("--dtype", default="float32", help="float32 (default) or bf16")
    parser.add_argument(
        "--compile",
        action="store_true",
        help="for long runs: minutes of compiling, then quicker calls; by its rounding a crystal "
        "here and there is another",
    )
    parser.add_argument("--primitive", action="store_true", help="write primitive cells")


def _conditions(group: argparse._ArgumentGroup) -> None:
    """What every crystal of a request shall be."""
    group.add_argument("--elements", metavar="LIST", help="exactly these: Li,Fe,P,O")
    group.add_argument("--only", metavar="LIST", help="no others than these")
    group.add_argument("--require", metavar="LIST", help="these, and others or not")
    group.add_argument("--exclude", metavar="LIST", help="none of these")
    group.add_argument("--composition", metavar="FORMULA", help="exactly: LiFePO4")
    group.add_argument(
        "--atoms", type=int, metavar="N", help="of the primitive cell, with --composition"
    )
    group.add_argument(
        "--template",
        metavar="FILE.cif|TEXT",
        help="Wyckoff letters and elements of all sites: '62: Li 4a, Fe 4c, P 4c, 2 x O 4c, O 8d'",
    )
    group.add_argument(
        "--lattice", metavar="FILE.cif|TEXT", help="the conventional cell: '10.3 6.0 4.7 90 90 90'"
    )
    group.add_argument(
        "--keep", metavar="FILE.cif:1,3", help="sites of a crystal, with their coordinates"
    )
    group.add_argument(
        "--property",
        action="append",
        metavar="NAME=X",
        help="what the crystals should be like: band_gap=2, =1..2 or >=1; once for each property",
    )
    group.add_argument(
        "--guidance",
        type=float,
        metavar="W",
        help="how strongly the elements follow the properties; default: 1, as learnt",
    )


def predict(parser: argparse.ArgumentParser) -> None:
    """Of which compositions, and how many structures."""
    parser.add_argument(
        "formula", nargs="+", help="such as LiFePO4; or a text file with one formula a line"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new or empty")
    parser.add_argument(
        "--atoms", type=int, metavar="N", help="of the primitive cell; default: any number to 20"
    )
    parser.add_argument(
        "--space-group", metavar="LIST", help="as for generate; default: whatever is likely"
    )
    parser.add_argument(
        "--draws", type=int, default=20, metavar="K", help="structures for each formula; 20"
    )
    parser.add_argument(
        "--rank",
        metavar="JUDGE",
        help="relax them within their groups and rank them by energy: chgnet, or as evaluate "
        "--relax; default: as they are made, likely templates first",
    )
    parser.add_argument("--weights", default="default", help="as for generate")
    parser.add_argument("--steps", type=int, metavar="N", help="default: the model's own")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    parser.add_argument("--threads", type=int, metavar="N", help="default: OMP_NUM_THREADS, or 1")
    parser.add_argument("--workers", type=int, metavar="N", help="default: one per core")


def evaluate(parser: argparse.ArgumentParser) -> None:
    """What to judge, beside what, and how far."""
    parser.add_argument(
        "source",
        help="folder of a run; CIF, POSCAR or extxyz file, folder or zip of these; CSV with "
        "material_id and cif; or dataset:split",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new, or to resume")
    parser.add_argument(
        "--reference",
        default="mp_20",
        metavar="DATASET",
        help="whose crystals are known: mp_20 (default), or as for encode",
    )
    parser.add_argument(
        "--split", help="of the reference, that distributions are compared with; default: val"
    )
    parser.add_argument(
        "--symprec", type=float, metavar="ANGSTROM", help="of the reference, as for encode"
    )
    _relaxation(parser)
    parser.add_argument(
        "--coverage", action="store_true", help="recall and precision of fingerprints too"
    )
    parser.add_argument(
        "--export", metavar="FORM", help="lemat: write lemat.csv, the input of LeMat-GenBench"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="default: one per core")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda or auto; to relax")
    parser.add_argument("--seed", type=int, default=0, help="of floors and deviations; 0")


def _relaxation(parser: argparse.ArgumentParser) -> None:
    """Who relaxes the crystals, and what their energies are compared with."""
    parser.add_argument(
        "--relax",
        metavar="JUDGE",
        help="chgnet, sevennet, or module:factory, a function without arguments that gives a "
        "calculator of ASE; default: no relaxation",
    )
    parser.add_argument(
        "--relax-first", type=int, metavar="N", help="relax only so many; default: all"
    )
    parser.add_argument(
        "--keep-space-group", action="store_true", help="relax without losing symmetry"
    )
    parser.add_argument(
        "--hull",
        type=Path,
        metavar="FILE",
        help="entries as JSON, CSV or Parquet; default: those of the data folder",
    )
    parser.add_argument(
        "--judges", action="store_true", help="ask M3GNet and MEGNet too, after `make judges`"
    )
    parser.add_argument(
        "--second-judge",
        metavar="JUDGE",
        help="as --relax: relaxes the relaxed crystals on and says how stable they are",
    )
    parser.add_argument(
        "--second-first",
        type=int,
        metavar="N",
        help="ask it about so many, and all stable, unique and novel ones; default: all",
    )


def label(parser: argparse.ArgumentParser) -> None:
    """What to label."""
    parser.add_argument("--dataset", required=True, help="as for encode")
    parser.add_argument("--split", help="needed where there are several")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.parquet")
    parser.add_argument("--workers", type=int, metavar="N", help="default: one per core")


def hull(parser: argparse.ArgumentParser) -> None:
    """Which structures, and whose energies."""
    parser.add_argument("source", help="as for evaluate")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.parquet")
    parser.add_argument(
        "--potential", default="chgnet", metavar="JUDGE", help="as evaluate --relax; chgnet"
    )
    parser.add_argument(
        "--relax", action="store_true", help="relax the structures; default: as they stand"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="default: one per core")


def benchmark(parser: argparse.ArgumentParser) -> None:
    """What to time."""
    parser.add_argument(
        "--quick", action="store_true", help="half a minute: few crystals, nothing compiled"
    )
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    parser.add_argument("--dtype", help="float32 or bf16; default: both")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the figures too")


def nothing(parser: argparse.ArgumentParser) -> None:
    """None."""

"""The command line: `symmbfn VERB`; `symmbfn` alone lists the verbs.

Each verb is one function, which imports what it needs when it is called. A bad argument is one
line that names the value, and exit code 2; a machine that gives up, such as one without memory
left, is one line and exit code 1. Ctrl-C and SIGTERM are one line that says what is kept, and exit
code 130.
"""

import argparse
import os
import sys
from typing import NoReturn

import symmbfn
from symmbfn.cli import arguments
from symmbfn.cli.arguments import FINE_TUNING_RATE
from symmbfn.cli.machine import check_libraries, import_from_here, n_workers, set_threads
from symmbfn.runtime.checks import one_of, whole_number
from symmbfn.runtime.signals import sigterm_as_interrupt

BAD_ARGUMENT, STOPPED = 2, 130
# what a stopped verb leaves behind, where it does not say so itself
KEPT = {
    "generate": "the crystals so far are in {out}, the same command goes on",
    "evaluate": "what is done is kept in {out} and the cache, the same command goes on",
    "predict": "nothing is kept",
    "benchmark": "nothing is kept but what is printed",
    "info": "there was nothing to keep",
}
KEPT_BY_OTHERS = "what is done is kept, the same command goes on"


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the usage is what --help is for."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_ARGUMENT, f"{self.prog}: {message}\n")


def main(arguments: list[str] | None = None) -> int:
    """Run a verb and return the exit code.

    0; 1 for a result below the bar; 2 for bad input; 130 where it was stopped.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.verb is None:
        parser.print_help()
        return 0
    try:
        with sigterm_as_interrupt():
            return options.run(options)
    except KeyboardInterrupt as stop:
        kept = KEPT.get(options.verb, KEPT_BY_OTHERS).format(**vars(options))
        print(f"symmbfn {options.verb}: {str(stop) or f'stopped; {kept}'}", file=sys.stderr)
        return STOPPED
    except (ValueError, OSError) as error:
        print(f"symmbfn {options.verb}: {_one_line(error)}", file=sys.stderr)
        return BAD_ARGUMENT
    except (RuntimeError, MemoryError) as error:
        print(f"symmbfn {options.verb}: {_one_line(error)}", file=sys.stderr)
        return 1


def encode(options: argparse.Namespace) -> int:
    """Read crystals, find their symmetry, store their asymmetric units as tensors."""
    from symmbfn.datasets.encoding import FAILURES, TooManyFailuresError, encode_dataset
    from symmbfn.datasets.registry import cache_folder, dataset_splits

    splits = (options.split,) if options.split else dataset_splits(options.dataset)
    if not splits:
        raise ValueError(f"{options.dataset} is only in the folder SYMMBFN_DATA, not downloaded")
    folder = options.out or cache_folder() / "encoded"
    code = 0
    for split in splits:
        try:
            encoded = encode_dataset(
                options.dataset,
                split=split,
                form=options.form,
                symprec=options.symprec,
                workers=options.workers,
                cache_dir=folder,
                max_failures=options.max_failures,
                time_limit=options.time_limit,
            )
        except TooManyFailuresError as error:
            print(f"symmbfn encode: {error}", file=sys.stderr)
            code = 1
            continue
        failures = len(encoded.failures)
        print(
            f"{options.dataset} {split}: {len(encoded)} crystals, {failures} failures, "
            f"{encoded.process_ms:.1f} ms each"
        )
    print(f"tensors and {FAILURES} in {folder}")
    return code


def train(options: argparse.Namespace) -> int:
    """Train a model on a dataset, or continue from weights; the same call resumes.

    On N GPUs: torchrun --nproc-per-node N -m symmbfn train ...
    """
    if options.origin and options.preset:
        raise ValueError(
            f"preset {options.preset!r} and --from {options.origin!r} exclude each other"
        )
    if options.epochs is not None and options.minutes is not None:
        raise ValueError(
            f"epochs {options.epochs} and minutes {options.minutes} exclude each other"
        )
    if options.labels:
        check_libraries("pyarrow")
    set_threads(options.threads)
    from symmbfn.runtime.distributed import is_first_process
    from symmbfn.training.config import OptimiserConfig, ReportingConfig, TrainingConfig
    from symmbfn.training.fit import FitConfig, fit

    rate = options.learning_rate
    if rate is None and options.origin:
        rate = FINE_TUNING_RATE
    chosen = {
        "epochs": options.epochs,
        "minutes": options.minutes,
        "batch_size": options.batch_size,
        "optimiser": None if rate is None else OptimiserConfig(learning_rate=rate),
        "dtype": options.dtype,
        "is_compiled": options.compile,
        "seed": options.seed,
        "reporting": ReportingConfig(has_tensorboard=options.tensorboard),
    }
    training = TrainingConfig(**{k: value for k, value in chosen.items() if value is not None})
    config = FitConfig(
        preset=options.preset or "default",
        cell=options.cell,
        origin=options.origin,
        width=options.width,
        depth=options.depth,
        symprec=options.symprec,
        properties=options.properties,
        labels=tuple(options.labels),
        device=options.device,
    )
    try:
        folder = fit(options.dataset, options.out, config, training)
    except FloatingPointError as error:
        print(f"symmbfn train: {error}", file=sys.stderr)
        return 1
    if is_first_process():
        print(f"weights in {folder}: symmbfn generate --weights {folder} --n 20 --out DIR")
    return 0


def generate(options: argparse.Namespace) -> int:
    """Make new crystals: CIFs, a gallery, one record for each crystal; the same call resumes."""
    set_threads(options.threads)
    from symmbfn.cli.requested import requested
    from symmbfn.conditions.requests import RequestError
    from symmbfn.generation.run import generate_run
    from symmbfn.pages.gallery import PAGE, write_gallery

    requests, file = requested(options)
    try:
        summary = generate_run(
            options.out,
            requests,
            weights=options.weights,
            solver=options.solver,
            n_steps=options.steps,
            clearance=options.clearance,
            device=options.device,
            is_compiled=options.compile,
            dtype=options.dtype,
            primitive=options.primitive,
        )
    except RequestError as error:
        raise error if file is None else ValueError(file.said(error)) from None
    write_gallery(options.out)
    if unknown := summary["space_groups_not_in_training"]:
        print(f"never drawn, since no training crystal has them: {unknown}")
    for doubt in summary.get("doubts", []):
        print(doubt)
    counts = ", ".join(f"{count} {status}" for status, count in summary["statuses"].items())
    rates = summary["rates"]
    print(
        f"{summary['n']} crystals: {counts}; "
        f"space group found in {rates['space_group_found']['count']}, "
        f"a supergroup in {rates['supergroup_found']['count']}"
    )
    if len(requests) > 1:
        n_empty = sum("ok" not in statuses for statuses in summary["statuses_by_request"])
        print(f"{len(requests)} requests, {n_empty} of them without a valid crystal")
    print(f"look at {options.out / PAGE}")
    return 0


def predict(options: argparse.Namespace) -> int:
    """Structures for a chemical formula, the best first: a table and their CIFs."""
    workers = n_workers(options.workers)
    set_threads(options.threads)
    from symmbfn.conditions.formula_files import read_formulas
    from symmbfn.screening.predictions import check_new, predict, said, write_predictions

    check_new(options.out)
    import_from_here()
    found = predict(
        read_formulas(options.formula),
        atoms=options.atoms,
        space_group_number=options.space_group,
        draws=options.draws,
        rank=options.rank,
        seed=options.seed,
        weights=options.weights,
        workers=workers,
        n_steps=options.steps,
        device=options.device,
    )
    path = write_predictions(options.out, found)
    print(said(found))
    print(f"table: {path}")
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """Judge crystals, one row each, and report every rate; the same call resumes."""
    check_libraries("pyarrow", *(["matminer"] if options.coverage else []))
    workers = n_workers(options.workers)
    set_threads(1)
    from symmbfn.claims.store import claims
    from symmbfn.datasets.registry import dataset_splits
    from symmbfn.evaluation.summary import summary_said
    from symmbfn.pages.screening_report import PAGE, write_report
    from symmbfn.runtime.devices import pick_device
    from symmbfn.screening.exports import write_lemat
    from symmbfn.screening.screen import ScreeningConfig, screen
    from symmbfn.screening.sources import read_candidates

    if options.export is not None:
        one_of("export", options.export, ("lemat",))
    splits = dataset_splits(options.reference)
    if options.split not in (None, *splits):
        raise ValueError(f"{options.reference} has no split {options.split!r}, only {splits}")
    whole_number("seed", options.seed, least=0)
    config = ScreeningConfig(
        reference=options.reference,
        symprec=options.symprec,
        relax=options.relax,
        relax_first=options.relax_first,
        keeps_space_group=options.keep_space_group,
        hull=options.hull,
        has_judges=options.judges,
        second_judge=options.second_judge,
        second_first=options.second_first,
    )
    device = pick_device(options.device).type
    import_from_here()
    screen(options.source, options.out, config, workers=workers, device=device)
    report = write_report(
        options.out,
        split=options.split,
        seed=options.seed,
        has_coverage=options.coverage,
        workers=workers,
        controls=claims("control.*"),
    )
    print(summary_said(report))
    if options.export:
        print(write_lemat(options.out, read_candidates(options.source, workers=workers).rows))
    print(f"look at {options.out / PAGE}")
    return 0


def label(options: argparse.Namespace) -> int:
    """Formation energies and band gaps of a dataset's crystals, as a Parquet file."""
    check_libraries("pyarrow")
    set_threads(1)
    from symmbfn.evaluation.energies.labels import label_dataset

    workers = n_workers(options.workers)
    table = label_dataset(options.dataset, options.split, out=options.out, workers=workers)
    n_failed = int((table["reason"] != "").sum())
    print(f"{len(table)} crystals, {n_failed} without values: {options.out}")
    return 0


def hull(options: argparse.Namespace) -> int:
    """Energies of structures as phases of a hull, for evaluate --hull; the same call resumes."""
    check_libraries("pyarrow")
    workers = n_workers(options.workers)
    set_threads(1)
    from symmbfn.screening.phases import write_phases

    import_from_here()
    table = write_phases(
        options.source,
        options.out,
        options.potential,
        is_relaxed=options.relax,
        workers=workers,
    )
    n_failed = int((table["reason"] != "").sum())
    print(f"{len(table)} structures, {n_failed} without an energy: {options.out}")
    return 0


def benchmark(options: argparse.Namespace) -> int:
    """Time sampling, training and their stages, beside PyTorch Geometric in turns."""
    from symmbfn.runtime.devices import DTYPES, pick_device

    if options.dtype is not None:
        one_of("dtype", options.dtype, DTYPES)
    if options.out and options.out.suffix != ".json":
        raise ValueError(f"out must be a file that ends in .json, got {str(options.out)!r}")
    from symmbfn.benchmark.bench import Bench
    from symmbfn.benchmark.stages import GROUPS, report
    from symmbfn.benchmark.timing import one_thread
    from symmbfn.claims.store import record

    command = ["symmbfn benchmark", *(["--quick"] if options.quick else [])]
    bench = Bench(
        " ".join([*command, "--device", options.device]),
        pick_device(options.device),
        dtypes=(options.dtype,) if options.dtype else DTYPES,
        is_quick=options.quick,
    )
    found = []
    with one_thread():
        for name, group in GROUPS.items():
            found.append((name, list(group(bench))))
            print(report(*found[-1]), flush=True)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        claims = [claim for _, group in found for claim in group]
        print(f"figures in {record(options.out.stem, claims, options.out.parent)}")
    return 0


def info(options: argparse.Namespace) -> int:
    """Show versions, device, shipped weights and the datasets at hand."""
    import json
    import platform
    from importlib.metadata import version
    from importlib.resources import files

    import torch

    from symmbfn.datasets.registry import cache_folder, dataset_names, dataset_splits

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    print(f"symmbfn {symmbfn.__version__}, python {platform.python_version()}")
    for package in ("torch", "pymatgen", "spglib"):
        print(f"  {package} {version(package)}")
    print(f"device: {device}, {torch.get_num_threads()} threads")
    print(f"cache: {cache_folder()}")
    print(f"data folder (SYMMBFN_DATA): {os.environ.get('SYMMBFN_DATA') or 'unset'}")
    print("datasets:")
    for name in dataset_names():
        print(f"  {name}: {', '.join(dataset_splits(name)) or 'not at hand'}")
    print("weights:")
    for folder in sorted((files("symmbfn") / "weights").iterdir(), key=lambda one: one.name):
        if (config := folder / "config.json").is_file():
            print(f"  {folder.name}: sha256 {json.loads(config.read_text())['sha256'][:12]}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="symmbfn", description="New crystals with a chosen space group.")
    parser.add_argument("--version", action="version", version=f"symmbfn {symmbfn.__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    for run, add_arguments in (
        (encode, arguments.encode),
        (train, arguments.train),
        (generate, arguments.generate),
        (predict, arguments.predict),
        (evaluate, arguments.evaluate),
        (label, arguments.label),
        (hull, arguments.hull),
        (benchmark, arguments.benchmark),
        (info, arguments.nothing),
    ):
        verb = verbs.add_parser(run.__name__, help=run.__doc__, description=run.__doc__)
        verb.set_defaults(run=run)
        add_arguments(verb)
    return parser


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())

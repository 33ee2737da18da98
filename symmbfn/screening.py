"""From crystals of any origin to one table of what each of them is worth.

A screening is a folder that can be stopped and resumed. `manifest.json` says what was asked for;
`stages/` keeps every judgement and every relaxation as it comes. At the end they become
`per_structure.parquet`, one row for every crystal that was asked for, from which all rates are
counted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from symmbfn._files import whole_file
from symmbfn.candidates import Candidate, Candidates, failure_status, read_candidates
from symmbfn.crystals.cell import Cell
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.found_symmetry import SYMPREC, search_symmetry
from symmbfn.datasets.cache import EncodedDataset, encode_dataset
from symmbfn.datasets.registry import dataset_splits
from symmbfn.datasets.workers import run_killable
from symmbfn.evaluation.dataset_cells import dataset_cells
from symmbfn.evaluation.hull import Hull, open_hull
from symmbfn.evaluation.matching import Duplicate, Known, find_duplicates, find_known
from symmbfn.evaluation.memorisation import Neighbourhoods, nearest, neighbourhoods
from symmbfn.evaluation.references import chgnet_references
from symmbfn.evaluation.relaxation import RelaxationConfig, Relaxed, relax_all
from symmbfn.evaluation.validity import UNASKED, Judgement, judge, judge_cell
from symmbfn.journals import Journal
from symmbfn.manifests import only_process, open_folder, versions

if TYPE_CHECKING:
    import pandas

# part of the manifest: raise it when the same settings give another table
FORMAT = 1
TABLE, STAGES = "per_structure.parquet", "stages"
JUDGE_SECONDS = 60.0  # wall time for one crystal
RELAX_SECONDS = 900.0
RELAXERS = (None, "chgnet")
JUDGED, RELAXED = "judged.jsonl", "relaxed.jsonl"
KNOWN = ("known_as", "known_split", "known_rms", "known_e_above_hull")
LATTICE = ["a", "b", "c", "alpha", "beta", "gamma"]


@dataclass(frozen=True)
class ScreeningSettings:
    """What decides the content of a screening's folder.

    Attributes:
        source: digest of the crystals.
        reference: dataset whose crystals are known.
        known: digest of each of its splits.
        relax: "chgnet" or None.
        relax_first: how many of the crystals are relaxed, None for all.
        keeps_space_group: whether a relaxation may not lower the symmetry.
        hull: digest of the convex hull, or None.
        format: of the folder.
    """

    source: str
    reference: str
    known: dict[str, str]
    relax: str | None
    relax_first: int | None
    keeps_space_group: bool
    hull: str | None
    format: int = FORMAT


@dataclass(frozen=True)
class Reference:
    """The crystals that are known, by split.

    Args:
        name: of the dataset.
        splits: train first, if there is one.
    """

    name: str
    splits: dict[str, EncodedDataset]

    @classmethod
    def load(cls, name: str) -> "Reference":
        """Read all splits at hand, encoding them where nobody has.

        Raises:
            ValueError: there is no such dataset.
        """
        splits = dataset_splits(name)
        return cls(name, {split: encode_dataset(name, split=split) for split in splits})

    @property
    def train(self) -> EncodedDataset:
        """The crystals that a model of this dataset was trained on; the only split of another."""
        return next(iter(self.splits.values()))

    @cached_property
    def neighbourhoods(self) -> Neighbourhoods:
        """Of the training data, to which crystals may be close."""
        return neighbourhoods(dataset_cells(self.train, range(len(self.train))))

    def property_of(self, split: str, row: int, name: str) -> float:
        """A property of one of the crystals, NaN where it is not known."""
        data = self.splits[split]
        if name not in data.property_names:
            return float("nan")
        return float(data.properties[row, data.property_names.index(name)])


def screen(
    source: str | Path,
    folder: str | Path,
    *,
    reference: str = "mp_20",
    relax: str | None = None,
    relax_first: int | None = None,
    keeps_space_group: bool = False,
    hull: str | Path | None = None,
    workers: int = 1,
    device: str = "cpu",
) -> "pandas.DataFrame":
    """Judge crystals one by one; a second call goes on with what the first one left.

    Args:
        source: see `read_candidates`.
        folder: new, empty, or of the same screening.
        reference: dataset whose crystals are known.
        relax: "chgnet" relaxes them; None judges them as they are.
        relax_first: relax only so many from the start, None for all.
        keeps_space_group: relax within the space group.
        hull: file of entries for the convex hull; None takes the one from the data folder.
        workers: processes of one thread each.
        device: of the relaxation, "cpu" or "cuda".

    Returns:
        One row per crystal, as in `per_structure.parquet`; the columns are those of
        `symmbfn.evaluation.report`.

    Raises:
        ValueError: for a value that cannot be met, or a folder that holds something else.
    """
    if relax not in RELAXERS:
        raise ValueError(f"relax must be one of {RELAXERS}, got {relax!r}")
    if relax_first is not None and (relax is None or relax_first < 1):
        raise ValueError(f"relax_first {relax_first} needs a relaxation, and at least 1")
    candidates = read_candidates(source, workers=workers)
    known = Reference.load(reference)
    phases = None
    if relax is not None:
        phases = open_hull() if hull is None else Hull.from_file(hull)
    settings = ScreeningSettings(
        source=candidates.digest,
        reference=reference,
        known={split: data.digest for split, data in known.splits.items()},
        relax=relax,
        relax_first=relax_first,
        keeps_space_group=keeps_space_group,
        hull=None if phases is None else phases.digest,
    )
    folder = Path(folder)
    facts = {
        "source_name": str(source),
        "source_facts": candidates.facts,
        "hull_name": None if phases is None else phases.name,
        "versions": versions(),
    }
    open_folder(folder, asdict(settings), facts)
    with only_process(folder):
        stages = folder / STAGES
        table = _judged(candidates, Journal(stages / JUDGED), workers)
        cells = [row.primitive_cell for row in candidates.rows]
        table = table.join(_compared(cells, known, Journal(stages / "compared.jsonl"), workers))
        if phases is not None:
            config = RelaxationConfig(keeps_space_group=keeps_space_group)
            chosen = candidates.rows[:relax_first]
            journal = Journal(stages / RELAXED)
            _relax(chosen, config, journal, workers=workers, device=device)
            relaxed = relaxed_crystals(journal)
            table = table.join(_relaxed_table(relaxed, candidates, phases))
            cells = [relaxed[row.index].cell for row in chosen]
            journal = Journal(stages / "compared_relaxed.jsonl")
            table = table.join(_compared(cells, known, journal, workers).add_prefix("relaxed_"))
        with whole_file(folder / TABLE) as part:
            table.reset_index().to_parquet(part)
    return table.reset_index()


def relaxed_crystals(journal: Journal) -> dict[int, Relaxed]:
    """Relaxations of a screening by the index of their crystal."""
    return {row["index"]: Relaxed.from_record(row) for row in journal}


# ---- stages -----------------------------------------------------------------------------------


def _judged(candidates: Candidates, journal: Journal, workers: int) -> "pandas.DataFrame":
    """Geometry, composition and symmetry of every crystal."""
    import pandas as pd

    todo = [row for row in candidates.rows if row.index not in journal]
    outcomes = run_killable(judge_candidate, todo, workers=workers, time_limit=JUDGE_SECONDS)
    for outcome in tqdm(outcomes, total=len(todo), desc="judging", unit="crystal", disable=None):
        row = todo[outcome.index]
        judged = outcome.value
        if judged is None:
            judged = judge_candidate(_lost(row, failure_status(outcome.reason), outcome.reason))
        journal.add(asdict(judged) | {"name": row.name})
    table = pd.DataFrame(list(journal)).set_index("index")
    parameters = pd.DataFrame(
        table.pop("lattice_parameters").tolist(), columns=LATTICE, index=table.index, dtype=float
    )
    return table.join(parameters)


def judge_candidate(row: Candidate) -> Judgement:
    """Judge whatever there is of a candidate; a failure before stays what it was."""
    if row.crystal is not None:
        return judge(row.crystal)
    if row.cell is not None:
        return judge_cell(row.cell, index=row.index)
    nothing = Crystal.failed(row.index, None, row.status, row.reason, 1)
    return replace(
        judge(nothing), space_group_number=None, symmetry=UNASKED, sharp_symmetry=UNASKED
    )


def _lost(row: Candidate, status: str, reason: str) -> Candidate:
    """The candidate on which a library hung or died."""
    crystal = row.crystal
    if crystal is not None:
        group = crystal.space_group_number
        crystal = Crystal.failed(row.index, crystal.seed, status, reason, group)
    return replace(row, status=status, reason=reason, cell=None, crystal=crystal)


def _compared(
    cells: Sequence[Cell | None], known: Reference, journal: Journal, workers: int
) -> "pandas.DataFrame":
    """Which crystals are the first of their kind, and which are known; done once, as a whole."""
    import pandas as pd

    if len(journal) < len(cells):
        duplicates = find_duplicates(cells, workers=workers)
        found = {
            split: find_known(cells, data, workers=workers) for split, data in known.splits.items()
        }
        close = nearest(neighbourhoods(cells), known.neighbourhoods)
        for index, duplicate in enumerate(duplicates):
            answers = {split: rows[index] for split, rows in found.items()}
            distances = {
                "nearest_train": float(close.same_formula[index]),
                "nearest_train_prototype": float(close.same_prototype[index]),
            }
            facts = _comparison(index, duplicate, answers, known)
            journal.add({"index": index, **facts, **distances})
    table = pd.DataFrame(list(journal)).set_index("index")
    yes_or_no = ("is_first", "is_novel", "is_novel_anywhere")
    return table.astype({"duplicate_of": "Int64", **dict.fromkeys(yes_or_no, "boolean")})


def _comparison(
    index: int, duplicate: Duplicate, answers: dict[str, Known], known: Reference
) -> dict[str, Any]:
    first = next(iter(answers))  # the training data
    matches = [(split, match) for split in answers for match in answers[split].matches]
    statuses = [duplicate.status, *(answer.status for answer in answers.values())]
    facts: dict[str, Any] = dict.fromkeys(KNOWN)
    if matches:
        split, match = matches[0]
        energy = known.property_of(split, match.row, "e_above_hull")
        facts = dict(zip(facts, (match.identifier, split, match.rms, energy), strict=True))
    in_train = answers[first].matches
    return {
        "comparison": next((status for status in statuses if status != "ok"), "ok"),
        "duplicate_of": duplicate.first,
        "is_first": None if duplicate.first is None else duplicate.first == index,
        "is_novel": _novelty([answers[first]]),
        "is_novel_anywhere": _novelty(answers.values()),
        "known_train": in_train[0].identifier if in_train else None,
        **facts,
    }


def _novelty(answers: Iterable[Known]) -> bool | None:
    """Whether none of the answers is a match; None where one of them could not be given."""
    answers = list(answers)
    if any(answer.matches for answer in answers):
        return False
    return True if all(answer.is_novel for answer in answers) else None


def _relax(
    chosen: Sequence[Candidate],
    config: RelaxationConfig,
    journal: Journal,
    *,
    workers: int,
    device: str,
) -> None:
    """Relax what is not in the journal yet; what has no structure keeps its own status."""
    todo: list[tuple[int, Cell | Crystal]] = []
    for row in chosen:
        if row.index in journal:
            continue
        if row.cell is None or row.status != "ok":
            status = row.status if row.status != "ok" else "reconstruction_failed"
            journal.add({"index": row.index, **Relaxed(status, row.reason).to_record()})
        else:
            todo.append((row.index, row.crystal or row.cell))
    cells = [cell for _, cell in todo]
    done = relax_all(cells, config, workers=workers, time_limit=RELAX_SECONDS, device=device)
    for place, relaxed in tqdm(
        done, total=len(todo), desc="relaxing", unit="crystal", disable=None
    ):
        journal.add({"index": todo[place][0], **relaxed.to_record()})


def _relaxed_table(
    relaxed: dict[int, Relaxed], candidates: Candidates, hull: Hull
) -> "pandas.DataFrame":
    """Energies of the relaxed crystals, and how far they lie above the hull."""
    import pandas as pd

    references, rows = chgnet_references(), []
    for index, one in sorted(relaxed.items()):
        row = vars(one) | {"index": index, "relax_status": one.status, "relax_reason": one.reason}
        for name in ("status", "reason", "cell"):
            del row[name]
        if one.cell is not None:
            composition = one.cell.composition
            energy = references.formation_energy(composition, one.energy_per_atom)
            point, own = hull.at(composition), candidates.rows[index].name
            row |= {
                "formation_energy_per_atom": energy,
                "hull_energy_per_atom": point.hull_energy_per_atom,
                "is_covered": point.is_covered,
                "n_phases": point.n_phases,
                "e_above_hull": hull.e_above_hull(composition, energy),
                "e_above_hull_without_own": hull.e_above_hull(composition, energy, exclude=[own]),
            }
            found = search_symmetry(one.cell, SYMPREC)
            row["relaxed_group"] = None if found is None else int(found.number)
        rows.append(row)
    table = pd.DataFrame(rows).set_index("index").rename(columns={"seconds": "relax_seconds"})
    columns = {"relaxed_group": "Int64", "is_covered": "boolean", "is_converged": "boolean"}
    return table.astype(columns)

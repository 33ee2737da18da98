"""What is asked of each crystal of a screening: one table a stage, joined by the crystal's index.

Whatever takes long goes through a journal, so that a second call asks only what is not there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from symmbfn.crystals.cell import Cell
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.symmetry_search import SYMPREC, search_symmetry
from symmbfn.datasets.cache import EncodedDataset, encode_dataset
from symmbfn.datasets.registry import dataset_splits
from symmbfn.evaluation.energies.hull import Hull
from symmbfn.evaluation.energies.labels import describe_all, label
from symmbfn.evaluation.energies.matgl import MODELS, ask_matgl
from symmbfn.evaluation.energies.references import chgnet_references
from symmbfn.evaluation.energies.relaxation import RelaxationConfig, Relaxed, relax_all
from symmbfn.evaluation.similarity.dataset_cells import dataset_cells
from symmbfn.evaluation.similarity.matching import Duplicate, Known, find_duplicates, find_known
from symmbfn.evaluation.similarity.nearest import Neighbourhoods, nearest, neighbourhoods
from symmbfn.evaluation.validity import UNASKED, Judgement, judge, judge_cell
from symmbfn.runtime.journal import Journal
from symmbfn.runtime.workers import run_killable
from symmbfn.screening.sources import Candidate, Candidates

if TYPE_CHECKING:
    import pandas

JUDGE_SECONDS = 60.0  # wall time for one crystal
RELAX_SECONDS = 900.0
KNOWN = ("known_as", "known_split", "known_rms", "known_e_above_hull")
ENERGIES = (
    "formation_energy_per_atom",
    "hull_energy_per_atom",
    "e_above_hull",
    "e_above_hull_without_own",
)
LATTICE = ["a", "b", "c", "alpha", "beta", "gamma"]


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
    def load(cls, name: str, symprec: float | None = None) -> "Reference":
        """Read all splits at hand, encoding them where nobody has.

        Args:
            name: of the dataset.
            symprec: symmetry tolerance in angstrom; None takes the dataset's own.

        Raises:
            ValueError: there is no such dataset.
        """
        splits = dataset_splits(name)
        return cls(
            name, {split: encode_dataset(name, split=split, symprec=symprec) for split in splits}
        )

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


def judged_table(candidates: Candidates, journal: Journal, workers: int) -> "pandas.DataFrame":
    """Geometry, composition and symmetry of every crystal."""
    import pandas as pd

    todo = [row for row in candidates.rows if row.index not in journal]
    outcomes = run_killable(judge_candidate, todo, workers=workers, time_limit=JUDGE_SECONDS)
    for outcome in tqdm(outcomes, total=len(todo), desc="judging", unit="crystal", disable=None):
        row = todo[outcome.index]
        judged = outcome.value
        if judged is None:
            status = outcome.status or "reconstruction_failed"
            judged = judge_candidate(_lost(row, status, outcome.reason))
        journal.add(asdict(judged) | {"name": row.name})
    table = pd.DataFrame(list(journal)).set_index("index")
    parameters = pd.DataFrame(
        table.pop("lattice_parameters").tolist(), columns=LATTICE, index=table.index, dtype=float
    )
    groups = dict.fromkeys(("space_group_number", "found_group"), "Int64")
    return table.join(parameters).astype(groups)


def judge_candidate(row: Candidate) -> Judgement:
    """Judge whatever there is of a candidate; a failure before stays what it was."""
    if row.crystal is not None:
        return replace(judge(row.crystal), index=row.index)
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


def compared_table(
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


def relax_candidates(
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


def relaxed_table(
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
            point, source = hull.at(composition), candidates.rows[index]
            # the number of a request may be the name of some other phase
            own = [] if source.crystal is not None else [source.name]
            row |= {
                "formation_energy_per_atom": energy,
                "hull_energy_per_atom": point.hull_energy_per_atom,
                "is_covered": point.is_covered,
                "knows_system": point.knows_system,
                "n_phases": point.n_phases,
                "e_above_hull": hull.e_above_hull(composition, energy),
                "e_above_hull_without_own": hull.e_above_hull(composition, energy, exclude=own),
            }
            found = search_symmetry(one.cell, SYMPREC)
            row["relaxed_group"] = None if found is None else int(found.number)
        rows.append(row)
    table = pd.DataFrame(rows).set_index("index").rename(columns={"seconds": "relax_seconds"})
    types = {
        **dict.fromkeys(ENERGIES, "float64"),
        **{"relaxed_group": "Int64", "n_phases": "Int64"},
        **dict.fromkeys(("is_covered", "knows_system", "is_converged"), "boolean"),
    }
    # where nothing could be relaxed, no row has them
    return table.reindex(columns=list(dict.fromkeys([*table.columns, *types]))).astype(types)


def properties_table(
    relaxed: dict[int, Relaxed], journal: Journal, workers: int
) -> "pandas.DataFrame":
    """Band gaps of the relaxed crystals, eV."""
    cells = _cells_of(relaxed)
    described = describe_all([*cells.values()], journal, workers=workers, name="band gaps")
    return label(described)[["band_gap"]].set_axis([*cells], axis="index")


def second_opinions(relaxed: dict[int, Relaxed], journal: Journal) -> "pandas.DataFrame":
    """What M3GNet and MEGNet say of the relaxed crystals, eV per atom and eV."""
    import pandas as pd

    todo = {index: cell for index, cell in _cells_of(relaxed).items() if index not in journal}
    if todo:
        for index, answer in zip(todo, ask_matgl(todo.values()), strict=True):
            journal.add({"index": index, **answer})
    table = pd.DataFrame(list(journal), columns=["index", *MODELS, "reason"]).set_index("index")
    return table.astype(dict.fromkeys(MODELS, float)).rename(columns={"reason": "judges_reason"})


def _cells_of(relaxed: dict[int, Relaxed]) -> dict[int, Cell]:
    """Relaxed cells in the order of their index, of those that have one."""
    return {index: one.cell for index, one in sorted(relaxed.items()) if one.cell is not None}

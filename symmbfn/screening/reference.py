"""The crystals that are known, with which those of a screening are compared."""

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial

from symmbfn.datasets.cache import EncodedDataset
from symmbfn.datasets.encoding import encode_dataset
from symmbfn.datasets.registry import cache_folder, dataset_label, dataset_splits
from symmbfn.evaluation.similarity.dataset_cells import dataset_cells
from symmbfn.evaluation.similarity.nearest import Neighbourhoods, neighbourhoods

VERSION = 1  # of kept neighbourhoods: raise it when the same crystals have others


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
    def load(
        cls, name: str, symprec: float | None = None, *, workers: int | None = None
    ) -> "Reference":
        """Read all splits at hand, encoding them where nobody has.

        Args:
            name: of the dataset.
            symprec: symmetry tolerance in angstrom; None takes the dataset's own.
            workers: processes that encode; None takes one per core.

        Raises:
            ValueError: there is no such dataset.
        """
        encode = partial(encode_dataset, name, symprec=symprec, workers=workers)
        return cls(name, {split: encode(split=split) for split in dataset_splits(name)})

    @property
    def train(self) -> EncodedDataset:
        """The crystals that a model of this dataset was trained on; the only split of another."""
        return next(iter(self.splits.values()))

    @cached_property
    def neighbourhoods(self) -> Neighbourhoods:
        """Of the training data, to which crystals may be close; computed once, kept on disk."""
        folder = cache_folder() / "evaluation" / "neighbours"
        path = folder / f"{dataset_label(self.name)}-{self.train.digest[:16]}-{VERSION}.npz"
        with suppress(OSError, ValueError):  # not there, or damaged
            return Neighbourhoods.load(path)
        found = neighbourhoods(dataset_cells(self.train, range(len(self.train))))
        found.save(path)
        return found

    def property_of(self, split: str, row: int, name: str) -> float:
        """A property of one of the crystals, NaN where it is not known."""
        data = self.splits[split]
        if name not in data.property_names:
            return float("nan")
        return float(data.properties[row, data.property_names.index(name)])

"""The run behind the shipped `default` weights; the same call resumes it.

    python -m scripts.training_default.train FOLDER
    torchrun --nproc-per-node 2 -m scripts.training_default.train FOLDER     on two cores

About fifteen hours of one free core. It learns from MP-20 train and from other crystals of the
Materials Project, which are always seen with their energy above the hull; every crystal of both has
that energy from the whole hull. Width 384, batches of 64 and a stronger weight decay than the
default of `symmbfn train`: coordinates gain from width, and long runs learn elements by heart.
"""

import sys
from pathlib import Path

import torch

from symmbfn.training.config import OptimiserConfig, ReportingConfig, TrainingConfig
from symmbfn.training.fit import FitConfig, fit

RUN = TrainingConfig(
    epochs=220.0,
    batch_size=64,
    optimiser=OptimiserConfig(weight_decay=5e-2),
    dtype="bf16",
    seed=0,
    reporting=ReportingConfig(save_every=4.0),
)

MODEL = FitConfig("default", width=384, labels=("whole_hull",), extra="mp2025_other_le20")


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    torch.set_num_threads(1)
    fit("mp_20", Path(sys.argv[1]), MODEL, RUN)


if __name__ == "__main__":
    main()

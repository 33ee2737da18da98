"""Claims about the model's parts: a perfect predictor, and 64 crystals learnt by heart."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from pymatgen.analysis.structure_matcher import StructureMatcher

from scripts.foundation.claims import Options, rate
from scripts.foundation.data import comes_back, read, row_of
from symmbfn.claims.store import Claim
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.crystals.structure import parse_cif
from symmbfn.datasets.batches import OPERATION_EDGES, SITE_EDGES, bucket_of, n_operations
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.generation.final_estimates import decode
from symmbfn.generation.sampler import preset_sampler, sample
from symmbfn.model.class_configs import ElementSlotsConfig
from symmbfn.model.config import default_config, paper_config
from symmbfn.model.statistics import compute_statistics
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.model.variables import Variables
from symmbfn.runtime.progress import progress
from symmbfn.training.config import OptimiserConfig, ReportingConfig, TrainingConfig
from symmbfn.training.data import elements_of
from symmbfn.training.trainer import Trainer

BATCH = 50
OVERFIT = {"width": 128, "depth": 4}
OVERFIT_COPIES = 8  # of each crystal in an epoch, so that batches are full
OVERFIT_EPOCHS = 1200
DRAWS = 8  # samples for what is given of each crystal


def most_elements(dataset: EncodedDataset) -> int:
    """Largest number of distinct elements in one crystal."""
    crystal = torch.arange(len(dataset)).repeat_interleave(dataset.n_sites)
    pairs = torch.stack([crystal, dataset.atomic_numbers.long()]).unique(dim=1)
    return int(torch.bincount(pairs[0]).max())


def predictor(options: Options) -> Iterator[Claim]:
    """Real crystals through sampler, decoding and reconstruction with the truth as estimate."""
    for preset in ("paper", "default"):
        shares = {}
        for name in ("mp_20", "mpts_52", "perov_5"):
            claim = perfect_match(preset, name, options)
            shares[name] = claim
            yield claim
        if preset == "default":
            worst = min(shares.values(), key=lambda claim: claim.value)
            each = ", ".join(f"{k} {c.value:g} % of {c.n}" for k, c in shares.items())
            yield replace(
                worst,
                name="perfect_predictor.match",
                note=f"The lowest of {each}. {worst.note}",
            )


def perfect_match(preset: str, name: str, options: Options) -> Claim:
    """Share of one dataset's val crystals that come back, judged against their raw CIFs."""
    table, encoded = read(name, "val")
    generator = torch.Generator().manual_seed(options.seed)
    # in order of size, so that batches hold little padding
    chosen = torch.randperm(len(encoded), generator=generator)[: options.n]
    chosen = chosen[encoded.n_sites[chosen].argsort()]
    if preset == "default":
        elements = elements_of(encoded)
        slots = ElementSlotsConfig.for_elements(len(elements), n_slots=most_elements(encoded))
        config = replace(default_config(elements, width=16, depth=1), composition=slots)
    else:
        config = paper_config(elements=elements_of(encoded), width=16, depth=1)
    everything = encoded.batch(torch.arange(len(encoded)))
    model = SymmBFN(config, compute_statistics(everything, config)).eval()
    sampler = preset_sampler(model)
    raw_rows, misses = row_of(name, "val"), []
    for rows in progress(chosen.split(BATCH), label=f"{preset} {name}", unit="batch"):
        crystals = from_truth(model, encoded, rows, options.seed)
        for row, crystal in zip(rows.tolist(), crystals, strict=True):
            raw = parse_cif(table.cif[raw_rows[row]])
            if not comes_back(raw, crystal, encoded.settings["symprec"]):
                misses.append(f"{encoded.identifiers[row]} ({crystal.status})")
    return rate(
        f"perfect_predictor.{'' if preset == 'default' else 'paper.'}{name}.match",
        len(chosen) - len(misses),
        len(chosen),
        options,
        aim=99.9,
        note=f"Val crystals of {name} through the sampler of `{preset}` ({sampler.solver}, "
        f"{sampler.n_steps} steps), decoding and reconstruction, every estimate being the truth; "
        "StructureMatcher with its default tolerances against the raw CIF."
        + (f" No match: {', '.join(misses[:8])}." if misses else ""),
    )


def from_truth(
    model: SymmBFN, dataset: EncodedDataset, rows: torch.Tensor, seed: int
) -> list[Crystal]:
    """What sampler, decoding and reconstruction make of perfect estimates."""
    data, conditions = model.encode(dataset.batch(rows))
    log_p = {
        name: torch.nn.functional.one_hot(index, model.classes[name].n_classes).float().log()
        for name, index in data.categorical.items()
    }
    truth = Variables(data.continuous, log_p)
    sampler = preset_sampler(model)
    index = torch.arange(len(rows))
    estimates = sample(model, conditions, sampler, seed=seed, index=index, predict=lambda *_: truth)
    return decode(model, estimates, conditions, sampler, seed=seed, index=index)


def overfit(options: Options) -> Iterator[Claim]:
    """Train on 64 crystals and draw each again from what is given of it."""
    _, encoded = read("mp_20", "train")
    generator = torch.Generator().manual_seed(options.seed)
    small = encoded.subset(torch.randperm(len(encoded), generator=generator)[:64])
    config = default_config(elements_of(small), **OVERFIT)
    torch.manual_seed(options.seed)
    model = SymmBFN(config, compute_statistics(small.batch(torch.arange(64)), config))
    run = TrainingConfig(
        epochs=options.n or OVERFIT_EPOCHS,
        batch_size=64,
        optimiser=OptimiserConfig(
            learning_rate=2e-3, weight_decay=0.0, warmup_steps=100, decay_fraction=0.7
        ),
        seed=options.seed,
        reporting=ReportingConfig(validate_every=1e9),
    )
    copies = small.subset(torch.arange(64).repeat(OVERFIT_COPIES))
    trainer = Trainer(model, copies, None, run, options.work / f"overfit_64_{run.epochs:g}")
    average = trainer.run()
    matches = draw_again(average, small, options.seed)
    reproduced = int(matches.any(0).any(0).sum())
    shape = f"width {config.network.width}, depth {config.network.depth}"
    settings = f"{shape}, {trainer.step} steps of 64 crystals, "
    settings += f"{trainer.elapsed / 60:.1f} minutes on one thread; "
    settings += f"{preset_sampler(average).solver} with {preset_sampler(average).n_steps} steps"
    yield rate(
        "overfit_64.match",
        reproduced,
        64,
        options,
        aim=95.0,
        note=f"Training crystals that at least one of {DRAWS} samples with the same space group, "
        f"number of sites and of elements matches (StructureMatcher defaults); {settings}.",
    )
    yield rate(
        "overfit_64.precision",
        int(matches.any(-1).sum()),
        DRAWS * 64,
        options,
        note="Samples that match a training crystal, invalid ones counted as failures.",
    )
    first = int(matches[0].any(-1).sum())
    yield rate(
        "overfit_64.first_sample",
        first,
        64,
        options,
        note="The same for one sample per training crystal.",
    )


def draw_again(model: SymmBFN, dataset: EncodedDataset, seed: int) -> torch.Tensor:
    """Which sample matches which training crystal, (draws, samples, crystals)."""
    matcher, sampler = StructureMatcher(), preset_sampler(model)
    everything = torch.arange(len(dataset))
    real = [c.to_pymatgen() for c in reconstruct(dataset.batch(everything, torch.float64))]
    twins = same_given(dataset)
    matches = torch.zeros(DRAWS, len(dataset), len(dataset), dtype=torch.bool)
    for draw in progress(range(DRAWS), label="samples", unit="sample"):
        for rows in of_like_size(dataset):
            _, conditions = model.encode(dataset.batch(rows))
            index = draw * len(dataset) + rows
            estimates = sample(model, conditions, sampler, seed=seed, index=index)
            crystals = decode(model, estimates, conditions, sampler, seed=seed, index=index)
            for i, crystal in zip(rows.tolist(), crystals, strict=True):
                if crystal.status == "ok":
                    mine = crystal.to_pymatgen(primitive=True)
                    for j in twins[i].nonzero().flatten().tolist():
                        matches[draw, i, j] = bool(matcher.fit(real[j], mine))
    return matches


def of_like_size(dataset: EncodedDataset) -> list[torch.Tensor]:
    """Rows in batches of like numbers of sites and operations."""
    operations = n_operations(dataset.space_group_number.long())
    key = bucket_of(operations, OPERATION_EDGES) * len(SITE_EDGES)
    key += bucket_of(dataset.n_sites, SITE_EDGES)
    return [(key == value).nonzero().flatten() for value in key.unique().tolist()]


def same_given(dataset: EncodedDataset) -> torch.Tensor:
    """Which crystals have the same space group, number of sites and of elements, (n, n)."""
    elements = [len(set(dataset.unit(i).atomic_numbers.tolist())) for i in range(len(dataset))]
    keys = [dataset.space_group_number, dataset.n_sites, torch.tensor(elements)]
    return torch.stack([key[:, None] == key[None] for key in keys]).all(0)

"""The card that goes with trained weights."""

from typing import Any

from symmbfn.crystals.elements import SYMBOLS
from symmbfn.model.symmbfn import SymmBFN


def model_card(model: SymmBFN, notes: dict[str, Any]) -> str:
    """What anyone should know who uses these weights, in Markdown."""
    c, found = model.config, notes["validation"]
    size = sum(parameter.numel() for parameter in model.parameters())
    groups = len(set(model.statistics.conditions[:, 0].tolist()))
    start = "trained from scratch"
    if origin := notes["continued_from"]:
        start = f"continued from the weights {origin[:12]}"
        start += f" of {notes['origin_dataset']}" if notes["origin_dataset"] else ""
    bound = (
        f"{found['bound']:.3f} nats per crystal (variational bound without its last term, of "
        "the first held-out crystals, as the run validates)"
        if found
        else "not measured: no crystals were held out"
    )
    further = notes.get("further_properties", ())
    learnt = [
        f"{name} (new to these weights)" if name in further else name for name in c.properties
    ]
    elements = " ".join(SYMBOLS[number] for number in c.elements)
    sites = "those of the asymmetric unit"
    if c.is_of_atoms:
        sites = f"all atoms of the {notes['cell']} cell"
    choice = "with a chosen space group"
    if notes.get("cell") == "primitive":
        choice = "in P1, whatever symmetry they may turn out to have"
    n_failed, why = notes["left_out"]["not_encoded"], notes["left_out"]["why"]
    left_out = f"{n_failed} rows that could not be encoded" + (f"; {why}" if why else "")
    return f"""# Model card

A symmetry-aware Bayesian flow network for crystals, {start} on {notes["dataset"]}:
{notes["n_crystals"]:,} crystals, {notes["epochs_seen"]:g} epochs, {notes["steps"]:,} steps of
at most {notes["batch_size"]} crystals, seed {notes["seed"]}, {notes["dtype"]}, {notes["device"]},
{notes["seconds"] / 60:.0f} minutes; {notes["date"]}.

| | |
|---|---|
| parameters | {size:,} |
| width, depth | {c.network.width}, {c.network.depth} |
| symmetry, elements | {c.symmetry.kind}, {c.composition.kind} |
| sites are | {sites} |
| properties | {", ".join(learnt) or "none"} |
| left out | {left_out} |
| steps without effect (not finite) | {notes["steps_skipped"]} |
| validation | {bound} |
| data digest | {notes["data"]} |
| symmbfn, torch | {notes["versions"]["symmbfn"]}, {notes["versions"]["torch"]} |

**Made for.** Proposing crystals of the kind it was trained on, {choice}:
`symmbfn generate --weights FOLDER`. Requests are drawn from the {groups} space groups of the
training set; other groups are never drawn. Elements: {elements}.

**Not made for.** It does not know energies: what it proposes must be relaxed and judged before
anyone believes in it. The weights are the averaged ones of the training, in half precision;
`config.json` holds the configuration, the statistics of the data and these figures as JSON.
"""

"""Further properties for a model that is trained."""

from dataclasses import replace

import torch

from symmbfn.model.config import ModelConfig
from symmbfn.model.statistics import Statistics
from symmbfn.model.symmbfn import SymmBFN

GRAPH_WEIGHT = "network.graph_in.0.weight"  # the one matrix that reads the properties


def with_further_properties(config: ModelConfig, names: tuple[str, ...]) -> ModelConfig:
    """The same model with properties that it does not have yet, after its own."""
    return replace(config, properties=tuple(dict.fromkeys([*config.properties, *names])))


def continued_statistics(source: Statistics, new: Statistics) -> Statistics:
    """What a model that goes on with other data keeps of the old and takes of the new.

    Its variables and properties stay standardised as its weights know them.

    Args:
        source: of the model.
        new: of the new data; its properties are those that the model does not have yet.

    Returns:
        The old ones with the requests of the new data, and with its scale of further properties.
    """
    return replace(
        source,
        conditions=new.conditions,
        condition_count=new.condition_count,
        property_mean=torch.cat([source.property_mean, new.property_mean]),
        property_std=torch.cat([source.property_std, new.property_std]),
    )


@torch.no_grad()
def take_weights(model: SymmBFN, source: SymmBFN) -> None:
    """Take over the weights of a model that may have fewer properties.

    Further properties say nothing at first, whatever their value: the model answers as its source
    does, and learns from there.

    Args:
        model: a new model, whose last properties may be further ones; changed in place.
        source: the model that is continued.

    Source: book, method-further-properties.
    """
    n_old = len(source.config.properties)
    weights = model.state_dict() | source.state_dict()
    if model.properties is not None:
        model.properties.mute(n_old)
        old = model.properties.null[:0] if source.properties is None else source.properties.null
        weights["properties.null"] = torch.cat([old, model.properties.null[n_old:]])
        if source.properties is None:
            start = model.graph_features.start(model.properties.of_graph)
            before, after = weights[GRAPH_WEIGHT].tensor_split([start], dim=1)
            own = model.state_dict()[GRAPH_WEIGHT][:, start : start + model.properties.width]
            weights[GRAPH_WEIGHT] = torch.cat([before, own, after], dim=1)
    model.load_state_dict(weights)

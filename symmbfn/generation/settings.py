"""What is generated and how: requests and sampler, whole or by their fields."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from symmbfn.conditions.chemistry import Chemistry
from symmbfn.conditions.request import Request
from symmbfn.conditions.requests import numbered
from symmbfn.flows.sampler_config import SamplerConfig
from symmbfn.generation.sampler import check_sampler, preset_sampler
from symmbfn.model.symmbfn import SymmBFN


def requests_of(
    request: Request | Sequence[Request] | None, settings: dict[str, Any]
) -> tuple[tuple[Request, ...], dict[str, Any]]:
    """The requests, of which one may be given by its fields, and the settings of the sampler.

    Args:
        request: one or several, or None.
        settings: fields of `Request` and of `SamplerConfig`; None leaves one as it is.

    Raises:
        ValueError: both a request and its fields; no number of crystals; a value that cannot be.
        TypeError: a setting that does not exist.
    """
    requests = None if request is None else numbered(request)
    of_request = {field.name for part in (Request, Chemistry) for field in fields(part)}
    known = of_request | {field.name for field in fields(SamplerConfig)}
    if unknown := sorted(settings.keys() - known):
        raise TypeError(f"no setting {', '.join(unknown)}: there are {', '.join(sorted(known))}")
    settings = {name: value for name, value in settings.items() if value is not None}
    asked = {name: value for name, value in settings.items() if name in of_request}
    changes = {name: value for name, value in settings.items() if name not in of_request}
    if requests is None and "n" not in asked:
        raise ValueError("n is missing: how many crystals?")
    if requests is not None and asked:
        raise ValueError(f"give a request or its fields, not both: got {', '.join(asked)}, too")
    return requests or (Request.of(**asked),), changes


def sampler_of(
    model: SymmBFN, sampler: SamplerConfig | None, changes: dict[str, Any]
) -> SamplerConfig:
    """The sampler, or that of the model's preset with some fields changed.

    Raises:
        ValueError: both a sampler and changes; a sampler that the model cannot have.
    """
    if sampler is None:
        return preset_sampler(model, **changes)
    if changes:
        raise ValueError(f"give a sampler or its fields, not both: got {', '.join(changes)}, too")
    check_sampler(model, sampler)
    return sampler

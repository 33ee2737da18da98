"""Configurations as JSON: nested as they are, and flat as the first weights have them."""

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from symmbfn.crystals.elements import MENDELEEV_NUMBER, SYMBOLS
from symmbfn.model.class_configs import (
    AxesConfig,
    ElementSlotsConfig,
    LettersConfig,
    NoSymmetryConfig,
    SiteElementsConfig,
)
from symmbfn.model.config import ImagesConfig, LossConfig, ModelConfig, NetworkConfig
from symmbfn.model.number_configs import (
    CircularCoordsConfig,
    EuclideanCoordsConfig,
    LatticeConfig,
)

# part of a configuration -> the forms that it may have
FORMS: dict[str, tuple[type, ...]] = {
    "composition": (ElementSlotsConfig, SiteElementsConfig),
    "symmetry": (LettersConfig, AxesConfig, NoSymmetryConfig),
    "coords": (EuclideanCoordsConfig, CircularCoordsConfig),
    "lattice": (LatticeConfig,),
    "images": (ImagesConfig,),
    "network": (NetworkConfig,),
    "loss": (LossConfig,),
}

# settings of format 1 that had another value in comparisons only, and the one they always have now
WITHOUT_CHOICE = {
    "network": "cspnet",
    "has_axis_mask": False,
    "is_told_n_elements": False,
    "has_bounded_state": None,
    "image_pooling": "plain",
    "categorical_power": 2.0,
}


def config_to_dict(config: ModelConfig) -> dict[str, Any]:
    """The configuration as nested dictionaries; "kind" names the form of a part that has several.

    Args:
        config: of a model.
    """
    return {field.name: _to_json(getattr(config, field.name)) for field in fields(config)}


def _to_json(value: Any) -> Any:
    if not is_dataclass(value) or isinstance(value, type):
        return list(value) if isinstance(value, tuple) else value
    kind = {"kind": value.kind} if hasattr(value, "kind") else {}
    return kind | asdict(value)


def settings_of(config: ModelConfig) -> dict[str, Any]:
    """Every setting by one name, such as "network.width"; the form of a part by the part's own."""
    found: dict[str, Any] = {}
    for part, value in config_to_dict(config).items():
        if isinstance(value, dict):
            value = dict(value)
            found[part] = value.pop("kind", True)
            found |= {f"{part}.{name}": setting for name, setting in value.items()}
        else:
            found[part] = value
    return found


def config_from_dict(values: Mapping[str, Any]) -> ModelConfig:
    """Inverse of `config_to_dict`, after JSON.

    Raises:
        ValueError: an unknown form of a part, an element that has no atomic number, or slots whose
            elements are not in their order.
        TypeError: an unknown setting, or one that is missing.
    """
    parts = {n: _part(n, value) if n in FORMS else value for n, value in values.items()}
    for name in ("elements", "properties"):
        parts[name] = tuple(parts.get(name, ()))
    _check_elements(parts["elements"])
    config = ModelConfig(**parts)
    scale = tuple(sorted(set(config.elements), key=lambda z: (MENDELEEV_NUMBER[z], z)))
    if isinstance(config.composition, ElementSlotsConfig) and config.elements != scale:
        raise ValueError("elements are not in the order of the Mendeleev scale, each of them once")
    return config


def _part(name: str, value: dict[str, Any] | None) -> Any:
    if value is None:
        return None
    forms = {getattr(form, "kind", None): form for form in FORMS[name]}
    settings = dict(value)
    kind = settings.pop("kind", None)
    if kind not in forms:
        raise ValueError(f"{name} must be of a kind out of {[*forms]}, got {kind!r}")
    return forms[kind](**settings)


def _check_elements(elements: tuple[int, ...]) -> None:
    if unknown := [z for z in elements if not 0 < z < len(SYMBOLS)]:
        raise ValueError(f"elements must be atomic numbers up to {len(SYMBOLS) - 1}, got {unknown}")


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The dictionary of a configuration from one of format 1, where all settings lay side by side.

    Raises:
        ValueError: a setting that is unknown, or a value of one that only comparisons had.
        LookupError: one is missing.
    """
    values = dict(flat)
    take = values.pop
    for name, only in WITHOUT_CHOICE.items():
        if (value := take(name, only)) != only:
            raise ValueError(f"{name} must be {only!r}, the variant {value!r} was taken out")
    weights, target, symmetry = take("weights"), take("target"), take("symmetry")
    slots = {"n_slots": take("n_slots"), "pointer_beta1": take("beta1_pointers")}
    composition = {
        "kind": take("elements_as"),
        "beta1": take("beta1_elements"),
        "weight": weights["elements"],
    }
    if composition["kind"] == "slots":
        composition |= slots | {"pointer_weight": weights["pointers"]}
    beta1 = take("beta1_symmetry")
    axes_or_letters = {"beta1": beta1, "weight": weights.get(symmetry)}
    images = {
        "n_images": take("n_images", 2),
        "has_displacements": take("has_displacements", False),
    }
    lattice = {"sigma1": take("sigma1_lattice"), "target": target, "weight": weights["lattice"]}
    found = {
        "composition": composition,
        "symmetry": {"kind": symmetry} | ({} if symmetry == "none" else axes_or_letters),
        "coords": _nested_coords(values, target, weights["coords"]),
        "lattice": lattice,
        "images": images if take("has_images") else None,
        "network": {field.name: take(field.name) for field in fields(NetworkConfig)},
        "loss": {name: take(name) for name in ("cross_entropy", "min_t")},
        "has_fixed_parts": take("has_known_parts", False),
    }
    # what is left is named today as it was
    return found | values


def _nested_coords(values: dict[str, Any], target: str, weight: float) -> dict[str, Any]:
    """The settings of the coordinates, taken out of the flat ones."""
    sigma1, is_standardised = values.pop("sigma1_coords"), values.pop("is_standardised")
    messages = {
        "n_messages": values.pop("n_messages", 100),
        "beta1": values.pop("beta1_coords", 1e3),
    }
    kind = values.pop("coords_as", "euclidean")
    on_line = {"sigma1": sigma1, "target": target, "is_standardised": is_standardised}
    return {"kind": kind, "weight": weight} | (messages if kind == "circular" else on_line)

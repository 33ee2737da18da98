"""Shapes in types: `Float[Tensor, "B N 3"]` reads the same with jaxtyping and without it.

A machine that only trains or samples may hold torch and NumPy alone; there the annotation
is the bare array type, and nothing is checked. The tests switch the checks on.
"""

from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
else:
    try:
        from jaxtyping import Bool, Float, Int
    except ImportError:

        class _Unchecked:
            """`Float[array, shape]` is `array`."""

            def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
                return item[0]

        Bool = Float = Int = _Unchecked

__all__ = ["Bool", "Float", "Int", "Tensor"]

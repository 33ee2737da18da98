"""What `symmbfn generate` is asked for: one request by its options, or those of a file."""

import argparse
from collections.abc import Sequence

from symmbfn.conditions.request import Request
from symmbfn.conditions.request_files import FIELDS, OPTIONS, RequestFile, read_requests

# option of each field of a request, as argparse calls it
NAMES = {field: field for field in FIELDS} | {field: name for name, field in OPTIONS.items()}


def requested(options: argparse.Namespace) -> tuple[Sequence[Request], RequestFile | None]:
    """The requests, and the file where they are from one.

    Args:
        options: of `symmbfn generate`.

    Raises:
        ValueError: neither a number of crystals nor a file; both a file and conditions; a request
            that cannot be.
        OSError: the file cannot be read.
    """
    values = {field: getattr(options, name) for field, name in NAMES.items()}
    given = {field: value for field, value in values.items() if value is not None}
    if options.requests is None:
        if options.n is None:
            raise ValueError("how many crystals? give --n N, or --requests FILE")
        return [Request.of(**given, first=options.first, seed=options.seed)], None
    if given:
        names = ", ".join(f"--{NAMES[field].replace('_', '-')}" for field in given)
        raise ValueError(f"{names} must stand in the lines of {options.requests}, not beside it")
    file = read_requests(options.requests, first=options.first, seed=options.seed)
    return file.requests, file

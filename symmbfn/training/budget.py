"""What a time budget is spent on: short warm-ups, and validations that cost little of it."""

WARMUP_SHARE = 0.1  # most of a time budget
LEAST_WARMUP = 20  # steps
VALIDATION_SHARE = 0.1  # most of a time budget


def warmup_advance(share: float, warmup_steps: int) -> float:
    """Steps of the warm-up that one step counts as.

    In a time budget the warm-up ends with `WARMUP_SHARE` of it, so a step of long duration counts
    as several; but it has `LEAST_WARMUP` steps, since a step that takes a minute because
    something is compiled is still one.

    Args:
        share: of the budget that the step took, in [0, 1].
        warmup_steps: length of the warm-up by number.
    """
    return max(1.0, min(share / WARMUP_SHARE, 1 / LEAST_WARMUP) * warmup_steps)


def is_validation_affordable(n_forward: int, n_trained: float) -> bool:
    """Whether a validation takes at most `VALIDATION_SHARE` of the time since the last one.

    A training step goes forward and back, which takes as long as three times forward.

    Args:
        n_forward: crystals times calls of the network in the validation.
        n_trained: crystals seen by training steps since the last one.
    """
    return n_forward <= VALIDATION_SHARE * 3 * n_trained

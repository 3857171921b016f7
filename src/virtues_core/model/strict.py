"""Loading weights strictly: exactly the expected names and shapes, or nothing is loaded."""

from collections.abc import Mapping

from torch import Tensor, nn

from virtues_core.errors import CheckpointError


def load_strictly(module: nn.Module, state_dict: Mapping[str, Tensor], remedy: str) -> None:
    """Load every weight of a module by name.

    Counters of batch-normalisation updates, which inference never reads, may be absent.

    Parameters
    ----------
    module
        Takes the weights.
    state_dict
        Weights by name.
    remedy
        The end of an error's text: what was expected, and what to do.

    Raises
    ------
    CheckpointError
        A name is missing or left over, or a shape differs; nothing is loaded then.
    """
    own = module.state_dict()
    counters = {key: own[key] for key in own if key.endswith(".num_batches_tracked")}
    missing = sorted(own.keys() - state_dict.keys() - counters.keys())
    extra = sorted(state_dict.keys() - own.keys())
    differing = [
        f"{key} {tuple(state_dict[key].shape)} instead of {tuple(own[key].shape)}"
        for key in sorted(own.keys() & state_dict.keys())
        if own[key].shape != state_dict[key].shape
    ]
    for what, keys in (
        ("lacks", missing),
        ("has left over", extra),
        ("has other shapes in", differing),
    ):
        if keys:
            more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
            message = f"the checkpoint {what}: {', '.join(keys[:5])}{more}. {remedy}"
            raise CheckpointError(message)
    module.load_state_dict({**counters, **state_dict})

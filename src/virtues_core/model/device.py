"""Which device a model runs on."""

import torch

from virtues_core.errors import DeviceError


def device_named(name: str) -> str:
    """Return the device of this name; ``auto`` is the GPU, where there is one.

    Raises
    ------
    DeviceError
        It is unknown or absent.
    """
    present = ["cpu"]
    if torch.backends.mps.is_available():
        present.insert(0, "mps")
    if torch.cuda.is_available():
        present.insert(0, "cuda")
    if name == "auto":
        return present[0]
    if name not in present:
        message = (
            f"expected a device among auto, {', '.join(present)} on this machine, found {name!r}. "
            "Choose one of those, or install a PyTorch for your GPU."
        )
        raise DeviceError(message)
    return name

"""The few exceptions that a user can act on.

Each message says what was expected, what was found and what to do. The command line prints it
without a traceback; the window shows it as a notification.
"""


class VirtuesError(Exception):
    """Anything the user can mend; its text is the whole story."""


class ReadError(VirtuesError):
    """A file or folder is missing, truncated, of another kind, or inconsistent."""


class MarkerError(VirtuesError):
    """A channel or marker is unknown, duplicated, unmapped or has no embedding."""


class CheckpointError(VirtuesError):
    """A checkpoint does not fit: keys, shapes, format, licence or unsafe file."""


class ConfigError(VirtuesError):
    """A setting is unknown or outside its range."""


class InputError(VirtuesError):
    """An array or a choice does not fit the analysis (size, NaN, nothing to do)."""


class DeviceError(VirtuesError):
    """The device is absent or its memory is exhausted."""


class RunError(VirtuesError):
    """A run directory cannot be read, or its job does not allow what was asked."""

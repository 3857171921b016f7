"""How a dock tells what went wrong."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from virtues_core.errors import VirtuesError


def notify(error: BaseException) -> None:
    """Show an error as a napari notification.

    One that the user can mend is shown as its message alone; a defect of ours keeps its
    traceback, one click away.
    """
    from napari.utils.notifications import (
        ErrorNotification,
        notification_manager,
        show_error,
    )

    if isinstance(error, VirtuesError):
        show_error(str(error))
    else:
        notification_manager.dispatch(ErrorNotification(error))


def telling(slot: Callable[..., Any]) -> Callable[..., Any]:
    """Make a method that answers a click tell its errors instead of raising them."""

    @wraps(slot)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return slot(*args, **kwargs)
        except VirtuesError as error:
            notify(error)
            return None

    return guarded

"""The border between steps and TaskFlow, which only flat errors cross.

TaskFlow stores the failure of a step with every exception that led to it, and for each of these
again all that led to it: a chain of twenty exceptions, as an HTTP library raises it for a refused
connection, becomes a million entries (``taskflow.types.failure.Failure.to_dict``). And it stores
their messages and arguments, whatever their size and type.
"""

from __future__ import annotations

import functools
import logging
import traceback
from collections.abc import Callable
from typing import Any

from persistence import StateError
from volflow.errors import VolflowError
from volflow.printable import bounded, printable_lines

LOG = logging.getLogger(__name__)

#: What TaskFlow calls of a task.
METHODS = (
    *("pre_execute", "execute", "post_execute"),
    *("pre_revert", "revert", "post_revert"),
)
# Characters of a traceback in the log.
_LOGGED = 100_000


def flat(method: Callable[..., Any]) -> Callable[..., Any]:
    """Make a method of a step raise only flat errors; their tracebacks go into the log.

    A flat error has no cause and no context, and its message, a limited one, is all it consists of.
    An error of volflow keeps its class, by which callers tell it from others. Any other exception
    becomes a :class:`VolflowError` with its type and message.
    """

    @functools.wraps(method)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            if getattr(error, "is_flat", False):
                raise  # the method of a base class has raised it
            flattened = _flattened(error)
            if LOG.isEnabledFor(logging.DEBUG):
                full = "".join(traceback.format_exception(error))
                LOG.debug("%s failed: %s", self.name, bounded(full, _LOGGED))
        # Out of the except block, so that the original does not become its context.
        raise flattened

    return wrapper


def _flattened(error: Exception) -> Exception:
    message = printable_lines(bounded(_text(error)))
    kind = type(error)
    if isinstance(error, (VolflowError, StateError)):
        # Not by its constructor, which may want something else than a message.
        flattened = kind.__new__(kind)
        flattened.args = (message,)
        # Such as the HTTP status; nothing that could be long or hold other exceptions.
        facts = {k: v for k, v in vars(error).items() if isinstance(v, (int, float, type(None)))}
        vars(flattened).update(facts)
        if str(flattened) != message:
            flattened = VolflowError(message)
    else:
        flattened = VolflowError(f"{kind.__name__}: {message}" if message else kind.__name__)
    vars(flattened)["is_flat"] = True
    return flattened


def _text(error: Exception) -> str:
    """An exception's message. A message that cannot be formatted must not hide the failure."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001
        return "(its message cannot be shown)"

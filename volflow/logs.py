"""The log: adds the run and volume to each line, and writes it where the options say."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from oslo_config import cfg
from oslo_context import context
from oslo_log import log
from oslo_log.formatters import JSONFormatter
from oslo_utils import strutils

from persistence import StateError
from volflow.errors import ConfigError, VolflowError
from volflow.printable import bounded, printable_lines

_PREFIX = "%(asctime)s.%(msecs)03d %(process)d "
_ABOUT = " %(name)s [%(run)s %(volume)s] "
LINE = f"{_PREFIX}%(levelname)s{_ABOUT}%(message)s"

# Characters of one message with its traceback, and lines of a traceback in JSON.
_LONGEST, _LINES = 100_000, 1000

# What oslo.log and the standard library raise for a log file or an option that cannot be used.
_UNUSABLE = (
    *(cfg.Error, log.LogConfigError),
    *(ImportError, OSError, RuntimeError, TypeError, ValueError),
)

# A key and its value, as Python and JSON write them.
_DATA = re.compile(r"""["']\s*:\s*u?["']""")


class About(context.RequestContext):
    """The run and volume that a thread works on, where oslo.log finds them."""

    def __init__(self, run_id: str | None = None, volume_id: str | None = None) -> None:
        super().__init__(request_id=run_id, overwrite=False)
        self.values = {"run": run_id or "-", "volume": volume_id or "-"}

    def get_logging_values(self) -> dict[str, str]:
        """The values for format strings and for JSON logs."""
        return dict(self.values)


@contextmanager
def about(run_id: str, volume_id: str | None = None) -> Iterator[None]:
    """Set the run and volume of what this thread logs while the block runs."""
    before = context.get_current()
    begin(run_id, volume_id)
    try:
        yield
    finally:
        # oslo.context cannot remove a context.
        (before or About()).update_store()


def begin(run_id: str | None = None, volume_id: str | None = None) -> None:
    """Set the run and volume of what this thread logs from now on; none by default."""
    About(run_id, volume_id).update_store()


def register(conf: cfg.ConfigOpts) -> None:
    """Add the options of oslo.log, with the run and the volume in the format of each line."""
    root = logging.getLogger()
    before = list(root.handlers)
    log.register_options(conf)
    # This adds a handler if the root logger has none. But a program that uses volflow decides
    # itself how it logs.
    root.handlers[:] = before
    conf.set_default("default_log_levels", [*log.get_default_log_levels(), "alembic=WARN"])
    conf.set_default("logging_context_format_string", LINE)
    conf.set_default("logging_default_format_string", LINE)
    conf.set_default("logging_exception_prefix", f"{_PREFIX}ERROR{_ABOUT}")


def setup(conf: cfg.ConfigOpts, quieted: Collection[str] = ()) -> None:
    """Add the log files and services of the configuration to the existing handlers.

    The output on the terminal does not change: the command line controls it.

    :param quieted: loggers that were silenced for the terminal; the new handlers receive them
    :raises ConfigError: the log cannot be opened
    """
    root = logging.getLogger()
    before = list(root.handlers)
    for handler in before:
        _guard(handler)
    wanted = ("log_file", "log_dir", "use_syslog", "use_journal", "log_config_append")
    if not any(conf[name] for name in wanted):
        return
    for name in quieted:
        logging.getLogger(name).setLevel(logging.NOTSET)
    hook = sys.excepthook
    try:
        log.setup(conf, "volflow", version("volflow"), fix_eventlet=False)
    except _UNUSABLE as error:
        root.handlers[:] = before
        raise ConfigError(f"Configuration of the log: {error}") from error
    finally:
        sys.excepthook = hook
    added = [handler for handler in root.handlers if not _is_terminal(handler)]
    for handler in added:
        _guard(handler)
    root.handlers[:] = [*before, *added]
    if conf.log_config_append:
        # That file sets all levels.
        return
    for handler in added:
        handler.setLevel(logging.DEBUG if conf.debug else logging.INFO)
    # Each handler has its own level. Messages that no handler wants are not even formatted.
    root.setLevel(min(handler.level for handler in root.handlers))


class Quiet(logging.Filter):
    """Passes only errors of some loggers and of those below them."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self._prefixes = tuple(f"{name}." for name in names)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record passes."""
        return record.levelno >= logging.ERROR or not f"{record.name}.".startswith(self._prefixes)


class _Guarded(logging.Formatter):
    """Makes the output of another formatter safe.

    It masks passwords and tokens, escapes control characters, and adds the run and the volume for
    formats that use them.

    :param indent: begins the further lines of a message, so that none looks like a new message
    """

    def __init__(self, formatter: logging.Formatter | None, indent: str) -> None:
        super().__init__()
        self._formatter = formatter or logging.Formatter()
        self._indent = indent

    def format(self, record: logging.LogRecord) -> str:
        current = context.get_current()
        for name, value in (current if isinstance(current, About) else About()).values.items():
            record.__dict__.setdefault(name, value)
        text = self._formatter.format(record)
        own = _is_own(record)
        if isinstance(self._formatter, JSONFormatter):
            found = _bounded(json.loads(text)) if len(text) > _LONGEST else json.loads(text)
            return json.dumps(found if own else strutils.mask_dict_password(found))
        # Whatever an API or a program answers, it must not fill the disk or take minutes to mask.
        text = bounded(text, _LONGEST)
        masked = text if own else str(strutils.mask_password(text))
        return printable_lines(masked).replace("\n", f"\n{self._indent}")


def _bounded(value: Any) -> Any:
    """A JSON value whose texts and lists are of limited length."""
    if isinstance(value, dict):
        return {key: _bounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_bounded(one) for one in value[:_LINES]]
    return bounded(value, _LONGEST) if isinstance(value, str) else value


def _is_own(record: logging.LogRecord) -> bool:
    """Whether volflow itself wrote the whole text for people, and so put no secret into it.

    What looks like a secret there can be the name of a volume or a type, and must be readable.
    """
    own = record.name.partition(".")[0] in ("volflow", "persistence")
    if not own and not isinstance(record.msg, (VolflowError, StateError)):
        return False
    if record.levelno <= logging.DEBUG or record.exc_info:
        return False
    return not _DATA.search(record.getMessage())


def _guard(handler: logging.Handler) -> None:
    indent = "" if _is_terminal(handler) else "    "
    handler.setFormatter(_Guarded(handler.formatter, indent))


def _is_terminal(handler: logging.Handler) -> bool:
    return getattr(handler, "stream", None) in (sys.stdout, sys.stderr)

"""The log: which run and volume each line is about, and where it goes besides the terminal."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version

from oslo_config import cfg
from oslo_context import context
from oslo_log import log
from oslo_log.formatters import JSONFormatter
from oslo_utils import strutils

from volflow.errors import ConfigError
from volflow.printable import printable_lines

_PREFIX = "%(asctime)s.%(msecs)03d %(process)d "
_ABOUT = " %(name)s [%(run)s %(volume)s] "
LINE = f"{_PREFIX}%(levelname)s{_ABOUT}%(message)s"

# What a log that cannot be opened, or an option of it that makes no sense, is told by.
_UNUSABLE = (
    *(cfg.Error, log.LogConfigError),
    *(ImportError, OSError, RuntimeError, TypeError, ValueError),
)


class About(context.RequestContext):
    """What a thread is busy with, where oslo.log looks for it."""

    def __init__(self, run_id: str | None = None, volume_id: str | None = None) -> None:
        super().__init__(request_id=run_id, overwrite=False)
        self.values = {"run": run_id or "-", "volume": volume_id or "-"}

    def get_logging_values(self) -> dict[str, str]:
        """For format strings, and for the lines of a JSON log."""
        return dict(self.values)


@contextmanager
def about(run_id: str, volume_id: str | None = None) -> Iterator[None]:
    """What this thread logs while the block runs is about this run, and this volume."""
    before = context.get_current()
    begin(run_id, volume_id)
    try:
        yield
    finally:
        # oslo.context has no way to forget.
        (before or About()).update_store()


def begin(run_id: str | None = None, volume_id: str | None = None) -> None:
    """What this thread logs from now on is about this run and volume, or about none."""
    About(run_id, volume_id).update_store()


def register(conf: cfg.ConfigOpts) -> None:
    """Add the options of oslo.log, with the run and the volume in the format of each line."""
    root = logging.getLogger()
    before = list(root.handlers)
    log.register_options(conf)
    # It adds a handler where there is none. How a program that uses volflow logs is its own
    # business.
    root.handlers[:] = before
    conf.set_default("default_log_levels", [*log.get_default_log_levels(), "alembic=WARN"])
    conf.set_default("logging_context_format_string", LINE)
    conf.set_default("logging_default_format_string", LINE)
    conf.set_default("logging_exception_prefix", f"{_PREFIX}ERROR{_ABOUT}")


def setup(conf: cfg.ConfigOpts, quieted: Collection[str] = ()) -> None:
    """Have the log go where the configuration says, beside where it goes already.

    What stands on the terminal is for the command line to say: it stays as it is.

    :param quieted: loggers that were silenced for the terminal's sake, and may speak again
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
        # That file says all of it.
        return
    for handler in added:
        handler.setLevel(logging.DEBUG if conf.debug else logging.INFO)
    # Each of them has its own opinion; what none of them wants is not even put together.
    root.setLevel(min(handler.level for handler in root.handlers))


class Quiet(logging.Filter):
    """Lets of some loggers, and those below them, pass nothing but errors."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self._prefixes = tuple(f"{name}." for name in names)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it passes."""
        return record.levelno >= logging.ERROR or not f"{record.name}.".startswith(self._prefixes)


class _Guarded(logging.Formatter):
    """Formats as another does, so that nobody is harmed by what stands in the text.

    What libraries may say of passwords and tokens is masked, control characters are escaped, and
    the run and the volume are there for formats that name them.

    :param indent: what further lines of a message begin with, so that none looks like a message
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
        if isinstance(self._formatter, JSONFormatter):
            return json.dumps(strutils.mask_dict_password(json.loads(text)))
        masked = str(strutils.mask_password(text))
        return printable_lines(masked).replace("\n", f"\n{self._indent}")


def _guard(handler: logging.Handler) -> None:
    indent = "" if _is_terminal(handler) else "    "
    handler.setFormatter(_Guarded(handler.formatter, indent))


def _is_terminal(handler: logging.Handler) -> bool:
    return getattr(handler, "stream", None) in (sys.stdout, sys.stderr)

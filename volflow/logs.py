"""The log: which run and volume each line is about, and where it goes besides the terminal."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

from oslo_config import cfg
from oslo_context import context
from oslo_log import log
from oslo_log.formatters import JSONFormatter
from oslo_utils import strutils

from volflow.errors import ConfigError

_PREFIX = "%(asctime)s.%(msecs)03d %(process)d "
_ABOUT = " %(name)s [%(run)s %(volume)s] "


class About(context.RequestContext):
    """What a thread is busy with, where oslo.log looks for it."""

    def __init__(self, run_id: str | None = None, volume_id: str | None = None) -> None:
        super().__init__(request_id=run_id, overwrite=False)
        self._values = {"run": run_id or "-", "volume": volume_id or "-"}

    def get_logging_values(self) -> dict[str, str]:
        """For format strings, and for the lines of a JSON log."""
        return dict(self._values)


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
    conf.set_default("logging_context_format_string", f"{_PREFIX}%(levelname)s{_ABOUT}%(message)s")
    conf.set_default("logging_default_format_string", f"{_PREFIX}%(levelname)s{_ABOUT}%(message)s")
    conf.set_default("logging_exception_prefix", f"{_PREFIX}ERROR{_ABOUT}")


def setup(conf: cfg.ConfigOpts, quieted: Mapping[str, int]) -> None:
    """Have the log go where the configuration says, beside where it goes already.

    What stands on the terminal is for the command line to say: it stays as it is.

    :param quieted: levels of the loggers that say less there
    :raises ConfigError: the log cannot be opened
    """
    root = logging.getLogger()
    terminal = list(root.handlers)
    for handler in terminal:
        handler.setFormatter(_Discreet(handler.formatter))
    wanted = ("log_file", "log_dir", "use_syslog", "use_journal", "log_config_append")
    if not any(conf[name] for name in wanted):
        return
    level, hook = root.level, sys.excepthook
    try:
        log.setup(conf, "volflow", version("volflow"), fix_eventlet=False)
        levels = {} if conf.log_config_append else _levels(conf.default_log_levels)
    except (cfg.Error, log.LogConfigError, ImportError, OSError, TypeError, ValueError) as error:
        root.handlers[:] = terminal
        raise ConfigError(f"Configuration of the log: {error}") from error
    finally:
        sys.excepthook = hook
    # Where there is a log file, each of the two has its own opinion of which libraries may talk.
    added = [handler for handler in root.handlers if not _is_terminal(handler)]
    for handler in added:
        handler.setFormatter(_Discreet(handler.formatter))
    root.handlers[:] = [*terminal, *added]
    for handler in terminal:
        handler.addFilter(Levels(quieted))
    if conf.log_config_append:
        # That file says all of it.
        return
    for handler in added:
        handler.setLevel(logging.DEBUG if conf.debug else logging.INFO)
        handler.addFilter(Levels(levels))
    for name in {*levels, *quieted}:
        least = min(levels.get(name, logging.NOTSET), quieted.get(name, logging.NOTSET))
        logging.getLogger(name).setLevel(least)
    root.setLevel(level)


class Levels(logging.Filter):
    """Lets pass what is at least as grave as the level of its logger.

    :param levels: by name of a logger, which stands for those below it too
    """

    def __init__(self, levels: Mapping[str, int]) -> None:
        super().__init__()
        self._levels = dict(levels)
        self._known: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it passes."""
        name = record.name
        if name not in self._known:
            above = [one for one in self._levels if f"{name}.".startswith(f"{one}.")]
            self._known[name] = self._levels[max(above, key=len)] if above else logging.NOTSET
        return record.levelno >= self._known[name]


class _Discreet(logging.Formatter):
    """Formats as another does, and masks what libraries may say of passwords and tokens."""

    def __init__(self, formatter: logging.Formatter | None) -> None:
        super().__init__()
        self._formatter = formatter or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        for name in ("run", "volume"):
            # For lines that are about no run.
            record.__dict__.setdefault(name, "-")
        text = self._formatter.format(record)
        if isinstance(self._formatter, JSONFormatter):
            return json.dumps(strutils.mask_dict_password(json.loads(text)))
        return str(strutils.mask_password(text))


def _is_terminal(handler: logging.Handler) -> bool:
    return getattr(handler, "stream", None) in (sys.stdout, sys.stderr)


def _levels(pairs: list[str]) -> dict[str, int]:
    found = {}
    for pair in pairs:
        name, _, level = pair.partition("=")
        known = logging.getLevelNamesMapping()
        found[name] = known[level] if level in known else int(level)
    return found

"""Base classes of the commands."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from osc_lib.command import command

from volflow import StateError, UsageError, VolflowError
from volflow.cli.cells import harmless
from volflow.cli.output import OutputError, discard, written

if TYPE_CHECKING:
    from volflow import RunResult, Volflow

LOG = logging.getLogger(__name__)


class _Volflow:
    """Prints an expected error in one line, and sets the exit status."""

    #: Do not log in before a command needs the cloud (``openstack`` reads this).
    auth_required = False
    status = 0
    #: The runs that the output is about.
    results: Sequence[RunResult] = ()

    @property
    def volflow(self) -> Volflow:
        volflow: Volflow = self.app.client_manager.volflow  # type: ignore[attr-defined]
        return volflow

    def get_epilog(self) -> str:
        """Return nothing: to name the package, cliff would read all installed packages."""
        return ""

    def run(self, parsed_args: argparse.Namespace) -> int:
        try:
            status = super().run(parsed_args)  # type: ignore[misc]
            with written():
                sys.stdout.flush()
        except OutputError as error:
            discard()
            LOG.error("%s", " ".join([str(error), *map(_ended, self.results)]))
            return 1
        except (VolflowError, StateError) as error:
            LOG.error("%s", error)
            LOG.debug("Traceback of the error", exc_info=True)
            return 2 if isinstance(error, UsageError) else 1
        return int(status or self.status)


def _ended(result: RunResult) -> str:
    """Say how a run has ended, and where to read more."""
    run = result.run_id[:8]
    return f"Run {run} has ended and is {result.outcome}; see 'volflow run show {run}'."


class Command(_Volflow, command.Command):
    """A command that prints no table."""


class Lister(_Volflow, command.Lister):
    """A command that prints a table, also as JSON, YAML or CSV."""

    def produce_output(
        self,
        parsed_args: argparse.Namespace,
        column_names: Sequence[str],
        data: Iterable[Sequence[Any]],
    ) -> int:
        rows = (harmless(parsed_args.formatter, row) for row in data)
        with written():
            return int(super().produce_output(parsed_args, column_names, rows))


class ShowOne(_Volflow, command.ShowOne):
    """A command that prints one thing."""

    def produce_output(
        self,
        parsed_args: argparse.Namespace,
        column_names: Sequence[str],
        data: Sequence[Any],
    ) -> int:
        cells = harmless(parsed_args.formatter, data)
        with written():
            return int(super().produce_output(parsed_args, column_names, cells))

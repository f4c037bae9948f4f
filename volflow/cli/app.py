"""The application around the commands: common options, logging, signals, exit statuses."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from importlib.metadata import version
from typing import Any

import openstack.exceptions
from cliff.app import App
from cliff.commandmanager import CommandManager
from cliff.help import HelpAction, HelpExit

from volflow import Stop, Volflow, load_config, logs
from volflow.cli.output import OutputError, discard, written
from volflow.cli.progress import reporter
from volflow.cli.selection import filled
from volflow.cloud.clouds_yaml import CloudsConfig

LOG = logging.getLogger(__name__)

# What tells of what volflow reports itself, or warns about what it does not use.
_CHATTY = (
    "os_brick",
    "taskflow",
    "oslo",
    "oslo_privsep",
    "oslo_service",
    "keystoneauth",
    "alembic",
    # The result tells why a volume failed.
    "volflow.runs.flow_run",
)
# This process ends at most this many seconds after the first signal.
_PATIENCE = 9.0
# The same, if no run is driven.
_SHORT_PATIENCE = 1.5


class Interrupted(KeyboardInterrupt):
    """A signal has ended a command that drives no run."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    @property
    def exit_status(self) -> int:
        """As a shell reports it."""
        return 128 + self.number

    def __str__(self) -> str:
        by = "" if self.number == signal.SIGINT else f" by {signal.Signals(self.number).name}"
        return f"Interrupted{by}."


class ClientManager:
    """Gives the commands volflow, as ``openstack`` gives its plug-ins their clients."""

    def __init__(self, app: VolflowApp) -> None:
        self._app = app
        self._volflow: Volflow | None = None

    @property
    def volflow(self) -> Volflow:
        if self._volflow is None:
            options = self._app.options
            conf = load_config(options.config_file)
            for name, group in (("location", "repository"), ("password_file", "repository")):
                if getattr(options, name):
                    conf.set_override(name, getattr(options, name), group)
            if options.state_dir:
                conf.set_override("state_dir", options.state_dir)
            logs.setup(conf, self._app.quieted)
            self._volflow = Volflow.from_config(
                conf, cloud_arguments=options, observer=reporter(options.verbose_level)
            )
        return self._volflow

    @property
    def stop(self) -> Stop | None:
        """Stops the current run; None before there is one."""
        return self._volflow.stop if self._volflow else None

    def close(self) -> None:
        if self._volflow is not None:
            self._volflow.close()


class VolflowApp(App):
    """The program ``volflow``."""

    LOG_FILE_MESSAGE_FORMAT = logs.LINE

    def __init__(self) -> None:
        super().__init__(
            description="Back up and restore OpenStack Cinder volumes through os-brick.",
            version=version("volflow"),
            command_manager=CommandManager("volflow.cli"),
            deferred_help=True,
        )
        self.client_manager = ClientManager(self)
        self._interrupted: Interrupted | None = None

    def build_option_parser(self, *args: Any, **kwargs: Any) -> argparse.ArgumentParser:
        kwargs["argparse_kwargs"] = {"parents": [_cloud_options()]}
        parser: argparse.ArgumentParser = super().build_option_parser(*args, **kwargs)
        group = parser.add_argument_group("volflow")
        group.add_argument(
            "--config-file",
            action="append",
            metavar="FILE",
            help="Configuration file, instead of /etc/volflow/volflow.conf (may be repeated)",
        )
        group.add_argument(
            "--repository",
            dest="location",
            type=filled,
            metavar="LOCATION",
            help="The repository as restic names it: a path, or sftp:, s3:, swift:, rest:, rclone:",
        )
        group.add_argument(
            "--password-file",
            type=filled,
            metavar="FILE",
            help="File with the repository's password",
        )
        group.add_argument(
            "--state-dir",
            type=filled,
            metavar="DIR",
            help="Directory for the state database and the locks",
        )
        return parser

    @property
    def quieted(self) -> tuple[str, ...]:
        """The loggers whose messages below ERROR are not shown on the terminal."""
        return _CHATTY if self.options.verbose_level < 2 else ()

    def configure_logging(self) -> None:
        super().configure_logging()
        for handler in logging.getLogger().handlers:
            handler.addFilter(logs.Quiet(self.quieted))
        for name in self.quieted:
            # Do not even format the messages: keystoneauth logs each request.
            logging.getLogger(name).setLevel(logging.ERROR)

    def print_help_if_requested(self) -> None:
        try:
            with written():
                super().print_help_if_requested()
        except OutputError:
            discard()
            raise

    def interact(self) -> None:
        """Show the help: without a command there is nothing to do, and nothing to ask.

        :raises SystemExit: always; the command line is wrong
        """
        try:
            HelpAction([], argparse.SUPPRESS, default=self)(self.parser, self.options, None)
        except HelpExit as shown:
            raise SystemExit(2) from shown

    def run_subcommand(self, argv: list[str]) -> int:
        stop = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        hang_up = signal.getsignal(signal.SIGHUP)
        if hang_up is not signal.SIG_IGN:
            # Under nohup it stays ignored.
            stop[signal.SIGHUP] = hang_up
        for number in stop:
            signal.signal(number, self._stop)
        try:
            status = int(super().run_subcommand(argv))
            # The command can have ended with an error of a program that the signal has ended.
            return self._interrupted.exit_status if self._interrupted else status
        except Interrupted as error:
            return error.exit_status
        finally:
            ended = self.client_manager.stop
            for number, handler in stop.items():
                # After the end of the command, another signal must not change the exit status.
                done = ended is not None and ended.event.is_set()
                signal.signal(number, signal.SIG_IGN if done else handler)
            self.client_manager.close()

    def _stop(self, number: int, frame: object) -> None:
        """Suspend the run at the first signal and undo it at the second.

        Without a run, end the command.

        :raises Interrupted: no run is driven
        """
        name, stop = signal.Signals(number).name, self.client_manager.stop
        if stop is None or not (stop.drives or stop.serves):
            self._interrupt(number, stop)
        elif not stop.drives:
            stop.suspend()
        elif stop.event.is_set():
            if number == signal.SIGHUP:
                # When a terminal closes, both the kernel and the shell send it.
                return
            LOG.warning("%s again: undoing the run.", name)
            stop.abort()
        else:
            LOG.warning("%s: suspending the run. A second signal undoes it.", name)
            # SIGINT is Ctrl-C: a person has decided. A closed terminal or systemd has not.
            stop.suspend(hold=number == signal.SIGINT)
            threading.Thread(target=self._leave, args=(stop,), daemon=True).start()

    def _interrupt(self, number: int, stop: Stop | None) -> None:
        """End a command that drives no run.

        :raises Interrupted: always, but for a second signal, which needs no more
        """
        if self._interrupted:
            return
        self._interrupted = Interrupted(number)
        # Standard error may be a terminal with an unfinished line: that of a question, or "^C".
        # Python's own file cannot be written to if the signal has interrupted exactly that.
        line = "\n" if sys.stderr.isatty() else ""
        with contextlib.suppress(OSError):
            os.write(2, f"{line}{self._interrupted}\n".encode())
        if stop:
            # This ends the programs that other threads wait for.
            stop.suspend()
        threading.Thread(target=self._end, args=(self._interrupted,), daemon=True).start()
        raise self._interrupted

    def _end(self, interrupted: Interrupted) -> None:
        """End the process if something does not end by itself; its programs end with it."""
        time.sleep(_SHORT_PATIENCE)
        self.stderr.flush()
        os._exit(interrupted.exit_status)

    def _leave(self, stop: Stop) -> None:
        """End the process if a step cannot be interrupted: a resume repeats that step."""
        time.sleep(_PATIENCE)
        if not stop.aborting:
            LOG.warning("A step does not end in time; the run can still be resumed.")
            self.stderr.flush()
            os._exit(1)


def _cloud_options() -> argparse.ArgumentParser:
    """The options ``--os-*``, in their own parser: a failure leaves it half-filled."""
    options = argparse.ArgumentParser(add_help=False)
    try:
        CloudsConfig().register_argparse_arguments(options, sys.argv[1:])
    except openstack.exceptions.ConfigException:
        # The error is reported when a command needs the cloud; help and listings do not.
        options = argparse.ArgumentParser(add_help=False)
        bare = CloudsConfig(load_yaml_config=False, load_envvars=False)
        bare.register_argparse_arguments(options, [])
    # Its default comes from the cloud that the SDK chose, which may not be the configured one.
    options.set_defaults(os_auth_type=os.environ.get("OS_AUTH_TYPE"))
    # keystoneauth's default would override clouds.yaml.
    options.set_defaults(os_interface=os.environ.get("OS_INTERFACE"))
    return options

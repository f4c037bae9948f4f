"""The program ``volflow``."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    0: complete; 1: failed; 2: the command line is wrong; 3: partial; 130 or 143: a signal has ended
    a command that drives no run.
    """
    if not _streams():
        return 1
    from volflow.cli.output import OutputError, discard, written

    try:
        with written():
            try:
                return _main(argv)
            finally:
                sys.stdout.flush()
    except OutputError as error:
        discard()
        print(error, file=sys.stderr)
        return 1


def _main(argv: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments == ["--version"]:
        # Scripts ask this often. It needs none of the libraries.
        from importlib.metadata import version

        print(f"volflow {version('volflow')}")
        return 0
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        # During the imports, before a command begins.
        print("Interrupted.", file=sys.stderr)
        return 130


def _streams() -> bool:
    """Whether the standard streams can be used.

    Without them, the next file that is opened takes their place, for example the state database:
    what is printed would be written into it.
    """
    # The lowest free descriptor is the one that is missing.
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115
    closed = sys.stdout is None
    if closed:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if closed:
        print("The standard output is closed: nothing could be shown.", file=sys.stderr)
    return not closed


def _run(arguments: list[str]) -> int:
    without_eventlet()
    # Imported objects live as long as the process: the garbage collector need not scan them,
    # neither during the imports nor later.
    gc.disable()
    from volflow.cli.app import VolflowApp

    gc.freeze()
    gc.enable()
    return int(VolflowApp().run(arguments))


def without_eventlet() -> None:
    """Make this process use threads, not eventlet.

    oslo.privsep and oslo.service, which os-brick needs, import eventlet by default. That takes a
    fifth of a second, and os-brick's loops would run in green threads.
    """
    sys.modules["eventlet"] = None  # type: ignore[assignment]
    from oslo_service import backend

    backend.register_backend_default_hook(lambda: backend.BackendType.THREADING)


if __name__ == "__main__":
    sys.exit(main())

"""The program ``volflow``."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, and give its exit status.

    0: complete; 1: failed; 2: the command line is wrong; 3: partial.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments == ["--version"]:
        # Scripts ask this often, and it needs none of the libraries.
        from importlib.metadata import version

        print(f"volflow {version('volflow')}")
        return 0
    # Libraries of OpenStack warn of eventlet where it is installed; volflow does not use it.
    warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
    from volflow.cli.app import VolflowApp

    return int(VolflowApp().run(arguments))


if __name__ == "__main__":
    sys.exit(main())

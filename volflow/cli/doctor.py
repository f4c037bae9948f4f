"""``volflow doctor``"""

from __future__ import annotations

import argparse

from volflow.cli.command import Lister
from volflow.cli.result import Table


class Doctor(Lister):
    """Check this host, the repository and the cloud for what would make a run fail"""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        findings = self.volflow.doctor()
        self.status = 0 if all(finding.good for finding in findings) else 1
        return ("Check", "Good", "Finding"), [
            (finding.check, "yes" if finding.good else "NO", finding.text) for finding in findings
        ]

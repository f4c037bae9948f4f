"""``volflow doctor``"""

from __future__ import annotations

import argparse

from volflow.api import doctor
from volflow.cli.command import Lister
from volflow.cli.result import Table


class Doctor(Lister):
    """Say what is missing on this host or in this cloud, before a run would find out"""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        findings = list(doctor.examine(self.volflow))
        self.status = 0 if all(finding.good for finding in findings) else 1
        return ("Check", "Good", "Finding"), [
            (finding.check, "yes" if finding.good else "NO", finding.text) for finding in findings
        ]

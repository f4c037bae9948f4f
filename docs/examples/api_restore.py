"""Restore the last backup of a volume to a new volume, and compare the files."""

import sys

from volflow import RestoreOptions, Volflow

with Volflow.from_config() as volflow:
    plan = volflow.restores.plan([sys.argv[1]], RestoreOptions(new=True, verify=True))
    for target in plan.targets:
        print("backup", target.backup.id[:8], "of", target.manifest.snapshot["created_at"])
    result = volflow.restores.run(plan)

for volume in result.volumes:
    print(volume.name, volume.outcome, volume.target_id)
raise SystemExit(result.outcome.exit_status)

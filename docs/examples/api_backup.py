"""Back up all volumes of the project."""

from volflow import Selection, Volflow

with Volflow.from_config() as volflow:
    result = volflow.backups.create(Selection(everything=True))

for volume in result.volumes:
    print(volume.name, volume.outcome, volume.backup_id)
    for path in volume.unread:
        print("  could not be read:", path)
raise SystemExit(result.outcome.exit_status)

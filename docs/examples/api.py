from volflow import Context, Outcome, Volflow, config

with Volflow(Context(config.load())) as volflow:
    result = volflow.backups.create(["notes"])

for volume in result.volumes:
    print(volume.name, volume.outcome, volume.backup_id)
    for path in volume.unread:
        print("  could not be read:", path)
if result.outcome is not Outcome.COMPLETE:
    raise SystemExit(result.outcome.exit_status)

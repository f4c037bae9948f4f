"""List a directory of a volume's last backup, and extract it."""

import sys
from pathlib import Path

from volflow import BackupNotFoundError, Volflow

volume, directory, target = sys.argv[1:]
with Volflow.from_config() as volflow:
    try:
        backup = volflow.backups.find(volume)
    except BackupNotFoundError as error:
        raise SystemExit(str(error)) from error
    for file in volflow.backups.files(backup, directory, recursive=True):
        print(file.permissions, file.size, file.path)
    volflow.backups.export(backup).to_directory(Path(target), [directory])

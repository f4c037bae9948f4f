"""What volflow costs, compared with a script and with cinder-backup: ``tools/bench``."""

"""What volflow costs beside a script that does the same by hand: ``tools/bench``."""

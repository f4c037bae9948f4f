"""The demo: two volumes of a real Cinder are backed up, one is lost, and both come back.

Nothing here that judges volflow's work shares code with it.
"""

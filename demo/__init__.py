"""The demo: volflow backs up two volumes of a real Cinder, one is lost, and volflow restores both.

The code that checks volflow's work shares no code with volflow.
"""

"""Disks of every kind that tenants have, made with standard tools, and what volflow makes of each.

:func:`tests.gallery.catalogue.exhibits` names them.
"""

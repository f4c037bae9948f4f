"""Reads and writes restic's repository format (version 2) without restic, for raw images.

The core knows nothing of images, and can carry file trees too: :mod:`.crypto`, :mod:`.documents`,
:mod:`.directory`, :mod:`.blobs`, :mod:`.packs`, :mod:`.index`, :mod:`.trees`, :mod:`.snapshots`,
:mod:`.locks` and :mod:`.store`, which joins them. :mod:`.chunks`, :mod:`.device`, :mod:`.saving`,
:mod:`.plan` and :mod:`.restoring` are about images. :mod:`.program` is a process of its own, one
for each volume; :mod:`.mover` starts it.

The facts come from restic's design document (``doc/design.rst``) and from what restic 0.14 to 0.19
writes and accepts.
"""

"""A kind of file system: the commands that make it, and what is done to it afterwards."""

from __future__ import annotations

from dataclasses import dataclass

Command = tuple[str, ...]

# In a command: the device, and where it is mounted.
DEVICE, MOUNT = "DEVICE", "MOUNT"


@dataclass(frozen=True)
class Variant:
    """A file system as a tenant may have made it.

    :ivar name: what is special about it
    :ivar kind: its type, as mount(8) takes it
    :ivar make: creates it on the device
    :ivar inside: runs where it is mounted, before it gets files
    :ivar afterwards: runs on the device when it has its files
    :ivar crashed: its guest was killed: the journal is not empty, and a file is open and has no
        name
    """

    name: str
    kind: str
    make: tuple[Command, ...]
    inside: tuple[Command, ...] = ()
    afterwards: tuple[Command, ...] = ()
    crashed: bool = False

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def commands(text: str) -> tuple[Command, ...]:
    """Commands that are separated by semicolons, as words."""
    return tuple(tuple(one.split()) for one in text.split(";") if one.strip())


def placed(command: Command, device: str, mount: str = "") -> list[str]:
    """A command for a device and its mount."""
    return [word.replace(DEVICE, device).replace(MOUNT, mount) for word in command]

"""restic as volflow calls it, for a repository of a test."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from volflow import config
from volflow.host.privilege import Privilege
from volflow.movers.restic.program import ResticProgram
from volflow.repositories.settings import RepositorySettings

_Program = TypeVar("_Program", bound=ResticProgram)


def settings(directory: Path, **options: object) -> RepositorySettings:
    """The settings of a repository in this directory, with the password "secret".

    :param options: options of ``[repository]`` that replace these
    """
    conf = config.load([])
    password = directory / "password"
    password.write_text("secret\n")
    values = {
        "location": str(directory / "repository"),
        "password_file": str(password),
        **options,
    }
    for name, value in values.items():
        conf.set_override(name, value, "repository")
    return RepositorySettings(conf, directory / "cache")


def program(directory: Path, **options: object) -> ResticProgram:
    """restic for a repository in this directory."""
    return ResticProgram(settings(directory, **options), Privilege())


def replaced(directory: Path, kind: type[_Program]) -> _Program:
    """An instance of this subclass, which answers instead of restic."""
    return kind(settings(directory), Privilege())

"""The errors of volflow. Each message says what is wrong and what to do about it."""

from __future__ import annotations


class VolflowError(Exception):
    """Base of every error that volflow raises on purpose. Its text is meant for the operator."""


class UsageError(VolflowError):
    """The request itself makes no sense (exit status 2)."""


class ConfigError(VolflowError):
    """An option is missing or wrong."""


class CloudError(VolflowError):
    """Keystone or Cinder could not be reached, or refused.

    :ivar status: the HTTP status of the answer, where there was one
    """

    # A copy that is made without the constructor has these values.
    status: int | None = None

    def __init__(self, message: object = "", *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class UnavailableError(CloudError):
    """Keystone or Cinder gave no answer, or one that says nothing about the request.

    :ivar retry_after: seconds that the API asks to wait before the next request
    :ivar tried: whether volflow has already repeated the request for as long as it may
    """

    retry_after: float = 0.0
    tried: bool = False

    def __init__(
        self, message: object = "", *, status: int | None = None, retry_after: float = 0.0
    ) -> None:
        super().__init__(message, status=status)
        self.retry_after = retry_after


class ResourceNotFoundError(CloudError):
    """Cinder answered 404: the resource does not exist (or this user cannot see it)."""


class QuotaError(CloudError):
    """The quota is too small for the temporary resources of the run."""


class VolumeStateError(CloudError):
    """The state of a volume does not allow the step."""


class SourceDeletedError(VolflowError):
    """A volume was deleted before its backup began: there is nothing to back up."""


class WaitError(CloudError):
    """A resource went into an error state, or stayed too long in a transitional one."""


class NotDeletedError(WaitError):
    """Cinder has begun to delete a resource, and shows it in its former state again."""


class HostError(VolflowError):
    """This host lacks a program or a right, or a command on it failed."""


class NoProgressError(HostError):
    """A program made no progress for too long, and was ended.

    :ivar said: the end of its error messages
    """

    def __init__(self, message: str, said: str = "") -> None:
        super().__init__(message)
        self.said = said


class FullError(HostError):
    """The file system that volflow writes a backup's files to is full.

    :ivar said: what the program has said that could not write
    """

    # A copy that is made without the constructor has this value.
    said: str = ""

    def __init__(self, message: str, said: str = "") -> None:
        super().__init__(message)
        self.said = said


class DiskError(VolflowError):
    """volflow cannot back up or restore the content of a volume."""


class RepositoryError(VolflowError):
    """The repository is missing, refuses, or failed."""


class NoRepositoryError(RepositoryError):
    """No repository exists at the configured location."""


class PasswordError(RepositoryError):
    """The repository has another password."""


class BackupNotFoundError(RepositoryError):
    """No backup has this id or prefix, or is of this volume."""


class ChangedError(VolflowError):
    """Somebody else has changed what volflow would undo, delete or overwrite. Trying again does
    not help: a person must decide.
    """


class StoppedError(VolflowError):
    """A step was interrupted because the run was asked to stop."""


class DrivenError(VolflowError):
    """Another process drives the run."""


class SuspendedError(VolflowError):
    """A run was suspended: nothing was undone, and it can be resumed."""

"""What can go wrong, each with a message that says what to do about it."""

from __future__ import annotations


class VolflowError(Exception):
    """Base of every error that volflow raises on purpose. Its text is meant for the operator."""


class UsageError(VolflowError):
    """The request itself makes no sense (exit status 2)."""


class ConfigError(VolflowError):
    """An option is missing or wrong."""


class CloudError(VolflowError):
    """Keystone or Cinder could not be reached, or refused."""


class ResourceNotFoundError(CloudError):
    """Cinder answered 404: the resource is not there (or not visible to this user)."""


class QuotaError(CloudError):
    """The quota cannot hold what the run needs for a while."""


class VolumeStateError(CloudError):
    """A volume is in a state in which the step makes no sense or would do harm."""


class WaitError(CloudError):
    """A resource went into an error state, or stayed too long in a transitional one."""


class HostError(VolflowError):
    """This host lacks a program or a right, or a command on it failed."""


class DiskError(VolflowError):
    """The content of a volume is nothing that volflow can back up or restore."""


class RepositoryError(VolflowError):
    """The repository is missing, refuses, or failed."""


class NoRepositoryError(RepositoryError):
    """There is no repository at the place that is configured."""


class PasswordError(RepositoryError):
    """There is a repository, and its password is another one."""


class BackupNotFoundError(RepositoryError):
    """No backup goes by that id, prefix or volume."""


class StoppedError(VolflowError):
    """A step was interrupted because the run was asked to stop."""


class DrivenError(VolflowError):
    """Another process drives the run."""


class SuspendedError(VolflowError):
    """A run was suspended: nothing was undone, and it can be resumed."""

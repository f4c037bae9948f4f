"""The command line: one class for each verb."""

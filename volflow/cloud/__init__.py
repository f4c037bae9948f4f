"""OpenStack: the login, Cinder, Keystone."""

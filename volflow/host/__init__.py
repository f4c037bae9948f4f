"""What volflow does on this host: attach with os-brick, mount, and run programs as root."""

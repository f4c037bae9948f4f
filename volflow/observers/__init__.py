"""Who hears how a run goes."""

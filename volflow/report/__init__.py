"""Reports on a run: an HTML page with a timeline, and a graph of its tasks."""

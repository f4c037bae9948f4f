"""Plans: what a backup or a restore is going to do, decided before it creates anything."""

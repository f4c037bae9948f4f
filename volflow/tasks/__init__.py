"""The steps, each a revertable TaskFlow task: one file for each thing that is made and unmade."""

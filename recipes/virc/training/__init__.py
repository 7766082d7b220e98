"""Trains stages: checks rows and machine, begins runs, follows and resumes them. `train` does all of it."""

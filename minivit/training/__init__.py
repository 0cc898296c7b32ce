"""Training: settings, optimisers, the step, the loop, and the run directory it leaves behind."""

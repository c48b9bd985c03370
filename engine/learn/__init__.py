"""Learning from labelled text: the solver behind the shipped linear heads."""

"""Sessions over files: the frozen simulator, the training of the session score, and the view of one session."""

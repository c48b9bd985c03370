"""Red teaming: attacks of garak, of PyRIT and of our own against the engine in front of a model that obeys."""

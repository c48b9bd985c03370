"""Where others' programs meet the screener: a proxy before a model, and hooks of libraries, each of them thin."""

"""`aimds proxy`: stands before an OpenAI- or Anthropic-compatible server, screens what goes in and what comes out."""

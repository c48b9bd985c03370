"""Which model answers a screened prompt: tiers, their prices, budgets, a cache of answers, and the sending itself."""

"""The console: a page on which people review, and the small server behind it."""

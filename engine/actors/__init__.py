"""The way to a cluster: plain objects decide who does what and when, shells around them are the only users of Ray."""

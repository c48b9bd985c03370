"""Processes that speak QUIC for a gateway: they carry requests to it and answers back, and decide nothing.

`process` is what runs in each, `far` its end of the link, `near` the gateway's, `processes` starts and replaces them.
"""

"""Policies over traces: temporal logic on finite traces, compiled, evaluated in batches, monitored live, certified."""

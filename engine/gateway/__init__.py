"""Live screening: requests come over QUIC or TCP, wait for a batch, and their verdicts go back as they are ready."""

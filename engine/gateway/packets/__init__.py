"""QUIC packets that both ends read and write whole, once the handshake is over; rare ones are left to aioquic."""

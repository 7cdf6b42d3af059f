"""What a cine's labels say of a heart: volumes over the cycle, ejection fraction, mass, and the wall's thickness by segment."""

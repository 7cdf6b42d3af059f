"""The learned anatomy: where each tissue lies in a template frame, and the shape of the skin."""

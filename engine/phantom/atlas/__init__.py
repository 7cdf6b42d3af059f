"""The learned anatomy: where each tissue lies in a template frame."""

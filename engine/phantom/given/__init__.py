"""What is given of a person: who is drawn for it, what the table counts, and the body that meets it."""

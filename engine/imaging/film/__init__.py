"""Pictures that move: films, and a body that turns."""

"""The atlas of a cohort: the registration of its persons, and what they have in common."""

"""The in-silico torso cohort: who (anthropometry), shape (anatomy), MR signal (dixon), store and files (cohort)."""

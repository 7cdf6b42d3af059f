"""The shape of the skin: sections of trunk and thigh, learned on bodies of a phenotype basis."""

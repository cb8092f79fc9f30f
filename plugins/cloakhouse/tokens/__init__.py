"""Tokens: pseudonyms, format-preserving encryption, generalization and masks, as pure functions on Arrow arrays."""

"""The validation report of a release: a signed record without values, and its page and PDF."""

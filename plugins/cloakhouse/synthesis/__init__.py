"""Synthesizers behind one protocol, and the view of protected data that they are fitted on."""

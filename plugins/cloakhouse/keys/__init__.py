"""Keys: the key-service protocol and its backends, envelope encryption, derivation."""

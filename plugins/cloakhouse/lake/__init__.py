"""The encrypted lake: zones, landed files, encrypted Parquet, manifests. Everything that stores data goes through here."""

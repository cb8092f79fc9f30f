"""The encrypted lake: landed files, encrypted Parquet, manifests. All data is stored through here."""

"""Data contracts: ODCS v3 YAML with a privacy part, column classes and treatments. Pure; the only IO reads YAML."""

"""Measures of privacy over Arrow tables: equivalence classes, exact copies, direct identifiers. No IO."""

"""Documents that data protection law asks for, made from contracts and the audit log."""

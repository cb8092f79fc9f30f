"""SDV's synthesizers behind the platform's protocol. No module here loads SDV before a function needs it."""

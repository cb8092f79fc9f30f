"""What model teams use: the Python API (`cloakhouse.connect`) and the command line (`cloakhouse`)."""

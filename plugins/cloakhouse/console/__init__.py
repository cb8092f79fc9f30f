"""The auditors' web app: reads the control database and the lake, and writes acknowledgements of alerts alone."""

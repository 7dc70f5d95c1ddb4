"""Tables from files and objects to cells, and back to files."""

"""Models of the rows of a table: how they are built, trained, scored and stored."""

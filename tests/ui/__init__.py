"""A package, so that fixtures of that scope end with the last of these tests."""

"""The tests of Jabba."""

"""Tests from the outside, as a user meets Jabba: commands, URLs, what is printed."""

"""The HTTP interface, as Faust views."""

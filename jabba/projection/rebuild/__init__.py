"""Making the projection anew from the log, beside the live one, and putting it in its place."""

"""Work on results: run again, branch, compare, variants, mark as asset."""

classes = ()

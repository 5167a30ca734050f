"""Rigs: put up the orbit's box, gather cameras."""

classes = ()

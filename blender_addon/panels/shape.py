"""What grows: size, place, field."""

classes = ()

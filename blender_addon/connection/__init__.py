"""The way to the server: the session, the search for a server, its process and its tools. No Blender, but for words."""

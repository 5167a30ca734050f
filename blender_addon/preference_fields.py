"""How errors name the fields of preferences, so that their button opens the right page. Names only, no Blender."""

from __future__ import annotations

PREFERENCES_PREFIX = "preferences."
ONLINE_ACCESS_FIELD = "preferences.system.use_online_access"
PROGRAM_FIELD = "preferences.python_command"
LINE_FIELD = "preferences.connection_line"

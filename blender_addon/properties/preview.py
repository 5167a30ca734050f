"""Fields of the previews."""

import bpy
from limbeck_protocol.view_cameras import VIEWER_SIZE


class PreviewFields:
    """Where the growing object is shown."""

    viewport_preview: bpy.props.BoolProperty(
        name="Show in Viewport",
        description="Show the object in the 3-D view while it grows, from where you look. The server spends up to a "
        "tenth of its time on it; the result stays the same",
        default=True,
    )
    viewport_preview_size: bpy.props.IntProperty(
        name="Pixels",
        description="Side of the picture in the viewport. A larger one comes less often",
        default=VIEWER_SIZE,
        min=16,
        max=256,
    )

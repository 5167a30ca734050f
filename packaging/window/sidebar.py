"""The sidebar of the 3-D view as a person finds it: by what a button does, not by where it is.

Where a button lies is asked of Blender itself: the mouse is moved over the sidebar row by row, and what is highlighted
there is copied with Blender's own *Copy Python Command* and *Copy Data Path*. So a test names `limbeck.generate` or
`limbeck.prompt`, and layouts may change.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from driver import BlenderWindow
from PIL import Image

ROW_STEP_PX = 9
"""Finer than half a button's height (20 px), so that none is missed."""
COLUMNS = (0.62, 0.9, 0.25, 0.45, 0.78)
"""Where a row is looked at, as shares of the sidebar's width without its tabs, the likeliest first."""
TABS_PX = 26
WHEEL_UP, WHEEL_DOWN = 4, 5

_HELPERS = """
import time as _time

def _view():
    window = bpy.context.window_manager.windows[0]
    area = max((a for a in window.screen.areas if a.type == "VIEW_3D"), key=lambda a: a.width * a.height)
    regions = {r.type: r for r in area.regions}
    return window, area, regions

def _under_the_mouse(window, area, region):
    wm = bpy.context.window_manager
    with bpy.context.temp_override(window=window, area=area, region=region):
        for operator, options in ((bpy.ops.ui.copy_python_command_button, {}),
                                  (bpy.ops.ui.copy_data_path_button, {"full_path": True})):
            if operator.poll():
                wm.clipboard = ""
                try:
                    operator(**options)
                except RuntimeError:
                    continue
                if wm.clipboard:
                    return wm.clipboard
    return ""

def _look(points, wanted=None):
    window, area, regions = _view()
    found = []
    for x, y in points:
        window.cursor_warp(x, y)
        yield 0.02
        text = _under_the_mouse(window, area, regions["UI"])
        if text:
            # The X server may be late: what is there must still be there a moment later.
            yield 0.05
            if text != _under_the_mouse(window, area, regions["UI"]):
                continue
            found.append([x, window.height - y, text])
            if wanted is not None and wanted in text:
                return found[-1:]
    return found if wanted is None else []

_drawn = globals().get("_drawn", {})

def _watch_panels():
    for cls in bpy.types.Panel.__subclasses__():
        name = getattr(cls, "bl_idname", cls.__name__) or cls.__name__
        if name.startswith("LIMBECK_PT_") and name not in _drawn and getattr(cls, "bl_space_type", "") == "VIEW_3D":
            _drawn[name] = 0.0
            def mark(self, context, name=name):
                _drawn[name] = _time.monotonic()
            cls.append(mark)

def _panels_in_order():
    _watch_panels()
    classes = [getattr(bpy.types, name) for name in _drawn]
    shown = [c for c in classes if getattr(c, "bl_parent_id", "") == "LIMBECK_PT_main"]
    window, area, regions = _view()
    with bpy.context.temp_override(window=window, area=area, region=regions["UI"]):
        shown = [c for c in shown if not hasattr(c, "poll") or c.poll(bpy.context)]
    return [c.bl_rna.identifier for c in shown]

def _open_panels():
    _watch_panels()
    window, area, regions = _view()
    begun = _time.monotonic()
    regions["UI"].tag_redraw()
    for _ in range(40):
        yield 0.1
        if any(when > begun for when in _drawn.values()):
            break
    yield 0.1
    return sorted(name for name, when in _drawn.items() if when > begun)
"""


CHEVRON = np.array(
    [
        [c == "#" for c in row]
        for row in ("##....", ".##...", "..##..", "...##.", "....##", "...##.", "..##..", ".##...", "##....")
    ]
)
"""The mark of a folded sub-panel, `>`; strokes are two pixels wide when antialiased."""


def folded_headers(sidebar: Image.Image) -> list[int]:
    """Return the heights in a sidebar's picture at which a mark says that a sub-panel is folded, from the top down."""
    bright = np.asarray(sidebar.convert("L"), dtype=np.float32)[:, 20:60] > 80
    rows, _columns = CHEVRON.shape
    windows = np.lib.stride_tricks.sliding_window_view(bright, CHEVRON.shape)
    agree = (windows == CHEVRON).mean(axis=(2, 3)).max(axis=1)
    found: list[int] = []
    for y in np.flatnonzero(agree > 0.92):
        if not found or y + rows // 2 - found[-1] > rows:
            found.append(int(y) + rows // 2)
    return found


@dataclass(frozen=True)
class Spot:
    """Something under the mouse: where (screen pixels, y downwards) and what it does."""

    x: int
    y: int
    text: str


class Sidebar:
    """The sidebar of the largest 3-D view of a running Blender."""

    def __init__(self, blender: BlenderWindow) -> None:
        self.blender = blender
        self._last: dict[str, Spot] = {}
        self._headers: dict[str, int] = {}
        blender.run(_HELPERS)

    # --- where it is ---

    def box(self) -> tuple[int, int, int, int]:
        """Return left, top, right, bottom of the sidebar on the screen."""
        return self._region_box("UI")

    def viewport_box(self) -> tuple[int, int, int, int]:
        """Return left, top, right, bottom of the view's own part, without header, toolbar and sidebar."""
        left, top, right, bottom = self._region_box("WINDOW")
        side = self.box()
        tools = self._region_box("TOOLS")
        return max(left, tools[2]), top + 60, side[0] if side[2] - side[0] > 1 else right, bottom

    def _region_box(self, kind: str) -> tuple[int, int, int, int]:
        x, y, width, height, screen = self.blender.run(
            f"window, area, regions = _view()\nr = regions[{kind!r}]\n"
            "result = [r.x, r.y, r.width, r.height, window.height]"
        )
        return x, screen - y - height, x + width, screen - y

    # --- opening ---

    def open(self, tab: str = "Limbeck") -> None:
        """Press N over the view and click the tabs from the top until `tab` is the open one.

        Raises:
            LookupError: there is no such tab.
        """
        if not self.blender.ask("_view()[1].spaces.active.show_region_ui"):
            left, top, right, bottom = self.viewport_box()
            self.blender.move((left + right) / 2, (top + bottom) / 2)
            time.sleep(0.4)
            self.blender.key("n")
            self.blender.wait_for("_view()[2]['UI'].width > 1")
        shown = "_view()[2]['UI'].active_panel_category"
        left, top, right, bottom = self.box()
        for y in range(top + 20, bottom, 34):
            if self.blender.ask(shown) == tab:
                return
            self.blender.click(right - 12, y)
        raise LookupError(f"The sidebar has no tab {tab!r} (it shows {self.blender.ask(shown)!r}).")

    def open_panels(self) -> list[str]:
        """Return the class names of our panels that are unfolded now."""
        return self.blender.run("steps = _open_panels")

    def unfold(self, panel: str) -> None:
        """Click on the header of a sub-panel that is folded.

        Raises:
            LookupError: it is not there.
        """
        tried: set[int] = set()
        for _page in range(2):
            unfolded = self.open_panels()
            if panel in unfolded:
                return
            left, top, _right, _bottom = self.box()
            headers = [y for y in folded_headers(self.picture()) if y not in tried]
            # Where it should be, if the folded panels stand in the order of their registration; else everywhere.
            folded = [name for name in self.blender.run("result = _panels_in_order()") if name not in unfolded]
            place = folded.index(panel) if panel in folded else 0
            for y in sorted(headers, key=lambda y: abs(headers.index(y) - place)):
                tried.add(y)
                self.blender.click(left + 34, top + y)
                now = self.open_panels()
                if panel in now:
                    self._headers[panel] = top + y
                    return
                # Another one's header: put it back, so that the places below stay true.
                self.blender.click(left + 34, top + y)
                time.sleep(0.3)
            self.scroll(WHEEL_DOWN)
            tried.clear()
        raise LookupError(f"No header unfolds {panel}; unfolded are {self.open_panels()}.")

    def fold(self, panel: str) -> None:
        """Click once more on the header of a panel that `unfold` has opened and that has not moved since.

        Raises:
            LookupError: it is still open.
        """
        self.blender.click(self.box()[0] + 34, self._headers.pop(panel))
        if panel in self.open_panels():
            raise LookupError(f"{panel} does not fold.")

    def scroll(self, wheel: int, notches: int = 10) -> None:
        """Turn the mouse wheel over the sidebar."""
        left, top, _right, bottom = self.box()
        self.blender.move(left + 8, (top + bottom) / 2)
        time.sleep(0.4)
        for _ in range(notches):
            self.blender.click(left + 8, (top + bottom) / 2, wheel)

    def resize(self, width_px: int) -> int:
        """Drag the sidebar's left edge, beside the topmost panel; return the width that it has then."""
        for _ in range(4):
            left, top, right, _bottom = self.box()
            wider = width_px - (right - left)
            if abs(wider) <= 4:
                break
            self.blender.drag(left + 1, top + 60, left + 1 - wider, top + 60)
            time.sleep(0.7)
        left, _, right, _ = self.box()
        self._last.clear()
        return right - left

    # --- finding and pressing ---

    def look(self) -> list[Spot]:
        """Return everything that can be pressed or edited in the sidebar, from the top down, each once."""
        left, _top, right, _bottom = self.box()
        spots: dict[str, Spot] = {}
        for column in COLUMNS[:3]:
            for x, y, text in self.blender.run(self._scan(left, right, column), timeout_s=120):
                spots.setdefault(text, Spot(x, y, text))
        return sorted(spots.values(), key=lambda spot: spot.y)

    def find(self, wanted: str, timeout_s: float = 15.0) -> Spot:
        """Return where the button or field lies whose Python command or data path contains `wanted`.

        Args:
            wanted: such as `limbeck.generate(` or `limbeck.prompt`.
            timeout_s: how long it may take to appear.

        Raises:
            LookupError: it is not in the visible part of the sidebar within `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            spot = self._find_once(wanted)
            if spot is not None:
                self._last[wanted] = spot
                return spot
            if time.monotonic() > deadline:
                there = [spot.text for spot in self.look()]
                raise LookupError(f"Nothing in the sidebar is {wanted!r}; there are {there}.")

    def _find_once(self, wanted: str) -> Spot | None:
        left, _top, right, _bottom = self.box()
        last = self._last.get(wanted)
        codes = [] if last is None else [self._look_at([(last.x, last.y)], wanted)]
        codes += [self._scan(left, right, column, wanted) for column in COLUMNS]
        for code in codes:
            found = self.blender.run(code, timeout_s=120)
            if found:
                return self._middle(Spot(*found[0]), wanted)
        return None

    def _middle(self, spot: Spot, wanted: str) -> Spot:
        """Step down to a row's middle: the first hit is its upper edge, and layouts move by a pixel or two."""
        rows = [(spot.x, spot.y + step) for step in (4, 8, 12)]
        hits = self.blender.run(self._look_at(rows, None))
        deepest = [y for _x, y, text in hits if wanted in text]
        return Spot(spot.x, round((spot.y + max(deepest)) / 2) if deepest else spot.y, spot.text)

    @staticmethod
    def _look_at(points: list[tuple[int, int]], wanted: str | None) -> str:
        return (
            "def steps():\n    height = _view()[0].height\n"
            f"    return (yield from _look([(x, height - y) for x, y in {points!r}], {wanted!r}))"
        )

    @staticmethod
    def _scan(left: int, right: int, column: float, wanted: str | None = None) -> str:
        x = round(left + 10 + column * (right - left - 10 - TABS_PX))
        return (
            "def steps():\n    r = _view()[2]['UI']\n"
            f"    rows = range(r.y + r.height - 6, r.y + 4, -{ROW_STEP_PX})\n"
            f"    return (yield from _look([({x}, y) for y in rows], {wanted!r}))"
        )

    def press(self, wanted: str, timeout_s: float = 15.0) -> Spot:
        """Click on a button with the mouse; return where it was."""
        spot = self.find(wanted, timeout_s)
        self.blender.click(spot.x, spot.y)
        return spot

    def write(self, wanted: str, text: str) -> None:
        """Click into a text field and replace what it holds, with the keyboard."""
        spot = self.find(wanted)
        self.blender.click(spot.x, spot.y)
        time.sleep(0.5)
        self.blender.key("ctrl+a")
        self.blender.type(text)
        self.blender.key("Return")

    # --- looking ---

    def picture(self) -> Image.Image:
        """Return the sidebar as it is on the screen now."""
        return self.blender.screenshot().crop(self.box())

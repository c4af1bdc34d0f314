"""vsview as its command starts it, but it shows one output after the other by itself, saves its window each time, and closes.

python previewer.py FOLDER ARGUMENT...: the arguments are those of the command, with one script among them. FOLDER gets a picture
of the window for each output, ``0.png`` and so on; a line on stdout says where in it the frame is: left, top, width, height.
"""

import sys
from pathlib import Path
from typing import Any

from PySide6.QtCore import QPoint, QTimer
from vsview import cli
from vsview.app import main as vsview

FOLDER = Path(sys.argv.pop(1))


class Window(vsview.MainWindow):
    def load_new_script(self, path: Path, **arguments: Any) -> Any:
        loaded = super().load_new_script(path, **arguments)
        self._workspace = loaded[0].workspace
        self._workspace.playback.frameRendered.connect(lambda *_: QTimer.singleShot(500, self._frame_is_shown))
        return loaded

    def _frame_is_shown(self) -> None:
        tabs = self._workspace.tab_manager.tabs
        output = tabs.currentIndex()
        view = tabs.currentWidget().viewport()
        self.grab().save(str(FOLDER / f"{output}.png"))
        corner = view.mapTo(self, QPoint(0, 0))
        print(corner.x(), corner.y(), view.width(), view.height())
        if output + 1 < tabs.count():
            tabs.setCurrentIndex(output + 1)
        else:
            self.close()


vsview.MainWindow = Window
sys.exit(cli.app.meta())

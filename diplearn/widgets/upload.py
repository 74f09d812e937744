"""A button that uploads files larger than the server's limit on messages."""

from pathlib import Path

import anywidget
import traitlets

LARGEST = 100_000_000
"""Largest file in bytes: a camera's image saved as TIFF has about 70 million."""


class Upload(anywidget.AnyWidget):
    """A button that uploads a file in pieces that no server refuses.

    The FileUpload of ipywidgets sends a file as one message, but Jupyter's server drops the
    connection if a message has more than 10 MiB. `value` is as in FileUpload: an empty tuple, or a
    tuple of one dict with the file's name, type, size and content. `note` is shown below the
    button: the progress of an upload, or the reason why a file is refused.
    """

    _esm = Path(__file__).with_name("upload.js")
    description = traitlets.Unicode("Upload").tag(sync=True)
    accept = traitlets.Unicode("").tag(sync=True)
    largest = traitlets.Int(LARGEST).tag(sync=True)
    note = traitlets.Unicode("").tag(sync=True)
    value = traitlets.Tuple()

    def __init__(self, **traits):
        super().__init__(**traits)
        self._id, self._arrived = None, bytearray()
        self.on_msg(self._receive)

    def _receive(self, _, piece, buffers):
        """Take a piece of a file, and answer with the number of bytes that have arrived."""
        if piece["id"] != self._id:
            self._id, self._arrived, self.value = piece["id"], bytearray(), ()
        data = buffers[0] if buffers else b""
        room = min(piece["size"], self.largest) - len(self._arrived)
        if piece["at"] == len(self._arrived) and len(data) <= room:
            self._arrived += data
        self.send({"id": self._id, "received": len(self._arrived)})
        if len(self._arrived) == piece["size"]:
            about = {name: piece[name] for name in ("name", "type", "size")}
            content, self._arrived = bytes(self._arrived), bytearray()
            self.value = (about | {"content": content},)

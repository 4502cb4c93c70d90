"""What the stages share: characters, images, writers, runs. It imports no stage.

A script that is run as a file uses the checkout that contains it, and writes there, even if the
environment was installed from another checkout, which Python would otherwise import.
"""

import os
import sys
from pathlib import Path

_script = getattr(sys.modules["__main__"], "__file__", None)
for _root in Path(_script).resolve().parents[:2] if _script else ():
    _is_checkout = (_root / "conf" / "study.yaml").is_file() and (_root / "handwriting").is_dir()
    if _is_checkout and _root != Path(__file__).resolve().parents[1]:
        __path__[:] = [str(_root / "handwriting")]
        sys.path.insert(0, str(_root))
        # For child processes, too.
        _before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = f"{_root}{os.pathsep}{_before}" if _before else str(_root)

"""What the child process runs: ``python -m napari_virtues.engine FOLDER``."""

import sys

from napari_virtues.engine.child import main

if __name__ == "__main__":
    main(sys.argv[1])

"""What the stages share: characters, images, writers, runs. It imports no stage."""

import os

# Threads that wait for each other should sleep: beside one other busy process, the default of
# spinning makes a step on two cores three to nine times slower. Set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

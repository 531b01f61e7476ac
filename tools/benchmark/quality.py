"""Row of `make bench` about what `make local-train` paints: how near to paintings that it was not trained on."""

import subprocess
import tempfile

from console import module_command, module_environment

from benchmark.peers.python import MISSING_PEERS
from benchmark.rows import Row

NETWORK = "lite0"  # the one that the claim is about
KID_LEFT, COLOUR_LEFT, MINUTES = 0.60, 0.30, 8  # at most
NO_REFERENCE = "needs --reference, a zip or folder of paintings that are not in the data"


def quality_rows(data, reference: str = "", *arguments: str) -> list[Row]:
    """Trains preset `cpu` as `make local-train` does, and measures what is left of the photos' distance.

    Args:
        data: the images to train on.
        reference: zip or folder of paintings to measure the distance to; empty: nothing is trained.
        arguments: more options of the run.

    Raises:
        UserError: if the reference cannot be read.
        subprocess.CalledProcessError: if the run fails.
    """
    if not reference:
        return [Row("quality", f"KID left at most {KID_LEFT:.2f}", "", [], NO_REFERENCE)]
    # Here, because TensorFlow takes seconds to load.
    from comparison.examiner import Examiner

    from monet.scoring.health import FRAMED, HALOED
    from monet.training.run_files import RunFiles

    examiner = Examiner(data, reference)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(module_command("monet", "run", "--preset", "cpu", "--data", data.root, "--out", folder,
                                      "--num-images", len(examiner.photos), *arguments),
                       env=module_environment(), stdout=subprocess.DEVNULL, check=True)
        found = examiner.measure(RunFiles(folder))
    kid = found["left"].get(f"kid_{NETWORK}")
    unit, levels = "of the photos'", "levels of 255"
    return [Row("quality", f"KID left ({NETWORK}) at most {KID_LEFT:.2f}", unit, [] if kid is None else [kid],
                MISSING_PEERS if kid is None else ""),
            Row("quality, colour", f"colour left at most {COLOUR_LEFT:.2f}", unit, [found["left"]["colour"]]),
            Row("quality, halos", f"at most {HALOED:g} levels", levels, [found["health"]["halo_levels"]]),
            Row("quality, frame", f"at most {FRAMED:g} levels", levels, [found["health"]["frame_levels"]]),
            Row("quality, training", f"in at most {MINUTES} minutes", "min", [found["minutes"]])]

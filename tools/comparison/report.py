"""The tables of tools/compare.py, as Markdown."""

from monet.scoring.health import COLLAPSED, FALLEN, FRAMED, GRIDDED, HALOED, INVERTED, RISEN, WITH_DROPLETS


def memory_cell(result: dict) -> str:
    """Returns the peak memory, in GiB, of the process and of its GPU if there is one."""
    host = f"{result['memory_gib']:.2f}"
    device = result["device_memory_gib"]
    return f"{host} + {device:.2f} on the device" if device else host


def health_cell(value: float | None) -> str:
    """Returns a number of `monet.scoring.health.measure_health`, or a dash if it could not be measured."""
    return "–" if value is None else f"{value:.2f}"


def training_line(result: dict) -> str:
    """Returns a preset's row in the table of the training."""
    if "error" in result:
        return f"| {result['preset']} | | | | | | failed: {result['error'].replace('|', '/')} | |"
    losses = ", ".join(f"{name} {value:.2f}" for name, value in result["losses"].items())
    return (f"| {result['preset']} | {result['steps']} of batch {result['batch_size']} "
            f"| {result['seconds_per_step']:.3f} | {result['start_seconds']:.0f} | {memory_cell(result)} | {losses} "
            f"| {', '.join(result['faults']) or 'ok'} | {', '.join(result['reduced']) or 'nothing'} |")


def training_table(results: list[dict]) -> list[str]:
    """Returns the lines of the table of the training: one row for every preset, failed ones included."""
    return ["| preset | steps | seconds a step | to start, s | peak memory, GiB | final losses | health | reduced |",
            "|---|---|---|---|---|---|---|---|", *map(training_line, results), ""]


def health_line(result: dict) -> str:
    """Returns a preset's row in the table of health."""
    health = result["health"]
    return (f"| {result['preset']} | {health_cell(health['shade_correlation'])} "
            f"| {health_cell(health['cycle_change'])} | {health_cell(health['identity_change'])} "
            f"| {health_cell(health['grid_ratio'])} ({health['grid_levels']:.1f}) "
            f"| {health_cell(health['variety'])} | {health_cell(health['droplet_share'])} "
            f"| {health_cell(health['halo_levels'])} | {health_cell(health['frame_levels'])} |")


def health_table(results: list[dict]) -> list[str]:
    """Returns the lines of the table of health."""
    return [f"| preset | shades: correlation of photo and painting (inverted below {INVERTED}) "
            f"| cycle error: end / start | identity error: end / start (bad above {RISEN} if the cycle error falls "
            f"below {FALLEN}) | checkerboard: times the photos' (visible above {GRIDDED}), levels of 255 "
            f"| variety: share of the photos' (collapse below {COLLAPSED}) "
            f"| droplets: share of the paintings (bad above {WITH_DROPLETS}) "
            f"| halos: levels of 255 (visible above {HALOED}) | frame: levels (visible above {FRAMED}) |",
            "|---|---|---|---|---|---|---|---|---|", *map(health_line, results), ""]


def score_line(result: dict) -> str:
    """Returns a preset's row in the table of scores."""
    score = result["score"]
    return f"| {result['preset']} | {score['fid']:.2f} | {score['mifid']:.2f} | {score['kid']:.4g} | {score['count']} |"


def score_table(results: list[dict]) -> list[str]:
    """Returns the lines of the table of scores; none if nothing was scored."""
    scored = [result for result in results if "score" in result]
    if not scored:
        return []
    notes = {result["score"]["note"] for result in scored if result["score"]["note"]}
    return ["| preset | FID | MiFID | KID | painted photos |", "|---|---|---|---|---|", *map(score_line, scored), "",
            "With so few photos FID is far too high: compare these scores only with each other."
            + "".join(f" Note: {note}." for note in notes), ""]


def report(results: list[dict], head: str) -> str:
    """Returns all tables under the line `head`."""
    trained = [result for result in results if "error" not in result]
    return "\n".join([
        head, "", *training_table(results), *health_table(trained), *score_table(trained),
        "Steps and seconds leave out the first step, which traces the networks. So short a run shows how a preset "
        "starts, not how it ends: grey pictures count as collapse, and whatever a preset schedules for later does not "
        "happen. src/monet/scoring/health.py says how the numbers are made.", ""])

"""The table of an ablation, as Markdown."""

from collections.abc import Callable, Sequence

HOW_TO_READ = (
    "Left is the distance to the reference's paintings, divided by that of the unchanged photos: 1 is as far as the "
    "photos, 0 as near as other paintings. KID is of the features of EfficientNet-Lite; it is no MiFID and says "
    "nothing about Kaggle's score. Read it together with the colours and the pictures: each alone can be fooled. r_t "
    "and r_v are ADA's overfitting signals at the end of the run: near 1, the discriminator knows the paintings by "
    "heart. A difference smaller than that between two seeds says nothing.")


def number(value: float | None, digits: int = 2) -> str:
    """Returns a number, or a dash for None."""
    return "–" if value is None else f"{value:.{digits}f}"


def left_column(name: str) -> Callable[[dict], str]:
    """Returns the function from a result to its cell under what is left of the distance `name`."""
    return lambda result: number(result["left"].get(name))


def table_columns(results: Sequence[dict]) -> dict[str, Callable[[dict], str]]:
    """Returns functions from a result to its cell, by the column's title; those that no result fills are left out."""
    names = dict.fromkeys(name for result in results for name in result.get("left", {}))
    judged = {f"KID left ({name.removeprefix('kid_')})": left_column(name) for name in names if name.startswith("kid_")}
    if "colour" in names:
        judged["colour left"] = left_column("colour")
    signals = dict.fromkeys(name for result in results for name in result.get("signals", {}))
    return {"seed": lambda result: str(result["seed"]), "updates": lambda result: f"{result['updates']:,}",
            "seconds a step": lambda result: number(result["seconds_per_step"], 3), **judged,
            "health": lambda result: ", ".join(result["faults"]) or "ok",
            **{name: lambda result, name=name: number(result["signals"].get(name)) for name in signals}}


def table_line(result: dict, columns: dict[str, Callable[[dict], str]]) -> str:
    """Returns the row of a result; that of a failed run says why, under `health`."""
    if "error" in result:
        failed = {"seed": str(result["seed"]), "health": f"failed: {result['error'].replace('|', '/')}"}
        cells = [failed.get(title, "") for title in columns]
    else:
        cells = [cell(result) for cell in columns.values()]
    return f"| {' | '.join([result['name'], *cells])} |"


def report(results: Sequence[dict], head: str) -> str:
    """Returns the table of the results under the line `head`, failed runs included."""
    columns = table_columns(results)
    titles = ["change", *columns]
    return "\n".join([head, "", f"| {' | '.join(titles)} |", "|" + "---|" * len(titles),
                      *(table_line(result, columns) for result in results), "", HOW_TO_READ, ""])

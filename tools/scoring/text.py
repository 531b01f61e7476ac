"""The score of tools/mifid.py in words, for the terminal and for its report."""


def interval(result: dict, name: str) -> str:
    """A figure's 95% interval, whose it is, and whether the figure lies in it; empty if there is none."""
    low, high, own = result[f"{name}_low"], result[f"{name}_high"], result[name]
    if low is None:
        return ""
    whose = f" for all {result['sampled_from']:,}" if "sampled_from" in result else ""
    beyond = "" if low <= own <= high else f", {'below' if low > own else 'above'} which that of these images lies"
    return f"95%: {low:,.2f} to {high:,.2f}{whose}{beyond}"


def threshold_words(result: dict) -> str:
    """Whether the memorization distance is punished."""
    epsilon = result["epsilon"]
    if result["memorization_distance"] < epsilon:
        return f"below the threshold {epsilon:g}: FID is divided by it"
    return f"not below the threshold {epsilon:g}: no penalty"


def caveats(result: dict) -> list[str]:
    """What must be known of the figures, in sentences."""
    said = []
    if "note" in result:
        said.append(f"Note: {result['note']}.")
    if "sampled_from" in result:
        whose = "too few for intervals" if result["fid_low"] is None else "the intervals are for all of them"
        said.append(f"A sample of {result['num_images']:,} of {result['sampled_from']:,} images, whose FID comes out "
                    f"too high; {whose}.")
    if result.get("skipped"):
        said.append(f"{result['skipped']:,} unreadable images were skipped.")
    return said


def score_text(result: dict) -> str:
    """The figures of the JSON object, a line each."""
    lines = [
        f"FID                    {result['fid']:,.4f}   {interval(result, 'fid')}".rstrip(),
        f"memorization distance  {result['memorization_distance']:.4f}   {threshold_words(result)}",
        f"MiFID                  {result['mifid']:,.4f}   {interval(result, 'mifid')}".rstrip(),
        f"KID                    {result['kid']:.4g} ± {result['kid_std']:.4g}",
        f"images                 {result['num_images']:,}, against {result['num_reference']:,} of the reference",
        f"weights                {result['weights'] or 'none: features as given'}",
        f"seconds                {result['seconds']:.1f}",
    ]
    if result["fid_low"] is not None:
        lines.append("95%                    by a bootstrap of the images, less its bias")
    return "\n".join([*lines, *caveats(result)])

"""Words for the score of tools/mifid.py, on the terminal and in the report."""


def interval(result: dict, name: str) -> str:
    """A figure's 95% interval, what it is for, and whether the figure lies outside; empty if there is none."""
    low, high, figure = result[f"{name}_low"], result[f"{name}_high"], result[name]
    if low is None:
        return ""
    scope = f" for all {result['sampled_from']:,}" if "sampled_from" in result else ""
    outside = "" if low <= figure <= high else f"; these images score {'below' if low > figure else 'above'} it"
    return f"95%: {low:,.2f} to {high:,.2f}{scope}{outside}"


def penalty_words(result: dict) -> str:
    """Whether the memorization distance is penalized."""
    epsilon = result["epsilon"]
    if result["memorization_distance"] < epsilon:
        return f"below the threshold {epsilon:g}: FID is divided by it"
    return f"not below the threshold {epsilon:g}: no penalty"


def caveats(result: dict) -> list[str]:
    """Sentences on what limits the figures."""
    sentences = []
    if "note" in result:
        sentences.append(f"Note: {result['note']}.")
    if "sampled_from" in result:
        scope = "too few for intervals" if result["fid_low"] is None else "the intervals are for all of them"
        sentences.append(f"A sample of {result['num_images']:,} of {result['sampled_from']:,} images, whose FID is too "
                         f"high; {scope}.")
    if result.get("skipped"):
        sentences.append(f"{result['skipped']:,} unreadable images were skipped.")
    return sentences


def score_text(result: dict) -> str:
    """The figures of the JSON object, one per line."""
    lines = [
        f"FID                    {result['fid']:,.4f}   {interval(result, 'fid')}".rstrip(),
        f"memorization distance  {result['memorization_distance']:.4f}   {penalty_words(result)}",
        f"MiFID                  {result['mifid']:,.4f}   {interval(result, 'mifid')}".rstrip(),
        f"KID                    {result['kid']:.4g} ± {result['kid_std']:.4g}",
        f"images                 {result['num_images']:,} against {result['num_reference']:,} of the reference",
        f"weights                {result['weights'] or 'none: features as given'}",
        f"seconds                {result['seconds']:.1f}",
    ]
    if result["fid_low"] is not None:
        lines.append("95%                    by a bootstrap of the images, corrected for its bias")
    return "\n".join([*lines, *caveats(result)])

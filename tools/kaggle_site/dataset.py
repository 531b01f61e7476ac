"""Folders that are uploaded as Kaggle datasets, for kernels without internet."""

import json
from pathlib import Path

from kaggle_site.credentials import stored_user
from kaggle_site.metadata import FILE_NAME, PLACEHOLDER, write_text

from monet.core.errors import say


def describe_dataset(folder: Path, slug: str, title: str) -> None:
    """Makes the files in `folder` a dataset, and says how to upload and attach it.

    Args:
        folder: holds the files; its dataset-metadata.json is written.
        slug: the dataset's name in its address.
        title: the dataset's title.
    """
    dataset_id = f"{stored_user() or PLACEHOLDER}/{slug}"
    write_text(folder / "dataset-metadata.json", json.dumps(
        {"title": title, "id": dataset_id, "licenses": [{"name": "other"}]}, indent=2) + "\n")
    if dataset_id.startswith(PLACEHOLDER):
        say(f"Replace {PLACEHOLDER} with your Kaggle user name in {folder / 'dataset-metadata.json'}.")
    say(f"Upload it: kaggle datasets create -p {folder}\nThen add \"{dataset_id}\" to dataset_sources in {FILE_NAME} "
        "and set enable_internet to false.")

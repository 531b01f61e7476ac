"""Writes TFRecord files in the competition's layout."""

from collections.abc import Iterable

import tensorflow as tf

from monet.core.files import atomic_write


def write_records(path: str, rows: Iterable[tuple[str, bytes]], target: str) -> None:
    """Writes a TFRecord file in the competition's layout to the local `path`, atomically.

    Args:
        path: file to write.
        rows: pairs of image_name and JPEG or PNG bytes.
        target: the `target` of every record, "monet" or "photo" in the competition.
    """
    with atomic_write(path) as temporary, tf.io.TFRecordWriter(temporary) as writer:
        for name, image in rows:
            texts = {"image_name": name.encode(), "image": image, "target": target.encode()}
            features = {key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[text]))
                        for key, text in texts.items()}
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())

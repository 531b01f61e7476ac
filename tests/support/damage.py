"""Damaged copies of zips, for tests of what reads them."""

import random
import re


def damaged(content: bytes, chance: random.Random) -> bytes:
    """A copy of a zip with one damage: mostly where a single byte changes what all the others mean."""
    damage = bytearray(content)
    records = [match.start() for match in re.finditer(rb"PK(\x01\x02|\x03\x04|\x05\x06)", content)]
    directory = content.index(b"PK\x01\x02")
    match chance.randrange(5):
        case 0:
            damage[chance.randrange(len(damage))] ^= 1 << chance.randrange(8)
        case 1:
            damage[chance.randrange(directory, len(damage))] ^= 1 << chance.randrange(8)
        case 2:
            damage[min(chance.choice(records) + chance.randrange(46), len(damage) - 1)] = chance.randrange(256)
        case 3:
            del damage[chance.randrange(len(damage)):]
        case 4:
            start = chance.randrange(len(damage))
            length = min(chance.randrange(1, 2000), len(damage) - start)
            damage[start:start + length] = bytes(length)
    return bytes(damage)

"""Settings from text: the command line's values, and a run's config.json."""

import json

from monet.core.config import CHANGES, FIELDS, FORMER_FIELDS, FORMER_NAMES, check_field_name
from monet.core.errors import UserError, say


def parse_field(name: str, text: str):
    """Parses the command line's `text` as a value of the field `name`.

    Raises:
        UserError: if the field is unknown or the text does not fit its type.
    """
    check_field_name(name)
    field_type = FIELDS[name].type
    option = f"--{name.replace('_', '-')} {text}"
    if field_type is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() not in words:
            raise UserError(f"{option}: expected true or false.")
        return words[text.lower()]
    try:
        return field_type(text)
    except ValueError:
        expected = {int: "a whole number", float: "a number"}[field_type]
        raise UserError(f"{option}: expected {expected}.") from None


def read_config_values(path: str) -> dict:
    """Reads field values from the JSON file at `path`, without validating them; those of `FORMER_FIELDS` are left out.

    Raises:
        UserError: if the file cannot be read or is not a JSON object.
    """
    try:
        with open(path, "rb") as file:
            values = json.loads(file.read())  # of bytes: it then recognizes UTF-16 and a byte order mark
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}. Give --config the config.json of a run.") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}. Give --config the config.json of a run.") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} is not a JSON object of settings. Give --config the config.json of a run.")
    if values.pop(CHANGES, None):
        say(f"{path}: some settings changed during that run (see {CHANGES!r} there). The last ones apply.")
    for name in FORMER_FIELDS:
        if values.pop(name, None):
            say(f"{path}: there is no setting {name} any more. It is left out.")
    return {FORMER_NAMES.get(name, name): value for name, value in values.items()}

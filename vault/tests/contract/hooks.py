"""What JSON Schema calls an integer and this API does not: 2034.0. Written as 2034 here; any other fraction stays."""

import schemathesis


def without_zero_fractions(value):
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: without_zero_fractions(part) for name, part in value.items()}
    if isinstance(value, list):
        return [without_zero_fractions(part) for part in value]
    return value


@schemathesis.hook
def map_body(context, body):
    return without_zero_fractions(body)

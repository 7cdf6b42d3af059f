"""What is refused, in one sentence: bad input, an unusable file, a request that cannot be met.

A refusal is written to be read by whoever made the input: it names the value and the remedy. The command line prints it with
exit code 2 and the app shows it as it is; every other exception is a bug and looks like one in both.
"""

from __future__ import annotations


class Refusal(ValueError):
    """Base of everything the engine refuses; the message names the value and the remedy."""


class RequestError(Refusal):
    """A request that cannot be met."""


class ConfigError(Refusal):
    """Settings from which nothing can be built."""

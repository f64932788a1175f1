"""A hundred websites: every one that could not be reached, and recent ones that could, one per domain.

When more than a hundred could not be reached, all of them are kept and no other is added.
"""

from msgspec.structs import replace

from lse.datasets import Deduplicate, Sample, availability

_UNREACHABLE = {"outputs.is_available": False}

RULES = replace(
    availability.RULES,
    deduplicate=Deduplicate(by=("inputs.website_url|url",), keep="latest", prefer=_UNREACHABLE),
    sample=Sample(total=100, keep=_UNREACHABLE, one_per="inputs.website_url|domain", order="recent"),
)

derive = availability.derive

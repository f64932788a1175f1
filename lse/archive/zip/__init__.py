"""The zip of a project day: the same names as on disk, sorted, and `manifest.json` as last member.

Equal content gives equal bytes with one codec; since another may compress differently, whether an archive
changed is decided by `content_sha256`, never by the zip's own hash.
"""

from lse.archive.zip.reading import ZipReader, open_zip
from lse.archive.zip.writing import ZipInfo, describe_zip, packed_zip, write_zip

__all__ = ["ZipInfo", "ZipReader", "describe_zip", "open_zip", "packed_zip", "write_zip"]

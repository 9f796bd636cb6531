#!/usr/bin/env python3
"""The size of the Lambda package; fails if it is larger than it should be.

    benches/package.py target/lambda/lambda-oauth-mcp-proxy/bootstrap
"""

import io
import sys
import zipfile

# A little more than the 3.14 MB of `.ci/run` when this was set.
PACKAGE_MAX_BYTES = 3_250_000


def main():
    with open(sys.argv[1], "rb") as file:
        content = file.read()
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("bootstrap", content)
    size = len(package.getvalue())
    print(f"binary   {len(content) / 1e6:6.2f} MB")
    print(f"package  {size / 1e6:6.2f} MB")
    if size > PACKAGE_MAX_BYTES:
        sys.exit(f"the package is larger than {PACKAGE_MAX_BYTES / 1e6} MB")


main()

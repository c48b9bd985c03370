"""Whether the gateway in this container answers: exit code 0 if it does, 1 if not. AIMDS_HEALTH_URL asks elsewhere."""

from __future__ import annotations

import os
import ssl
import sys
import urllib.request

URL = "https://127.0.0.1:8443/healthz"
TIMEOUT_S = 4


def main(url: str) -> int:
    """0 where ``url`` answers with 200."""
    # On loopback the certificate is that of another name, and nothing is told that needs it.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with direct.open(url, timeout=TIMEOUT_S) as answer:
            return 0 if answer.status == 200 else 1
    except (OSError, ValueError) as error:
        print(f"{url}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(os.environ.get("AIMDS_HEALTH_URL", URL)))

"""What Kubernetes puts into the environment of a pod for each Service that it knows."""

import re
from collections.abc import Mapping

_HOST = "_SERVICE_HOST"
_PORT = "_SERVICE_PORT"
_LINK = re.compile(r"(_SERVICE_HOST|_SERVICE_PORT(_[A-Z0-9_]+)?|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_ADDRESS = re.compile(r"(tcp|udp|sctp)://.+")


def service_links(environ: Mapping[str, str]) -> dict[str, str]:
    """Return which of these variables are such links, each with the name of its Service.

    A Service shows itself by its host and port, so that nothing is taken for a link that only looks like one.
    """
    services = [name.removesuffix(_HOST) for name in environ if name.endswith(_HOST)]
    there = [service for service in services if f"{service}{_PORT}" in environ]
    return {
        name: service.lower().replace("_", "-")
        for name, value in environ.items()
        for service in there
        if name.startswith(service) and _is_link(name.removeprefix(service), value)
    }


def _is_link(rest: str, value: str) -> bool:
    # The shortest of them could be a setting, but for what it says.
    return bool(_ADDRESS.fullmatch(value)) if rest == "_PORT" else bool(_LINK.fullmatch(rest))

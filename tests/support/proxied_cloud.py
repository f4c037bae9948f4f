"""A lab with proxies before its Cinder and its Keystone, and a clouds.yaml that leads to them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support import names
from tests.support.auditor import Api
from tests.support.cinder_proxy import Administrator, Proxy
from tests.support.gate import certificates
from tests.support.keystone_proxy import KeystoneProxy
from tests.support.people import admin_api


@dataclass(frozen=True)
class ProxiedCloud:
    """The proxies.

    :ivar api: Cinder as its administrator sees it, without the proxy
    :ivar administrator: a cinderclient that may reset states; None if everybody may
    """

    cinder: Proxy
    keystone: KeystoneProxy | None
    api: Api
    administrator: Any = None


@contextmanager
def proxied(lab: Any, home: Path) -> Iterator[ProxiedCloud]:
    """Proxies that exist while the block runs.

    :param home: the directory for clouds.yaml, the names and the certificates
    """
    import yaml

    from lab import clouds, settings

    names.write(home / "names", names.CINDER)
    certificate, contexts = certificates(home / "tls")
    told = copy.deepcopy(yaml.safe_load(lab.clouds_file.read_text())["clouds"])
    auth = told["lab"]["auth"]
    has_keystone = "auth_url" in auth
    api = (
        admin_api(lab)
        if has_keystone
        else Api.noauth(lab.endpoint, settings.USER, settings.PROJECT)
    )
    admin = Administrator(api.url, api.token, lab.directory.database("cinder"))
    cinder, keystone = Proxy(_host(lab.endpoint), admin, contexts, home / "names"), None
    try:
        if has_keystone:
            base = lab.endpoint.partition("/v3")[0]
            keystone = KeystoneProxy(
                _host(auth["auth_url"]), contexts, home / "names", {base: cinder.url}
            )
            auth["auth_url"] = f"{keystone.url}/v3"
        else:
            auth["endpoint"] = f"{cinder.url}/v3"
        told["lab"]["cacert"] = str(certificate)
        clouds.write(told, home / "clouds.yaml")
        yield ProxiedCloud(cinder, keystone, api, lab.cinder("lab-admin") if has_keystone else None)
    finally:
        cinder.close()
        if keystone:
            keystone.close()


def _host(url: str) -> tuple[str, int]:
    where = urlsplit(url)
    assert where.hostname
    assert where.port
    return where.hostname, where.port

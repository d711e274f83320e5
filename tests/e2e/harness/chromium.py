# SPDX-License-Identifier: MPL-2.0
"""Chromium behind a proxy. It calls home whatever the flags: a policy that knows one page blocks every other host."""
from .tools import clean_env, need, run

PAGE_ALONE = {"default": "block", "rules": [{"id": "page", "action": "intercept", "host": "origin.test"}]}


def trust(home, ca_path):
    """Chromium asks the NSS database of its user."""
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    certutil = need("certutil")
    run([certutil, "-d", f"sql:{database}", "-N", "--empty-password"])
    run([certutil, "-d", f"sql:{database}", "-A", "-t", "C,,", "-n", "soth-mitm", "-i", ca_path])


def load(p, url, folder, budget_ms=None, home=None):
    """Loads a page through the proxy p and prints what became of it. home: of a user who trusts the proxy's CA already; else one is made."""
    if home is None:
        home = folder
        trust(home, p.ca_path)
    patience = [f"--virtual-time-budget={budget_ms}"] if budget_ms else []
    return run([need("chromium", "chromium-browser"), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                f"--user-data-dir={folder}/profile", f"--proxy-server={p.url}", "--proxy-bypass-list=<-loopback>", "--disable-background-networking",
                "--disable-component-update", "--no-first-run", "--disable-sync", *patience, "--dump-dom", url], timeout=90, check=False,
               env=clean_env(HOME=home, XDG_CONFIG_HOME=folder, XDG_CACHE_HOME=folder))

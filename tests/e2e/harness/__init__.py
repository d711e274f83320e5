# SPDX-License-Identifier: MPL-2.0
"""Parts of the end-to-end suite: the proxy under test, origins, resolver, certificates, raw clients, the event log."""

# SPDX-License-Identifier: MPL-2.0
"""A client that finishes its handshake and then refuses the certificate after all, with a fatal alert inside TLS: GnuTLS can be told to, by
its C interface. Needs the library alone, not its headers."""
import ctypes
import ctypes.util

from .tools import missing

GNUTLS_CLIENT, GNUTLS_CRD_CERTIFICATE, GNUTLS_AL_FATAL, GNUTLS_NAME_DNS = 2, 1, 2, 1


class Datum(ctypes.Structure):
    _fields_ = [("data", ctypes.c_char_p), ("size", ctypes.c_uint)]


def refuse_late(sock, name, version, number, alpn=None):
    """Over a connected blocking socket. True when the handshake was done and the alert sent."""
    found = ctypes.util.find_library("gnutls")
    if not found:
        missing("the library GnuTLS is not installed")
    lib = ctypes.CDLL(found)
    session, credentials = ctypes.c_void_p(), ctypes.c_void_p()
    lib.gnutls_init(ctypes.byref(session), GNUTLS_CLIENT)
    lib.gnutls_priority_set_direct(session, f"NORMAL:-VERS-ALL:+VERS-TLS{version}".encode(), None)
    lib.gnutls_certificate_allocate_credentials(ctypes.byref(credentials))
    lib.gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials)
    host = name.encode()
    lib.gnutls_server_name_set(session, GNUTLS_NAME_DNS, host, ctypes.c_size_t(len(host)))
    if alpn:
        protocol = Datum(alpn, len(alpn))
        lib.gnutls_alpn_set_protocols(session, ctypes.byref(protocol), 1, 0)
    lib.gnutls_transport_set_int2(session, sock.fileno(), sock.fileno())
    done = lib.gnutls_handshake(session)
    sent = lib.gnutls_alert_send(session, GNUTLS_AL_FATAL, number) if done == 0 else -1
    lib.gnutls_deinit(session)
    lib.gnutls_certificate_free_credentials(credentials)
    return done == 0 and sent == 0

/* SPDX-License-Identifier: MPL-2.0 */
/* `soth-mitm --version`. Each room says the version of its own library. */
#include "host/cli/version.h"

#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include <soth/sdk.h>

#include "host/http/library.h"
#include "host/net/library.h"
#include "host/tls/session.h"

void version_print(FILE *out)
{
    fprintf(out,
            "soth-mitm %s\n"
            "module ABI %d.%d\n"
            "wolfSSL %s\n"
            "nghttp2 %s\n"
            "llhttp %s\n"
            "libevent %s\n"
            "accelerated cryptography: %s\n",
            PACKAGE_VERSION, SOTH_ABI_MAJOR, SOTH_ABI_MINOR, tls_library_version(), http2_library_version(), http_library_version(),
            net_library_version(),
            tls_library_accelerated() ? "yes" : "no");
}

/* SPDX-License-Identifier: MPL-2.0 */
/* wolfSSL's build options before any of its headers, and its headers without our warnings. Included by the .c files of this room only. */
#ifndef HOST_TLS_WOLF_H
#define HOST_TLS_WOLF_H

#include <wolfssl/options.h>

#include <wolfssl/ssl.h>
#include <wolfssl/version.h>

#if LIBWOLFSSL_VERSION_HEX < 0x05006000 /* cannot be asked there; a session without a ticket is refused when it is offered */
#define wolfSSL_SessionIsSetup(resumable) ((void)(resumable), 1)
#endif
#if LIBWOLFSSL_VERSION_HEX < 0x05007000 /* cannot forget them there: a chain that lacks an intermediate is good once another has brought it */
#define wolfSSL_CertManagerUnloadIntermediateCerts(manager) ((void)(manager))
#endif

#endif

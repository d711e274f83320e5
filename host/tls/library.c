/* SPDX-License-Identifier: MPL-2.0 */
/* The TLS library's beginning, end and description. */
#include "host/tls/session.h"
#include "host/tls/wolf.h"

#include <wolfssl/version.h>

int tls_library_init(void)
{
    return wolfSSL_Init() == WOLFSSL_SUCCESS ? SOTH_OK : -SOTH_ETLS;
}

void tls_library_fini(void)
{
    wolfSSL_Cleanup();
}

const char *tls_library_version(void)
{
    return wolfSSL_lib_version();
}

int tls_library_accelerated(void)
{
#if defined(__x86_64__) && defined(WOLFSSL_AESNI) && defined(WOLFSSL_SP_ASM)
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("avx2");
#elif defined(__aarch64__) && defined(WOLFSSL_ARMASM)
    return 1;
#else
    return 0;
#endif
}

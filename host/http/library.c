/* SPDX-License-Identifier: MPL-2.0 */
/* The HTTP parser's description: llhttp has its version in the header it was compiled with. */
#include "host/http/library.h"

#include <llhttp.h>

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

const char *http_library_version(void)
{
    return TEXT(LLHTTP_VERSION_MAJOR) "." TEXT(LLHTTP_VERSION_MINOR) "." TEXT(LLHTTP_VERSION_PATCH);
}

/* SPDX-License-Identifier: MPL-2.0 */
/* The libraries' descriptions: llhttp has its version in the header it was compiled with, nghttp2 is asked. */
#include "host/http/library.h"

#include <llhttp.h>
#include <nghttp2/nghttp2.h>

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

const char *http_library_version(void)
{
    return TEXT(LLHTTP_VERSION_MAJOR) "." TEXT(LLHTTP_VERSION_MINOR) "." TEXT(LLHTTP_VERSION_PATCH);
}

const char *http2_library_version(void)
{
    return nghttp2_version(0)->version_str;
}

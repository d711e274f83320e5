/* SPDX-License-Identifier: MPL-2.0 */
#ifndef HOST_HTTP_LIBRARY_H
#define HOST_HTTP_LIBRARY_H

const char *http_library_version(void);  /* of llhttp: "9.2.1" */
const char *http2_library_version(void); /* of nghttp2: "1.52.0" */

#endif

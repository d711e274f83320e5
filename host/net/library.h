/* SPDX-License-Identifier: MPL-2.0 */
#ifndef HOST_NET_LIBRARY_H
#define HOST_NET_LIBRARY_H

const char *net_library_version(void); /* of libevent, as linked now: "2.1.12-stable" */

#endif

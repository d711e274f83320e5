/* SPDX-License-Identifier: MPL-2.0 */
/* The event library's description. */
#include "host/net/library.h"

#include <event2/event.h>

const char *net_library_version(void)
{
    return event_get_version();
}

/* SPDX-License-Identifier: MPL-2.0 */
/* Where files are when nobody says so (contract section 1 and 2). Everything returned is malloc'd, NULL when there is no memory. */
#ifndef HOST_CONF_PLACE_H
#define HOST_CONF_PLACE_H

/* $XDG_CONFIG_HOME/soth-mitm/soth-mitm.yaml if it exists, else the installed one. */
char *place_settings(void);
/* $(pkglibdir)/modules. An installation that was moved (DESTDIR) is found from the program's own place. */
char *place_modules(void);
/* A path as it is meant in a file: whole, or relative to the file. */
char *place_beside(const char *file, const char *path);

#endif

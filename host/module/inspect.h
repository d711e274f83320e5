/* SPDX-License-Identifier: MPL-2.0 */
/* What `soth-mitm module list` and `check` find out about modules without running the proxy. */
#ifndef HOST_MODULE_INSPECT_H
#define HOST_MODULE_INSPECT_H

#include <stddef.h>
#include <stdio.h>

#include "host/conf/settings.h"

/*
 * Whether a run would take DIR/NAME.so, and whether the module keeps its promises: what it exports and wants, its option table, and a hundred
 * instances made and unmade in a process of their own, watched for writes outside of their block and for what they leave behind. `config` is
 * a file with documents as in conf.d, of which those of this module are tried; NULL = the defaults. A step of the module may take step_ms.
 *
 * 0 with a sentence of what was found; or with a sentence of what is wrong and what to do: -SOTH_ENOENT, -SOTH_EABI (the module),
 * -SOTH_ECONFIG (the configuration), -SOTH_ENOMEM.
 */
int inspect_check(const char *file, const char *config, unsigned step_ms, char *text, size_t size);

/*
 * One line for each instance of conf.d and each module that no document enables: instance, module, kind, version, ABI, order, state (on, off,
 * refused, wrong, unused) and why. 0; or what is worst: -SOTH_ECONFIG (conf.d cannot be read, a configuration is wrong), -SOTH_EABI (a module
 * is missing or refused). Files that cannot be read as YAML are told on `errors`.
 */
int inspect_list(const struct settings *settings, FILE *out, FILE *errors);

/* "sink", "policy", ... of a SOTH_KIND_; "?" for what this host does not know. */
const char *inspect_kind(unsigned kind);

#endif

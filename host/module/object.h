/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A shared object as a file: who may write it, whether it fits this machine, and its dynamic symbols, all read before any code of it can
 * run. Inside this room only.
 */
#ifndef HOST_MODULE_OBJECT_H
#define HOST_MODULE_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct object;

/* NULL with a sentence that begins with the path: *error is -SOTH_ENOENT (cannot be opened), -SOTH_EABI (no shared object, for another
 * machine, damaged, or somebody else may write it) or -SOTH_ENOMEM. */
struct object *object_open(const char *path, int *error, char *err, size_t err_size);
void object_close(struct object *object);

struct object_symbol {
    const char *name; /* valid until object_close */
    uint64_t size;
    bool is_defined; /* else it is wanted from somebody else ... */
    bool is_weak;    /* ... or NULL when there is nobody */
    bool is_data;
};
/* Calls `each` for every symbol that other objects see or that is wanted from them, until it returns false. A file whose section headers
 * were removed has none. */
void object_symbols(const struct object *object, bool (*each)(void *arg, const struct object_symbol *symbol), void *arg);
/* Copies the first `size` bytes of a defined symbol as they are in the file, before relocation. Returns the symbol's size, 0 when there is
 * no such symbol, a negative -SOTH_E... when its bytes are not in the file. */
int64_t object_read(const struct object *object, const char *name, void *out, size_t size);
/* False: there is no table of dynamic symbols to look into. */
bool object_has_symbols(const struct object *object);

#endif

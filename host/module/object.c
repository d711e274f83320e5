/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Reads an ELF file with pread, each piece checked against the file's size: a file that is damaged, or is written while it is read, gives
 * a sentence. Never maps it, never runs it.
 */
#include "host/module/object.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <soth/sdk.h>

#define MOST_TABLE ((uint64_t)64 * 1024 * 1024) /* bytes of one table */

struct object {
    int fd;
    uint64_t file_size;
    ElfW(Ehdr) header;
    ElfW(Shdr) *sections;
    ElfW(Sym) *symbols;
    size_t symbol_count;
    char *names;
    size_t names_size;
};

#if __SIZEOF_POINTER__ == 8
#define NATIVE_CLASS ELFCLASS64
#else
#define NATIVE_CLASS ELFCLASS32
#endif
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define NATIVE_DATA ELFDATA2LSB
#else
#define NATIVE_DATA ELFDATA2MSB
#endif
#if defined(__x86_64__)
#define NATIVE_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define NATIVE_MACHINE EM_AARCH64
#else
#define NATIVE_MACHINE EM_NONE /* not compared; the loader of the system does it */
#endif

static bool read_at(const struct object *o, uint64_t offset, void *out, uint64_t size)
{
    if (offset > o->file_size || size > o->file_size - offset)
        return false;
    for (uint64_t done = 0; done < size;) {
        ssize_t n = pread(o->fd, (char *)out + done, size - done, (off_t)(offset + done));
        if (n <= 0)
            return false;
        done += (uint64_t)n;
    }
    return true;
}

/* malloc'd, one byte longer than asked and ended by NUL; NULL when the file does not hold it. */
static void *read_table(const struct object *o, uint64_t offset, uint64_t size)
{
    char *table = size && size <= MOST_TABLE ? malloc(size + 1) : NULL;
    if (table && read_at(o, offset, table, size)) {
        table[size] = 0;
        return table;
    }
    free(table);
    return NULL;
}

static const char *wrong_header(const ElfW(Ehdr) *h)
{
    if (memcmp(h->e_ident, ELFMAG, SELFMAG) != 0)
        return "is not an ELF shared object";
    if (h->e_ident[EI_CLASS] != NATIVE_CLASS || h->e_ident[EI_DATA] != NATIVE_DATA ||
        (NATIVE_MACHINE != EM_NONE && h->e_machine != NATIVE_MACHINE))
        return "is for another kind of machine: build it on this one, or with the right cross compiler";
    if (h->e_type != ET_DYN)
        return "is not an ELF shared object: link it with -shared";
    return NULL;
}

static bool read_symbols(struct object *o, const ElfW(Shdr) *section)
{
    if (section->sh_link >= o->header.e_shnum || section->sh_entsize != sizeof *o->symbols)
        return false;
    const ElfW(Shdr) *names = &o->sections[section->sh_link];
    o->symbols = read_table(o, section->sh_offset, section->sh_size);
    o->names = read_table(o, names->sh_offset, names->sh_size);
    o->symbol_count = section->sh_size / sizeof *o->symbols;
    o->names_size = names->sh_size;
    return o->symbols && o->names;
}

static const char *read_sections(struct object *o)
{
    const ElfW(Ehdr) *h = &o->header;
    if (h->e_shnum == 0)
        return NULL;
    if (h->e_shentsize == sizeof *o->sections)
        o->sections = read_table(o, h->e_shoff, (uint64_t)h->e_shnum * sizeof *o->sections);
    if (!o->sections)
        return "is damaged: its section headers are not in the file; build it again";
    for (unsigned i = 0; i < h->e_shnum; i++)
        if (o->sections[i].sh_type == SHT_DYNSYM && !read_symbols(o, &o->sections[i]))
            return "is damaged: its symbols are not in the file; build it again";
        else if (o->symbols)
            break;
    return NULL;
}

/* Its code runs inside the proxy: nobody but root and the proxy's own user may have written it. */
static const char *unsafe(const struct stat *st)
{
    if (st->st_mode & (S_IWGRP | S_IWOTH))
        return "group or others may write it: chmod go-w it, its code runs inside the proxy";
    if (st->st_uid != 0 && st->st_uid != geteuid())
        return "belongs to another user, who could put any code into the proxy: chown it";
    return NULL;
}

static const char *read_all(struct object *o, const struct stat *st)
{
    o->file_size = (uint64_t)st->st_size;
    if (!read_at(o, 0, &o->header, sizeof o->header))
        return "is not an ELF shared object";
    const char *why = wrong_header(&o->header);
    if (!why)
        why = unsafe(st);
    return why ? why : read_sections(o);
}

struct object *object_open(const char *path, int *error, char *err, size_t err_size)
{
    struct stat st = {0};
    struct object *o = calloc(1, sizeof *o);
    *error = -SOTH_ENOMEM;
    if (!o) {
        snprintf(err, err_size, "%s: out of memory", path);
        return NULL;
    }
    o->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (o->fd < 0 || fstat(o->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        *error = -SOTH_ENOENT;
        snprintf(err, err_size, "%s: cannot open: %s", path, o->fd < 0 ? strerror(errno) : "not a regular file");
        object_close(o);
        return NULL;
    }
    const char *why = read_all(o, &st);
    if (why) {
        *error = -SOTH_EABI;
        snprintf(err, err_size, "%s: %s", path, why);
        object_close(o);
        return NULL;
    }
    *error = SOTH_OK;
    return o;
}

void object_close(struct object *object)
{
    if (!object)
        return;
    if (object->fd >= 0)
        close(object->fd);
    free(object->sections);
    free(object->symbols);
    free(object->names);
    free(object);
}

bool object_has_symbols(const struct object *object)
{
    return object->symbols != NULL;
}

/* False: nobody outside the file sees it. */
static bool describe(const struct object *o, const ElfW(Sym) *s, struct object_symbol *out)
{
    unsigned binding = ELF64_ST_BIND(s->st_info), visibility = ELF64_ST_VISIBILITY(s->st_other);
    if (binding == STB_LOCAL || s->st_name == 0 || s->st_name >= o->names_size)
        return false;
    *out = (struct object_symbol){.name = o->names + s->st_name, .size = s->st_size, .is_defined = s->st_shndx != SHN_UNDEF,
                                  .is_weak = binding == STB_WEAK, .is_data = ELF64_ST_TYPE(s->st_info) == STT_OBJECT};
    return !out->is_defined || visibility == STV_DEFAULT || visibility == STV_PROTECTED;
}

void object_symbols(const struct object *object, bool (*each)(void *arg, const struct object_symbol *symbol), void *arg)
{
    struct object_symbol symbol;
    for (size_t i = 0; i < object->symbol_count; i++)
        if (describe(object, &object->symbols[i], &symbol) && !each(arg, &symbol))
            return;
}

int64_t object_read(const struct object *object, const char *name, void *out, size_t size)
{
    struct object_symbol symbol;
    for (size_t i = 0; i < object->symbol_count; i++) {
        const ElfW(Sym) *s = &object->symbols[i];
        if (!describe(object, s, &symbol) || !symbol.is_defined || strcmp(symbol.name, name) != 0)
            continue;
        if (s->st_shndx >= object->header.e_shnum)
            return -SOTH_EABI;
        const ElfW(Shdr) *section = &object->sections[s->st_shndx];
        uint64_t within = s->st_value - section->sh_addr;
        if (section->sh_type == SHT_NOBITS || s->st_value < section->sh_addr || size > s->st_size || within > section->sh_size ||
            size > section->sh_size - within || !read_at(object, section->sh_offset + within, out, size))
            return -SOTH_EABI;
        return (int64_t)s->st_size;
    }
    return 0;
}

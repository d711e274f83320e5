/* SPDX-License-Identifier: MPL-2.0 */
/* See claim.h. */
#include "claim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static struct claim *claims;

static const struct claim *other_of(const struct claim *claim)
{
    for (const struct claim *c = claims; c; c = c->next)
        if (c != claim && c->device == claim->device && c->inode == claim->inode && strcmp(c->name, claim->name) == 0)
            return c;
    return NULL;
}

static int list(struct claim *claim, const struct stat *folder, const char *name)
{
    *claim = (struct claim){.next = claims, .device = folder->st_dev, .inode = folder->st_ino, .name = strdup(name), .lock = -1};
    if (!claim->name)
        return -1;
    claims = claim;
    return 0;
}

int claim_file(struct claim *claim, const char *path)
{
    struct stat st;
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    int r = folder ? stat(folder, &st) : -1;
    free(folder);
    return r < 0 ? -1 : list(claim, &st, slash ? slash + 1 : path);
}

/* Of one lock there may be several descriptors: it goes with the last of them. Where locks do not work there is none. */
int claim_folder(struct claim *claim, const char *dir)
{
    struct stat st;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || list(claim, &st, "") < 0) {
        int error = errno;
        if (fd >= 0)
            close(fd);
        errno = error;
        return -1;
    }
    const struct claim *other = other_of(claim);
    if (other) {
        close(fd);
        fd = fcntl(other->lock, F_DUPFD_CLOEXEC, 0);
    } else if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
        close(fd);
        claim_drop(claim);
        errno = EBUSY;
        return -1;
    }
    claim->lock = fd;
    return 0;
}

int claim_is_shared(const struct claim *claim)
{
    return other_of(claim) != NULL;
}

void claim_drop(struct claim *claim)
{
    if (!claim->name)
        return;
    for (struct claim **at = &claims; *at; at = &(*at)->next)
        if (*at == claim) {
            *at = claim->next;
            break;
        }
    if (claim->lock >= 0)
        close(claim->lock);
    free(claim->name);
    *claim = (struct claim){.lock = -1};
}

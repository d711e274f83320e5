/* SPDX-License-Identifier: MPL-2.0 */
/* See claim.h. The list is of all instances, whose threads differ. */
#include "claim.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "parts.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct claim *claims;

static const struct claim *other_of(const struct claim *claim)
{
    for (const struct claim *c = claims; c; c = c->next)
        if (c != claim && c->device == claim->device && c->inode == claim->inode && c->lock >= 0)
            return c;
    return NULL;
}

/* Of one lock there may be several descriptors: it goes with the last of them. Where locks do not work the folder is ours. */
static int take(const struct claim *claim, int fd)
{
    const struct claim *other = other_of(claim);
    if (other) {
        close(fd);
        return fcntl(other->lock, F_DUPFD_CLOEXEC, 0);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
        close(fd);
        return -1;
    }
    return fd;
}

static int open_folder(const char *dir)
{
    return open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int claim_folder(struct claim *claim, const char *dir)
{
    struct stat st;
    int fd = open_folder(dir);
    if (fd < 0)
        return -1;
    if (fstat(fd, &st) < 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    pthread_mutex_lock(&lock);
    *claim = (struct claim){.next = claims, .dir = dir, .device = st.st_dev, .inode = st.st_ino, .lock = -1};
    claim->lock = take(claim, fd);
    claims = claim;
    pthread_mutex_unlock(&lock);
    return 0;
}

int claim_is_ours(struct claim *claim)
{
    pthread_mutex_lock(&lock);
    int fd = claim->lock < 0 ? open_folder(claim->dir) : -1;
    if (fd >= 0)
        claim->lock = take(claim, fd);
    pthread_mutex_unlock(&lock);
    return claim->lock >= 0;
}

static int has_log(const struct claim *claim)
{
    for (const struct claim *c = claims; c; c = c->next)
        if (c->file && c->device == claim->device && c->inode == claim->inode && strcmp(c->file, claim->file) == 0)
            return 1;
    return 0;
}

int claim_log(struct claim *claim, const char *path)
{
    struct stat st;
    char *dir = parts_folder(path);
    int r = dir ? stat(dir, &st) : -1;
    free(dir);
    if (r < 0)
        return -1;
    pthread_mutex_lock(&lock);
    *claim = (struct claim){.next = claims, .dir = path, .file = parts_file(path), .device = st.st_dev, .inode = st.st_ino, .lock = -1};
    r = has_log(claim);
    claims = claim;
    pthread_mutex_unlock(&lock);
    return r;
}

void claim_drop(struct claim *claim)
{
    if (!claim->dir)
        return;
    pthread_mutex_lock(&lock);
    for (struct claim **at = &claims; *at; at = &(*at)->next)
        if (*at == claim) {
            *at = claim->next;
            break;
        }
    if (claim->lock >= 0)
        close(claim->lock);
    pthread_mutex_unlock(&lock);
    *claim = (struct claim){.lock = -1};
}

/* Lets one call of the file system fail, or kills the process at it. Loaded before the C library (LD_PRELOAD), it counts
 * the calls that change or read files, and treats the one that FAULT_AT names (from 1) as FAULT says: full, broken, short
 * or kill. Renaming is not disturbed: tempfile calls the kernel directly. With FAULT_COUNT, it writes the number of calls
 * to that file when the process ends. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { NONE, FULL, BROKEN, SHORT, KILL };

static atomic_long calls;

static enum kind kind(void) {
    const char *name = getenv("FAULT");
    if (!name) return NONE;
    if (!strcmp(name, "full")) return FULL;
    if (!strcmp(name, "broken")) return BROKEN;
    if (!strcmp(name, "short")) return SHORT;
    return !strcmp(name, "kill") ? KILL : NONE;
}

/* What is to be done at this call, which is counted. */
static enum kind due(void) {
    const char *at = getenv("FAULT_AT");
    long number = atomic_fetch_add(&calls, 1) + 1;
    if (!at || number != atol(at)) return NONE;
    if (kind() == KILL) {
        kill(getpid(), SIGKILL);
        pause();
    }
    return kind();
}

static int is_file(int fd) {
    struct stat it;
    return fd > 2 && !fstat(fd, &it) && S_ISREG(it.st_mode);
}

static int fails(enum kind fault) {
    if (fault == FULL) errno = ENOSPC;
    if (fault == BROKEN) errno = EIO;
    return fault == FULL || fault == BROKEN;
}

#define REAL(type, name, ...)                                                  \
    static type (*real)(__VA_ARGS__);                                          \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *bytes, size_t count) {
    REAL(ssize_t, write, int, const void *, size_t);
    enum kind fault = is_file(fd) ? due() : NONE;
    if (fails(fault)) return -1;
    return real(fd, bytes, fault == SHORT && count > 1 ? count / 2 : count);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    enum kind fault = is_file(fd) ? due() : NONE;
    if (fails(fault)) return -1;
    return real(fd, parts, fault == SHORT ? 1 : count);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
    enum kind fault = is_file(fd) ? due() : NONE;
    if (fails(fault)) return -1;
    return real(fd, bytes, fault == SHORT && count > 1 ? count / 2 : count, at);
}

ssize_t read(int fd, void *bytes, size_t count) {
    REAL(ssize_t, read, int, void *, size_t);
    enum kind fault = is_file(fd) ? due() : NONE;
    if (fault == BROKEN) return errno = EIO, -1;
    return real(fd, bytes, fault == SHORT && count > 1 ? count / 2 : count);
}

int fsync(int fd) {
    REAL(int, fsync, int);
    return fails(due()) ? -1 : real(fd);
}

int fdatasync(int fd) {
    REAL(int, fdatasync, int);
    return fails(due()) ? -1 : real(fd);
}

int ftruncate64(int fd, off64_t length) {
    REAL(int, ftruncate64, int, off64_t);
    return fails(due()) ? -1 : real(fd, length);
}

__attribute__((destructor)) static void tell(void) {
    const char *path = getenv("FAULT_COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file) return;
    fprintf(file, "%ld", atomic_load(&calls));
    fclose(file);
}

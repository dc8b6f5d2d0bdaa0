/* Lets one call of the file system fail, or kills the process at it. Loaded before the C library (LD_PRELOAD), it counts
 * the calls that change or read files, and treats the one that FAULT_AT names (from 1) as FAULT says: full, broken, short
 * or kill. tempfile renames without the C library, so renaming is trapped on its way into the kernel. With FAULT_COUNT,
 * the number of calls is written to that file when the process ends. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <ucontext.h>
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

int open64(const char *path, int flags, ...) {
    REAL(int, open64, const char *, int, ...);
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return fails(flags & O_CREAT ? due() : NONE) ? -1 : real(path, flags, mode);
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, mkdir, const char *, mode_t);
    return fails(due()) ? -1 : real(path, mode);
}

int unlink(const char *path) {
    REAL(int, unlink, const char *);
    return fails(due()) ? -1 : real(path);
}

#if defined __x86_64__
#define ARGUMENT(n) (at->uc_mcontext.gregs[(const int[]){REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8}[n]])
#define RESULT (at->uc_mcontext.gregs[REG_RAX])
#elif defined __aarch64__
#define ARGUMENT(n) (at->uc_mcontext.regs[n])
#define RESULT (at->uc_mcontext.regs[0])
#endif

#ifndef SYS_rename
#define SYS_rename SYS_renameat
#endif

/* The sixth argument of a call that passes; renaming has at most five. */
#define PASS 0x70617373

static void renaming(int number, siginfo_t *call, void *context) {
    ucontext_t *at = context;
    int error = errno;
    long done = -1;
    if (!fails(due()))
        done = syscall(call->si_syscall, ARGUMENT(0), ARGUMENT(1), ARGUMENT(2), ARGUMENT(3), ARGUMENT(4), (long)PASS);
    RESULT = done < 0 ? -errno : done;
    errno = error;
}

#define LOAD(place) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, place))
#define SKIP_IF(value, count) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, count, 0)
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, what)

__attribute__((constructor)) static void trap(void) {
    struct sock_filter filter[] = {
        LOAD(nr),
        SKIP_IF(SYS_rename, 3),
        SKIP_IF(SYS_renameat, 2),
        SKIP_IF(SYS_renameat2, 1),
        RETURN(SECCOMP_RET_ALLOW),
        LOAD(args[5]),
        SKIP_IF(PASS, 1),
        RETURN(SECCOMP_RET_TRAP),
        RETURN(SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    struct sigaction action = {.sa_sigaction = renaming, .sa_flags = SA_SIGINFO};
    if (sigaction(SIGSYS, &action, NULL) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
        perror("renaming cannot be trapped (seccomp)");
        abort();
    }
}

__attribute__((destructor)) static void tell(void) {
    const char *path = getenv("FAULT_COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file) return;
    fprintf(file, "%ld", atomic_load(&calls));
    fclose(file);
}

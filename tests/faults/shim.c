/* A faulty disk: fails and logs file calls on paths that contain a given part. Loaded before libc into a child.

   Environment: SHIM_PATH the part of the path, SHIM_SPACE bytes that can still be written (then ENOSPC),
   SHIM_FAIL_SYNC the number of the fsync or fdatasync that fails (EIO; all after it fail too), SHIM_READ_ONLY
   nothing can be opened for writing (EROFS), SHIM_LOG a file that gets a line a call: "operation path [new path]".
   A child may also set each of these itself: shim_watch, shim_space, shim_fail_sync, shim_read_only, shim_note. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char watched[PATH_MAX];
static long long space = -1;
static long fail_sync = 0, syncs = 0;
static int read_only = 0, log_fd = -1;

#define REAL(result, name, ...) \
    static result (*real)(__VA_ARGS__) = NULL; \
    if (!real) real = (result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static ssize_t raw_write(int fd, const void *bytes, size_t count) {
    REAL(ssize_t, "write", int, const void *, size_t);
    return real(fd, bytes, count);
}

void shim_watch(const char *part) { snprintf(watched, sizeof watched, "%s", part); }
void shim_space(long long bytes) { space = bytes; }
void shim_fail_sync(long nth) { fail_sync = nth; syncs = 0; }
void shim_read_only(int on) { read_only = on; }

void shim_note(const char *text) {
    char line[3 * PATH_MAX];
    int saved = errno;
    if (log_fd >= 0) {
        int length = snprintf(line, sizeof line, "%s\n", text);
        if (raw_write(log_fd, line, (size_t)length) < 0) abort();
    }
    errno = saved;
}

__attribute__((constructor)) static void from_environment(void) {
    const char *value;
    if ((value = getenv("SHIM_PATH"))) shim_watch(value);
    if ((value = getenv("SHIM_SPACE"))) space = atoll(value);
    if ((value = getenv("SHIM_FAIL_SYNC"))) fail_sync = atol(value);
    if ((value = getenv("SHIM_READ_ONLY"))) read_only = atoi(value);
    if ((value = getenv("SHIM_LOG"))) {
        REAL(int, "open64", const char *, int, ...);
        log_fd = real(value, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
}

static int is_watched(const char *path) { return watched[0] && strstr(path, watched) != NULL; }

static void note(const char *operation, const char *path, const char *to) {
    char line[2 * PATH_MAX + 64];
    if (log_fd < 0) return;
    snprintf(line, sizeof line, "%s %s%s%s", operation, path, to ? " " : "", to ? to : "");
    shim_note(line);
}

/* The path of a descriptor, where it is one that is watched. */
static int watched_fd(int fd, char *path) {
    char link[64];
    int saved = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = watched[0] ? readlink(link, path, PATH_MAX - 1) : -1;
    errno = saved;
    if (length < 0) return 0;
    path[length] = 0;
    return is_watched(path);
}

/* How many of so many bytes may be written; -1 with ENOSPC where none may. */
static ssize_t granted(int fd, size_t count, const char *operation) {
    char path[PATH_MAX];
    if (!watched_fd(fd, path)) return (ssize_t)count;
    note(operation, path, NULL);
    if (space < 0 || count == 0) return (ssize_t)count;
    if (space == 0) { errno = ENOSPC; return -1; }
    size_t allowed = (long long)count > space ? (size_t)space : count;
    space -= (long long)allowed;
    return (ssize_t)allowed;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    ssize_t allowed = granted(fd, count, "write");
    return allowed < 0 ? -1 : raw_write(fd, bytes, (size_t)allowed);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    char path[PATH_MAX];
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    if (!watched_fd(fd, path)) return real(fd, parts, count);
    ssize_t total = 0;
    for (int i = 0; i < count; i++) {
        ssize_t written = parts[i].iov_len ? write(fd, parts[i].iov_base, parts[i].iov_len) : 0;
        if (written < 0) return total ? total : -1;
        total += written;
        if ((size_t)written < parts[i].iov_len) break;
    }
    return total;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    ssize_t allowed = granted(fd, count, "write");
    return allowed < 0 ? -1 : real(fd, bytes, (size_t)allowed, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    ssize_t allowed = granted(fd, count, "write");
    return allowed < 0 ? -1 : real(fd, bytes, (size_t)allowed, at);
}

int posix_fallocate(int fd, off_t at, off_t count) {
    REAL(int, "posix_fallocate", int, off_t, off_t);
    char path[PATH_MAX];
    if (watched_fd(fd, path) && space >= 0 && count > space) return ENOSPC;
    return real(fd, at, count);
}

static int sync_fails(int fd) {
    char path[PATH_MAX];
    if (!watched_fd(fd, path)) return 0;
    syncs++;
    if (fail_sync && syncs >= fail_sync) { note("sync-failed", path, NULL); errno = EIO; return 1; }
    note("sync", path, NULL);
    return 0;
}

int fsync(int fd) {
    REAL(int, "fsync", int);
    return sync_fails(fd) ? -1 : real(fd);
}

int fdatasync(int fd) {
    REAL(int, "fdatasync", int);
    return sync_fails(fd) ? -1 : real(fd);
}

/* Whether opening this for writing fails: on a full disk no new file can be made. */
static int open_fails(const char *path, int flags) {
    char whole[PATH_MAX];
    int writes = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC));
    if (!writes || !watched[0]) return 0;
    if (path[0] != '/') {
        char here[PATH_MAX / 2];
        if (!getcwd(here, sizeof here)) return 0;
        snprintf(whole, sizeof whole, "%s/%.2000s", here, path);
        path = whole;
    }
    if (!is_watched(path)) return 0;
    if (read_only) { errno = EROFS; return 1; }
    if (space == 0 && (flags & O_CREAT) && access(path, F_OK) != 0) { errno = ENOSPC; return 1; }
    return 0;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, #name, const char *, int, ...); \
        va_list rest; va_start(rest, flags); \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        return open_fails(path, flags) ? -1 : real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

static int fopen_flags(const char *mode) {
    return strpbrk(mode, "wa") ? O_WRONLY | O_CREAT : strchr(mode, '+') ? O_RDWR : O_RDONLY;
}

#define FOPEN(name) \
    FILE *name(const char *path, const char *mode) { \
        REAL(FILE *, #name, const char *, const char *); \
        return open_fails(path, fopen_flags(mode)) ? NULL : real(path, mode); \
    }
FOPEN(fopen)
FOPEN(fopen64)

static int change_fails(const char *operation, const char *path, const char *to) {
    if (!is_watched(path)) return 0;
    if (read_only) { errno = EROFS; return 1; }
    note(operation, path, to);
    return 0;
}

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    return change_fails("rename", from, to) ? -1 : real(from, to);
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    return change_fails("unlink", path, NULL) ? -1 : real(path);
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, "mkdir", const char *, mode_t);
    return change_fails("mkdir", path, NULL) ? -1 : real(path, mode);
}

int access(const char *path, int mode) {
    REAL(int, "access", const char *, int);
    if (read_only && (mode & W_OK) && is_watched(path)) { errno = EROFS; return -1; }
    return real(path, mode);
}

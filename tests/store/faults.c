/* What can go wrong below a store, and what it did: preloaded into a process, it fails the calls it is told to
 * fail, and records every change to the files in one folder, so that a test can make what a power cut would leave.
 *
 * FAULTS_FOLDER names the folder (absolute, no links in it), FAULTS_LOG the file for the record. The process under
 * test arms faults with faults_arm() and puts remarks into the record with faults_mark().
 *
 * A record: type (1 octet), length of path (2), offset (8), length of data (4), path, data; little-endian. For
 * a rename the data is the new path. Only what succeeded is recorded.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum { WRITE = 'w', SYNC = 's', TRUNCATE = 't', CREATE = 'c', RENAME = 'r', UNLINK = 'u', MKDIR = 'd', MARK = 'm' };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char folder[PATH_MAX];
static size_t folder_length;
static int record = -1;

static struct {
    char types[16];
    char part[64];
    int after, times, error, partial;
} fault;

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("FAULTS_FOLDER"), *log = getenv("FAULTS_LOG");
    if (name) {
        snprintf(folder, sizeof folder, "%s", name);
        folder_length = strlen(folder);
    }
    if (log)
        record = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
}

/* Fail calls of ``types`` on files whose path contains ``part``: the first ``after`` of them succeed, then ``times``
 * fail with ``error``. ``partial``: the first write that fails writes half. */
void faults_arm(const char *types, const char *part, int after, int times, int error, int partial)
{
    pthread_mutex_lock(&lock);
    snprintf(fault.types, sizeof fault.types, "%s", types);
    snprintf(fault.part, sizeof fault.part, "%s", part);
    fault.after = after;
    fault.times = times;
    fault.error = error;
    fault.partial = partial;
    pthread_mutex_unlock(&lock);
}

static void put(const void *octets, size_t length)
{
    while (length > 0) {
        ssize_t done = syscall(SYS_write, record, octets, length);
        if (done <= 0)
            abort();
        octets = (const char *)octets + done;
        length -= (size_t)done;
    }
}

static void note(char type, const char *path, uint64_t offset, const void *data, size_t size)
{
    if (record < 0)
        return;
    unsigned char head[15] = {(unsigned char)type};
    uint16_t path_length = (uint16_t)strlen(path);
    uint32_t length = (uint32_t)size;
    memcpy(head + 1, &path_length, 2);
    memcpy(head + 3, &offset, 8);
    memcpy(head + 11, &length, 4);
    put(head, sizeof head);
    put(path, path_length);
    put(data, size);
}

void faults_mark(const char *text)
{
    pthread_mutex_lock(&lock);
    note(MARK, "", 0, text, strlen(text));
    pthread_mutex_unlock(&lock);
}

static int ours(const char *path)
{
    return folder_length && strncmp(path, folder, folder_length) == 0;
}

static int path_of(int fd, char *path)
{
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    return ours(path);
}

static int fails(char type, const char *path)
{
    if (!fault.times || !strchr(fault.types, type) || !strstr(path, fault.part))
        return 0;
    if (fault.after > 0) {
        fault.after--;
        return 0;
    }
    fault.times--;
    return 1;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(real))dlsym(RTLD_NEXT, #name)

static ssize_t write_at(int fd, const void *octets, size_t size, off64_t offset, ssize_t (*real)(int, const void *, size_t, off64_t))
{
    char path[PATH_MAX];
    if (!path_of(fd, path))
        return real(fd, octets, size, offset);
    pthread_mutex_lock(&lock);
    ssize_t done = -1;
    if (fails(WRITE, path)) {
        errno = fault.error;
        if (fault.partial && size > 1) {
            fault.partial = 0;
            done = real(fd, octets, size / 2, offset);
        }
    } else {
        done = real(fd, octets, size, offset);
    }
    if (done > 0)
        note(WRITE, path, (uint64_t)offset, octets, (size_t)done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite64(int fd, const void *octets, size_t size, off64_t offset)
{
    REAL(pwrite64);
    return write_at(fd, octets, size, offset, real);
}

ssize_t pwrite(int fd, const void *octets, size_t size, off_t offset)
{
    return pwrite64(fd, octets, size, offset);
}

static ssize_t append(int fd, const void *octets, size_t size, off64_t offset)
{
    REAL(write);
    (void)offset;
    return real(fd, octets, size);
}

ssize_t write(int fd, const void *octets, size_t size)
{
    return write_at(fd, octets, size, fd > 2 ? lseek64(fd, 0, SEEK_CUR) : 0, append);
}

static int change(char type, const char *path, uint64_t offset, const char *data, int (*real)(void *), void *arguments)
{
    if (!ours(path))
        return real(arguments);
    pthread_mutex_lock(&lock);
    int result = -1;
    if (fails(type, path))
        errno = fault.error;
    else
        result = real(arguments);
    if (result >= 0)
        note(type, path, offset, data, strlen(data));
    pthread_mutex_unlock(&lock);
    return result;
}

static int sync_now(void *fd) { REAL(fsync); return real(*(int *)fd); }

int fsync(int fd)
{
    char path[PATH_MAX];
    return path_of(fd, path) ? change(SYNC, path, 0, "", sync_now, &fd) : sync_now(&fd);
}

int fdatasync(int fd) { return fsync(fd); }

struct sized { int fd; off64_t size; };
static int truncate_now(void *a) { REAL(ftruncate64); return real(((struct sized *)a)->fd, ((struct sized *)a)->size); }

int ftruncate64(int fd, off64_t size)
{
    char path[PATH_MAX];
    struct sized a = {fd, size};
    return path_of(fd, path) ? change(TRUNCATE, path, (uint64_t)size, "", truncate_now, &a) : truncate_now(&a);
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

struct two { const char *from, *to; };
static int rename_now(void *a) { REAL(rename); return real(((struct two *)a)->from, ((struct two *)a)->to); }
static int unlink_now(void *path) { REAL(unlink); return real(path); }
struct made { const char *path; mode_t mode; };
static int mkdir_now(void *a) { REAL(mkdir); return real(((struct made *)a)->path, ((struct made *)a)->mode); }

int rename(const char *from, const char *to)
{
    struct two a = {from, to};
    return change(RENAME, from, 0, to, rename_now, &a);
}

int unlink(const char *path) { return change(UNLINK, path, 0, "", unlink_now, (void *)path); }

int mkdir(const char *path, mode_t mode)
{
    struct made a = {path, mode};
    return change(MKDIR, path, 0, "", mkdir_now, &a);
}

struct opened { int at; const char *path; int flags; mode_t mode; };

static int open_now(void *arguments)
{
    struct opened *a = arguments;
    return (int)syscall(SYS_openat, a->at, a->path, a->flags | O_LARGEFILE, a->mode);
}

static int open_file(int at, const char *path, int flags, va_list more)
{
    struct opened a = {at, path, flags, 0};
    struct stat there;
    if (flags & O_CREAT)
        a.mode = (mode_t)va_arg(more, int);
    if (!(flags & (O_CREAT | O_TRUNC)) || !ours(path))
        return open_now(&a);
    int known = stat(path, &there) == 0;
    if (known && flags & O_TRUNC)
        return change(TRUNCATE, path, 0, "", open_now, &a);
    return known ? open_now(&a) : change(CREATE, path, 0, "", open_now, &a);
}

#define OPEN(name)                                  \
    int name(const char *path, int flags, ...)      \
    {                                               \
        va_list more;                               \
        va_start(more, flags);                      \
        int fd = open_file(AT_FDCWD, path, flags, more); \
        va_end(more);                               \
        return fd;                                  \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                \
    int name(int at, const char *path, int flags, ...) \
    {                                               \
        va_list more;                               \
        va_start(more, flags);                      \
        int fd = open_file(at, path, flags, more);  \
        va_end(more);                               \
        return fd;                                  \
    }
OPENAT(openat)
OPENAT(openat64)

/* Stands between a program and its files: counts and records what it writes below one folder, and hurts it on demand.
 *
 * Preloaded (LD_PRELOAD), it does nothing until torture_arm() is called. From then on each change to a file below the
 * folder is one numbered step. A plan says what happens at which step: die before it, die after it, write a part of it
 * and die, fail with an errno, write less than was asked. Every change goes to a record, from which tests/torture/disk.py
 * rebuilds what a disk may hold after a power cut. The wall clock can be moved, too.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum kind { CREATE = 1, KNOWN, WRITE, TRUNCATE, SYNC, RENAME, UNLINK, MKDIR, FAULT };
enum act { DIE_BEFORE = 1, DIE_AFTER, TEAR, FAIL, SHORT, FILL, CLOCK, FAIL_READ };
enum on { ON_WRITE = 1, ON_SYNC = 2, ON_NAME = 4, ON_TRUNCATE = 8 };

struct plan { int32_t act; int32_t on; int64_t from; int64_t count; int64_t arg; };
struct head { uint32_t kind; uint32_t id; int64_t offset; int64_t size; int64_t payload; };

#define MOST_FDS 4096
#define MOST_FILES 4096
#define MOST_PLANS 8

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static volatile int armed;
static char folder[PATH_MAX];
static size_t folder_size;
static int record_fd = -1;
static struct plan plans[MOST_PLANS];
static int plan_count;
static int64_t steps, reads;
static volatile int64_t wall_shift_ms;
static uint32_t id_of_fd[MOST_FDS];
static int appends[MOST_FDS];
static struct { uint64_t inode; uint32_t id; } files[MOST_FILES];
static uint32_t file_count, next_id;

static long raw(long number, long a, long b, long c, long d, long e) { return syscall(number, a, b, c, d, e); }

static void die(void) {
    raw(SYS_kill, getpid(), SIGKILL, 0, 0, 0);
    for (;;) pause();
}

static void note(uint32_t kind, uint32_t id, int64_t offset, int64_t size, const void *data, size_t length) {
    struct head head = {kind, id, offset, size, (int64_t)length};
    int saved = errno;
    raw(SYS_write, record_fd, (long)&head, sizeof head, 0, 0);
    if (length) raw(SYS_write, record_fd, (long)data, (long)length, 0, 0);
    errno = saved;
}

void torture_arm(const char *below, const char *record, const struct plan *wanted, int count) {
    pthread_mutex_lock(&lock);
    strncpy(folder, below, sizeof folder - 1);
    folder_size = strlen(folder);
    record_fd = (int)raw(SYS_openat, AT_FDCWD, (long)record, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600, 0);
    record_fd = fcntl(record_fd, F_DUPFD_CLOEXEC, 1000);
    plan_count = count > MOST_PLANS ? MOST_PLANS : count;
    memcpy(plans, wanted, sizeof *wanted * (size_t)plan_count);
    steps = reads = 0;
    armed = record_fd >= 0;
    pthread_mutex_unlock(&lock);
}

int64_t torture_steps(void) { return steps; }
int64_t torture_reads(void) { return reads; }
void torture_move_clock(int64_t by_ms) { wall_shift_ms += by_ms; }

static int is_ours(const char *path) {
    return armed && path && !strncmp(path, folder, folder_size) && (path[folder_size] == '/' || !path[folder_size]);
}

static uint32_t id_of(int fd) { return armed && fd >= 0 && fd < MOST_FDS ? id_of_fd[fd] : 0; }

/* Take one step. Returns the plan that decides over it, or NULL: go on as asked. Called with the lock held. */
static const struct plan *step(int on) {
    const struct plan *decides = NULL;
    steps++;
    for (int i = 0; i < plan_count; i++) {
        const struct plan *p = &plans[i];
        if (steps < p->from || steps >= p->from + p->count || (p->on && !(p->on & on)) || p->act == FAIL_READ) continue;
        if (p->act == CLOCK) {
            wall_shift_ms += p->arg;
            note(FAULT, 0, p->act, steps, NULL, 0);
            continue;
        }
        if ((p->act == SHORT || p->act == FILL) && on != ON_WRITE) continue;
        note(FAULT, 0, p->act, steps, NULL, 0);
        if (p->act == DIE_BEFORE || (p->act == TEAR && on != ON_WRITE)) die();
        decides = p;
    }
    return decides;
}

static void after(const struct plan *p) {
    if (p && p->act == DIE_AFTER) die();
}

static int fails(const struct plan *p) {
    if (!p || p->act != FAIL) return 0;
    errno = (int)p->arg;
    return 1;
}

static int opened(const char *path, int flags, mode_t mode) {
    struct stat s;
    int is_write = (flags & O_ACCMODE) != O_RDONLY;
    pthread_mutex_lock(&lock);
    int is_new = (flags & O_CREAT) && raw(SYS_faccessat, AT_FDCWD, (long)path, F_OK, 0, 0) != 0;
    const struct plan *p = is_new || (flags & O_TRUNC) ? step(ON_NAME) : NULL;
    int fd = fails(p) ? -1 : (int)raw(SYS_openat, AT_FDCWD, (long)path, flags, mode, 0);
    if (fd >= 0 && fd < MOST_FDS && fstat(fd, &s) == 0 && (is_write || S_ISDIR(s.st_mode))) {
        uint32_t id = 0;
        for (uint32_t i = 0; !is_new && i < file_count; i++)
            if (files[i].inode == s.st_ino) id = files[i].id;
        if (!id) {
            id = ++next_id;
            uint32_t at = file_count;
            for (uint32_t i = 0; i < file_count; i++)
                if (files[i].inode == s.st_ino) at = i;
            if (at == file_count && file_count < MOST_FILES) file_count++;
            if (at < MOST_FILES) { files[at].inode = s.st_ino; files[at].id = id; }
            note(is_new ? CREATE : KNOWN, id, S_ISDIR(s.st_mode), s.st_size, path, strlen(path));
        }
        if (flags & O_TRUNC) note(TRUNCATE, id, 0, 0, NULL, 0);
        id_of_fd[fd] = id;
        appends[fd] = (flags & O_APPEND) != 0;
    }
    int saved = errno;
    after(p);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return fd;
}

#define OPEN(name)                                                                     \
    int name(const char *path, int flags, ...) {                                       \
        mode_t mode = 0;                                                               \
        if (flags & (O_CREAT | O_TMPFILE)) {                                           \
            va_list list; va_start(list, flags); mode = va_arg(list, mode_t); va_end(list); \
        }                                                                              \
        if (is_ours(path)) return opened(path, flags, mode);                           \
        return (int)raw(SYS_openat, AT_FDCWD, (long)path, flags, mode, 0);             \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    if (fd >= 0 && fd < MOST_FDS) id_of_fd[fd] = 0;
    return (int)raw(SYS_close, fd, 0, 0, 0, 0);
}

static ssize_t written(int fd, const void *data, size_t size, int64_t offset, int is_at) {
    uint32_t id = id_of(fd);
    if (!id) return is_at ? raw(SYS_pwrite64, fd, (long)data, (long)size, offset, 0)
                          : raw(SYS_write, fd, (long)data, (long)size, 0, 0);
    pthread_mutex_lock(&lock);
    struct stat s;
    if (!is_at) offset = appends[fd] && fstat(fd, &s) == 0 ? s.st_size : raw(SYS_lseek, fd, 0, SEEK_CUR, 0, 0);
    const struct plan *p = step(ON_WRITE);
    size_t part = size;
    ssize_t result = -1;
    if (!fails(p)) {
        if (p && p->act == TEAR) part = size * (size_t)p->arg / 1000;
        if (p && p->act == SHORT && size > 1) part = size / 2;
        if (p && p->act == FILL) part = (steps - p->from) % 2 == 0 && size > 1 ? size / 2 : 0;
        if (p && p->act == FILL && !part) {
            errno = ENOSPC;
        } else {
            result = is_at ? raw(SYS_pwrite64, fd, (long)data, (long)part, offset, 0)
                           : raw(SYS_write, fd, (long)data, (long)part, 0, 0);
            if (result > 0) note(WRITE, id, offset, result, data, (size_t)result);
        }
        if (p && p->act == TEAR) die();
    }
    int saved = errno;
    after(p);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return result;
}

ssize_t write(int fd, const void *data, size_t size) { return written(fd, data, size, 0, 0); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return written(fd, data, size, at, 1); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { return written(fd, data, size, at, 1); }

static int read_fails(int fd) {
    if (!id_of(fd)) return 0;
    int is_hit = 0;
    pthread_mutex_lock(&lock);
    reads++;
    for (int i = 0; i < plan_count; i++)
        if (plans[i].act == FAIL_READ && reads >= plans[i].from && reads < plans[i].from + plans[i].count) is_hit = 1;
    if (is_hit) note(FAULT, 0, FAIL_READ, reads, NULL, 0);
    pthread_mutex_unlock(&lock);
    if (is_hit) errno = EIO;
    return is_hit;
}

ssize_t read(int fd, void *data, size_t size) {
    return read_fails(fd) ? -1 : raw(SYS_read, fd, (long)data, (long)size, 0, 0);
}
ssize_t pread(int fd, void *data, size_t size, off_t at) {
    return read_fails(fd) ? -1 : raw(SYS_pread64, fd, (long)data, (long)size, at, 0);
}
ssize_t pread64(int fd, void *data, size_t size, off64_t at) {
    return read_fails(fd) ? -1 : raw(SYS_pread64, fd, (long)data, (long)size, at, 0);
}

static int synced(int fd, long number) {
    uint32_t id = id_of(fd);
    if (!id) return (int)raw(number, fd, 0, 0, 0, 0);
    pthread_mutex_lock(&lock);
    const struct plan *p = step(ON_SYNC);
    /* the record is the disk here: nothing needs to reach the real one, and thousands of lives stay cheap */
    int result = fails(p) ? -1 : 0;
    if (result == 0) note(SYNC, id, 0, 0, NULL, 0);
    int saved = errno;
    after(p);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return result;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

static int truncated(int fd, int64_t size) {
    uint32_t id = id_of(fd);
    if (!id) return (int)raw(SYS_ftruncate, fd, size, 0, 0, 0);
    pthread_mutex_lock(&lock);
    const struct plan *p = step(ON_TRUNCATE);
    int result = fails(p) ? -1 : (int)raw(SYS_ftruncate, fd, size, 0, 0, 0);
    if (result == 0) note(TRUNCATE, id, size, 0, NULL, 0);
    int saved = errno;
    after(p);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return result;
}

int ftruncate(int fd, off_t size) { return truncated(fd, size); }
int ftruncate64(int fd, off64_t size) { return truncated(fd, size); }

static int named(uint32_t kind, long number, const char *path, const char *other, long third) {
    char both[2 * PATH_MAX];
    pthread_mutex_lock(&lock);
    const struct plan *p = step(ON_NAME);
    int result = -1;
    if (!fails(p)) {
        result = number == SYS_renameat2 ? (int)raw(number, AT_FDCWD, (long)path, AT_FDCWD, (long)other, third)
                                         : (int)raw(number, AT_FDCWD, (long)path, third, 0, 0);
        if (result == 0) {
            size_t first = strlen(path), second = other ? strlen(other) : 0;
            if (first + second < sizeof both) {
                memcpy(both, path, first);
                if (second) memcpy(both + first, other, second);
                note(kind, 0, (int64_t)first, 0, both, first + second);
            }
        }
    }
    int saved = errno;
    after(p);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return result;
}

int rename(const char *from, const char *to) {
    if (is_ours(from) && is_ours(to)) return named(RENAME, SYS_renameat2, from, to, 0);
    return (int)raw(SYS_renameat2, AT_FDCWD, (long)from, AT_FDCWD, (long)to, 0);
}
int unlink(const char *path) {
    if (is_ours(path)) return named(UNLINK, SYS_unlinkat, path, NULL, 0);
    return (int)raw(SYS_unlinkat, AT_FDCWD, (long)path, 0, 0, 0);
}
int mkdir(const char *path, mode_t mode) {
    if (is_ours(path)) return named(MKDIR, SYS_mkdirat, path, NULL, mode);
    return (int)raw(SYS_mkdirat, AT_FDCWD, (long)path, mode, 0, 0);
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    int result = (int)raw(SYS_clock_gettime, clock, (long)at, 0, 0, 0);
    if (result == 0 && wall_shift_ms && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ns = (int64_t)at->tv_nsec + (wall_shift_ms % 1000) * 1000000;
        at->tv_sec += wall_shift_ms / 1000;
        if (ns < 0) { ns += 1000000000; at->tv_sec--; }
        if (ns >= 1000000000) { ns -= 1000000000; at->tv_sec++; }
        at->tv_nsec = (long)ns;
    }
    return result;
}

time_t time(time_t *out) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (out) *out = at.tv_sec;
    return at.tv_sec;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
    struct timespec at;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &at);
    out->tv_sec = at.tv_sec;
    out->tv_usec = at.tv_nsec / 1000;
    return 0;
}

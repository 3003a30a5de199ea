#define _GNU_SOURCE
#include "FaultLayer.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

// The calls that are met, under the names that rules use.
#define KINDS(X)                                                                                                   \
  X(open) X(pread) X(read) X(pwrite) X(write) X(fsync) X(fdatasync) X(ftruncate) X(fallocate) X(rename) X(link)    \
  X(mkdir) X(unlink) X(rmdir) X(close) X(copy_file_range) X(ioctl) X(opendir) X(readdir) X(stat) X(fstat)          \
  X(statfs) X(flock) X(chmod) X(chown)

enum kind {
#define X(name) kind_##name,
  KINDS(X)
#undef X
  kind_count
};

static const char *const kind_names[] = {
#define X(name) #name,
    KINDS(X)
#undef X
};

enum action { action_none, action_error, action_short, action_delay, action_kill, action_kill_after, action_interrupt,
              action_truncate, action_append, action_rewrite, action_replace };

struct rule {
  int kind; // kind_count for any
  unsigned long number;
  bool onward;
  enum action action;
  int error;
};

static struct rule rules[16];
static int rule_count;
static const char *path_filter;
static int log_descriptor = -1;
static bool is_active;
static atomic_ulong counts[kind_count + 1];

// The C library's own functions, looked up once each; looking one up twice does no harm.
#define REAL(result, name, ...)                                                                                    \
  static result (*name##_pointer)(__VA_ARGS__);                                                                    \
  static inline void name##_find(void) {                                                                           \
    if (!name##_pointer) name##_pointer = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name);                         \
  }
#define CALL(name, ...) (name##_find(), name##_pointer(__VA_ARGS__))

// MARK: Rules

static const struct { const char *name; enum action action; int error; } actions[] = {
    {"SHORT", action_short, 0}, {"DELAY", action_delay, 0}, {"KILL", action_kill, 0}, {"KILLAFTER", action_kill_after, 0},
    {"INT", action_interrupt, 0}, {"TRUNCATE", action_truncate, 0}, {"APPEND", action_append, 0},
    {"REWRITE", action_rewrite, 0}, {"REPLACE", action_replace, 0},
#define E(name) {#name, action_error, name},
    E(EIO) E(ENOSPC) E(EDQUOT) E(EINTR) E(EACCES) E(EROFS) E(EMFILE) E(EINVAL) E(ENOSYS) E(EOPNOTSUPP) E(EXDEV)
    E(EEXIST) E(ENOENT) E(ESTALE)
#undef E
};

static void refuse(const char *text) {
  dprintf(2, "FaultLayer: cannot read the rule %s\n", text);
  _exit(97);
}

static void add_rule(char *text) {
  struct rule rule = {.kind = -1};
  char *number = strchr(text, ':'), *end = NULL;
  char *action = number ? strchr(number + 1, ':') : NULL;
  if (!action || rule_count == sizeof rules / sizeof *rules) refuse(text);
  *number++ = *action++ = 0;
  for (int kind = 0; kind < kind_count; kind++)
    if (!strcmp(text, kind_names[kind])) rule.kind = kind;
  if (!strcmp(text, "*")) rule.kind = kind_count;
  rule.number = strtoul(number, &end, 10);
  rule.onward = *end == '+';
  for (size_t index = 0; index < sizeof actions / sizeof *actions; index++)
    if (!strcmp(action, actions[index].name)) {
      rule.action = actions[index].action;
      rule.error = actions[index].error;
    }
  if (rule.kind < 0 || !rule.number || end[rule.onward] || !rule.action) refuse(text);
  rules[rule_count++] = rule;
}

__attribute__((constructor)) static void start(void) {
  const char *text = getenv("FAULTS"), *log = getenv("FAULTS_LOG");
  path_filter = getenv("FAULTS_PATH");
  static char copy[4096];
  if (text) {
    if (strlen(text) >= sizeof copy) refuse("(too long)");
    strcpy(copy, text);
    char *rest = NULL;
    for (char *rule = strtok_r(copy, ",", &rest); rule; rule = strtok_r(NULL, ",", &rest)) add_rule(rule);
  }
  if (log) log_descriptor = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  is_active = rule_count > 0 || log_descriptor >= 0;
}

// MARK: Meeting a call

// Whether calls on `path` count.
static bool counts_path(const char *path) {
  if (!path) return false;
  if (path_filter && *path_filter) return strstr(path, path_filter) != NULL;
  return strncmp(path, "/proc", 5) && strncmp(path, "/sys", 4) && strncmp(path, "/dev", 4);
}

// The path of an open file, or NULL for what has none.
static const char *path_of(int descriptor, char *buffer, size_t size) {
  char link[32];
  if (descriptor <= 2) return NULL;
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  long count = syscall(SYS_readlink, link, buffer, size - 1);
  if (count <= 0 || buffer[0] != '/') return NULL;
  buffer[count] = 0;
  return buffer;
}

static void note(enum kind kind, const char *path) {
  char line[4352];
  int count = snprintf(line, sizeof line, "%s %s\n", kind_names[kind], path);
  if (count >= (int)sizeof line) count = sizeof line - 1;
  syscall(SYS_write, log_descriptor, line, count);
}

// Changes the file behind a descriptor, as another program might.
static void change(enum action action, int descriptor, const char *path) {
  char link[32], byte = 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  struct stat status;
  int file = (int)syscall(SYS_openat, AT_FDCWD, link, O_RDWR | O_CLOEXEC);
  if (file < 0 || syscall(SYS_fstat, file, &status)) return;
  off_t size = status.st_size;
  if (action == action_truncate) syscall(SYS_ftruncate, file, size / 2);
  if (action == action_append) syscall(SYS_pwrite64, file, "x", 1, size);
  if (action == action_rewrite && syscall(SYS_pread64, file, &byte, 1, size - 1) == 1) {
    byte ^= 1;
    syscall(SYS_pwrite64, file, &byte, 1, size - 1);
  }
  if (action == action_replace) {
    char name[4200];
    snprintf(name, sizeof name, "%s.new", path);
    int other = (int)syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    syscall(SYS_write, other, "another file", 12);
    syscall(SYS_close, other);
    syscall(SYS_rename, name, path);
  }
  syscall(SYS_close, file);
}

struct fault {
  enum action action;
  int error;
};

// Counts a call and gives the fault that is due, once what comes before the call is done.
static struct fault find(enum kind kind, int descriptor, const char *path) {
  struct fault fault = {action_none, 0};
  char buffer[4096];
  if (descriptor >= 0) path = path_of(descriptor, buffer, sizeof buffer);
  if (!counts_path(path)) return fault;
  unsigned long number[2] = {atomic_fetch_add(&counts[kind], 1) + 1, atomic_fetch_add(&counts[kind_count], 1) + 1};
  if (log_descriptor >= 0) note(kind, path);
  for (int index = 0; index < rule_count; index++) {
    struct rule rule = rules[index];
    unsigned long at = number[rule.kind == kind_count];
    if ((rule.kind != kind_count && rule.kind != (int)kind) || at < rule.number) continue;
    if (at > rule.number && !rule.onward) continue;
    fault = (struct fault){rule.action, rule.error};
  }
  if (fault.action == action_delay) usleep(20000);
  if (fault.action == action_kill) syscall(SYS_kill, getpid(), SIGKILL);
  if (fault.action == action_interrupt) syscall(SYS_kill, getpid(), SIGINT);
  if (fault.action >= action_truncate && descriptor >= 0) change(fault.action, descriptor, path);
  return fault;
}

// What happens to a call; `descriptor` is -1 for calls by path.
static struct fault meet(enum kind kind, int descriptor, const char *path) {
  struct fault fault = {action_none, 0};
  if (!is_active) return fault;
  int error = errno;
  fault = find(kind, descriptor, path);
  errno = error;
  return fault;
}

// Ends a call that was made.
static void leave(struct fault fault) {
  if (fault.action == action_kill_after) syscall(SYS_kill, getpid(), SIGKILL);
}

static size_t shortened(struct fault fault, size_t count) {
  return fault.action == action_short && count > 1 ? count / 2 : count;
}

// MARK: Calls

// A call of the C library with a fault before or after it; `failed` is what it gives with errno set.
#define MEET(kind, descriptor, path, result, failed, ...)                                                          \
  struct fault fault = meet(kind_##kind, descriptor, path);                                                        \
  if (fault.action == action_error) {                                                                              \
    errno = fault.error;                                                                                           \
    return failed;                                                                                                 \
  }                                                                                                                \
  result value = CALL(__VA_ARGS__);                                                                                \
  leave(fault);                                                                                                    \
  return value;

REAL(int, open, const char *, int, ...)
REAL(int, openat, int, const char *, int, ...)
#define MODE(mode, flags)                                                                                          \
  mode_t mode = 0;                                                                                                 \
  if (flags & (O_CREAT | __O_TMPFILE)) {                                                                           \
    va_list list;                                                                                                  \
    va_start(list, flags);                                                                                         \
    mode = va_arg(list, mode_t);                                                                                   \
    va_end(list);                                                                                                  \
  }
int open(const char *path, int flags, ...) {
  MODE(mode, flags)
  MEET(open, -1, path, int, -1, open, path, flags, mode)
}
int openat(int directory, const char *path, int flags, ...) {
  MODE(mode, flags)
  MEET(open, -1, path, int, -1, openat, directory, path, flags, mode)
}
int open64(const char *path, int flags, ...) __attribute__((alias("open")));
int openat64(int directory, const char *path, int flags, ...) __attribute__((alias("openat")));

REAL(int, creat, const char *, mode_t)
int creat(const char *path, mode_t mode) { MEET(open, -1, path, int, -1, creat, path, mode) }
int creat64(const char *path, mode_t mode) __attribute__((alias("creat")));

REAL(int, close, int)
int close(int descriptor) {
  struct fault fault = meet(kind_close, descriptor, NULL);
  int value = CALL(close, descriptor);
  leave(fault);
  if (fault.action != action_error) return value;
  errno = fault.error;
  return -1;
}

REAL(ssize_t, pread, int, void *, size_t, off_t)
REAL(ssize_t, read, int, void *, size_t)
REAL(ssize_t, pwrite, int, const void *, size_t, off_t)
REAL(ssize_t, write, int, const void *, size_t)
ssize_t pread(int file, void *bytes, size_t count, off_t offset) {
  MEET(pread, file, NULL, ssize_t, -1, pread, file, bytes, shortened(fault, count), offset)
}
ssize_t read(int file, void *bytes, size_t count) {
  MEET(read, file, NULL, ssize_t, -1, read, file, bytes, shortened(fault, count))
}
ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) {
  MEET(pwrite, file, NULL, ssize_t, -1, pwrite, file, bytes, shortened(fault, count), offset)
}
ssize_t write(int file, const void *bytes, size_t count) {
  MEET(write, file, NULL, ssize_t, -1, write, file, bytes, shortened(fault, count))
}
ssize_t pread64(int file, void *bytes, size_t count, off_t offset) __attribute__((alias("pread")));
ssize_t pwrite64(int file, const void *bytes, size_t count, off_t offset) __attribute__((alias("pwrite")));

REAL(ssize_t, copy_file_range, int, off_t *, int, off_t *, size_t, unsigned)
ssize_t copy_file_range(int from, off_t *at, int to, off_t *place, size_t count, unsigned flags) {
  MEET(copy_file_range, to, NULL, ssize_t, -1, copy_file_range, from, at, to, place, shortened(fault, count), flags)
}

REAL(int, fsync, int)
REAL(int, fdatasync, int)
int fsync(int file) { MEET(fsync, file, NULL, int, -1, fsync, file) }
int fdatasync(int file) { MEET(fdatasync, file, NULL, int, -1, fdatasync, file) }

REAL(int, ftruncate, int, off_t)
REAL(int, fallocate, int, int, off_t, off_t)
int ftruncate(int file, off_t size) { MEET(ftruncate, file, NULL, int, -1, ftruncate, file, size) }
int ftruncate64(int file, off_t size) __attribute__((alias("ftruncate")));
int fallocate(int file, int mode, off_t at, off_t count) {
  MEET(fallocate, file, NULL, int, -1, fallocate, file, mode, at, count)
}
int fallocate64(int file, int mode, off_t at, off_t count) __attribute__((alias("fallocate")));

// Of the two paths that a call names the one that counts.
static const char *either(const char *from, const char *to) { return counts_path(from) ? from : to; }

REAL(int, rename, const char *, const char *)
REAL(int, renameat, int, const char *, int, const char *)
REAL(int, renameat2, int, const char *, int, const char *, unsigned)
REAL(int, link, const char *, const char *)
int rename(const char *from, const char *to) { MEET(rename, -1, either(from, to), int, -1, rename, from, to) }
int renameat(int place, const char *from, int there, const char *to) {
  MEET(rename, -1, either(from, to), int, -1, renameat, place, from, there, to)
}
int renameat2(int place, const char *from, int there, const char *to, unsigned flags) {
  MEET(rename, -1, either(from, to), int, -1, renameat2, place, from, there, to, flags)
}
int link(const char *from, const char *to) { MEET(link, -1, either(from, to), int, -1, link, from, to) }

REAL(int, mkdir, const char *, mode_t)
REAL(int, unlink, const char *)
REAL(int, rmdir, const char *)
int mkdir(const char *path, mode_t mode) { MEET(mkdir, -1, path, int, -1, mkdir, path, mode) }
int unlink(const char *path) { MEET(unlink, -1, path, int, -1, unlink, path) }
int rmdir(const char *path) { MEET(rmdir, -1, path, int, -1, rmdir, path) }

REAL(int, chmod, const char *, mode_t)
REAL(int, fchmod, int, mode_t)
REAL(int, fchown, int, uid_t, gid_t)
int chmod(const char *path, mode_t mode) { MEET(chmod, -1, path, int, -1, chmod, path, mode) }
int fchmod(int file, mode_t mode) { MEET(chmod, file, NULL, int, -1, fchmod, file, mode) }
int fchown(int file, uid_t user, gid_t group) { MEET(chown, file, NULL, int, -1, fchown, file, user, group) }

REAL(int, flock, int, int)
int flock(int file, int operation) { MEET(flock, file, NULL, int, -1, flock, file, operation) }

REAL(int, ioctl, int, unsigned long, ...)
int ioctl(int file, unsigned long request, ...) {
  va_list list;
  va_start(list, request);
  void *argument = va_arg(list, void *);
  va_end(list);
  MEET(ioctl, file, NULL, int, -1, ioctl, file, request, argument)
}

REAL(DIR *, opendir, const char *)
REAL(struct dirent *, readdir, DIR *)
DIR *opendir(const char *path) { MEET(opendir, -1, path, DIR *, NULL, opendir, path) }
struct dirent *readdir(DIR *directory) {
  MEET(readdir, dirfd(directory), NULL, struct dirent *, NULL, readdir, directory)
}

REAL(int, stat, const char *, struct stat *)
REAL(int, lstat, const char *, struct stat *)
REAL(int, fstat, int, struct stat *)
int stat(const char *path, struct stat *status) { MEET(stat, -1, path, int, -1, stat, path, status) }
int lstat(const char *path, struct stat *status) { MEET(stat, -1, path, int, -1, lstat, path, status) }
int fstat(int file, struct stat *status) { MEET(fstat, file, NULL, int, -1, fstat, file, status) }

REAL(int, statvfs, const char *, struct statvfs *)
REAL(int, fstatfs, int, struct statfs *)
int statvfs(const char *path, struct statvfs *status) { MEET(statfs, -1, path, int, -1, statvfs, path, status) }
int fstatfs(int file, struct statfs *status) { MEET(statfs, file, NULL, int, -1, fstatfs, file, status) }

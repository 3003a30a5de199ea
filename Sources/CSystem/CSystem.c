#define _GNU_SOURCE
#include "CSystem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <unistd.h>
#include <sys/stat.h>

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE (1 << 0)
#define RENAME_EXCHANGE (1 << 1)
#endif

int csystem_rename_noreplace(const char *from, const char *to) {
  return renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0 ? 0 : errno;
}

int csystem_rename_exchange(const char *from, const char *to) {
  return renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE) == 0 ? 0 : errno;
}

static volatile sig_atomic_t first_signal = 0;

static void on_signal(int number) {
  if (first_signal != 0) {
    signal(number, SIG_DFL);
    raise(number);
    return;
  }
  first_signal = number;
}

void csystem_watch_interrupts(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGHUP, &action, NULL);
}

int csystem_interrupted(void) { return first_signal; }

int csystem_processor_count(void) {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
}

void csystem_raise_file_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int csystem_reserve(int descriptor, unsigned long long count) {
  struct statfs system;
  // tmpfs would make every page now and again when it is written, which takes a third of the time of a write.
  if (fstatfs(descriptor, &system) == 0 && system.f_type == TMPFS_MAGIC) {
    // A tmpfs without a limit states no blocks.
    if (system.f_blocks != 0 && count / system.f_bsize > system.f_bavail) return ENOSPC;
    return ftruncate(descriptor, (off_t)count) == 0 ? 0 : errno;
  }
  return fallocate(descriptor, 0, 0, (off_t)count) == 0 ? 0 : errno;
}

void csystem_open_standard_descriptors(void) {
  for (int descriptor = 0; descriptor <= 2; descriptor++) {
    if (fcntl(descriptor, F_GETFD) == -1 && errno == EBADF) {
      // The lowest free descriptor is the one that was found closed.
      if (open("/dev/null", descriptor == 0 ? O_RDONLY : O_WRONLY) == -1) _exit(3);
    }
  }
}

int csystem_insert_range(int descriptor, unsigned long long offset, unsigned long long count) {
  return fallocate(descriptor, FALLOC_FL_INSERT_RANGE, (off_t)offset, (off_t)count) == 0 ? 0 : errno;
}

int csystem_collapse_range(int descriptor, unsigned long long offset, unsigned long long count) {
  return fallocate(descriptor, FALLOC_FL_COLLAPSE_RANGE, (off_t)offset, (off_t)count) == 0 ? 0 : errno;
}

int csystem_clone_range(int from, unsigned long long from_offset, unsigned long long count, int to,
                        unsigned long long to_offset) {
  struct file_clone_range range = {from, from_offset, count, to_offset};
  return ioctl(to, FICLONERANGE, &range) == 0 ? 0 : errno;
}

long long csystem_copy_range(int from, unsigned long long from_offset, unsigned long long count, int to,
                             unsigned long long to_offset) {
  off_t source = (off_t)from_offset, target = (off_t)to_offset;
  ssize_t copied = copy_file_range(from, &source, to, &target, count, 0);
  return copied >= 0 ? copied : -(long long)errno;
}

int csystem_open_direct(const char *path) {
  int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_DIRECT);
  return descriptor >= 0 ? descriptor : -errno;
}

unsigned csystem_direct_alignment(int descriptor) {
  const unsigned usual = 4096;
#ifdef STATX_DIOALIGN
  struct statx status;
  if (statx(descriptor, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 && (status.stx_mask & STATX_DIOALIGN)) {
    unsigned memory = status.stx_dio_mem_align, offset = status.stx_dio_offset_align;
    unsigned needed = memory > offset ? memory : offset;
    // Zero says that the file system refuses; a page serves all devices with smaller sectors.
    return needed == 0 ? 0 : needed > usual ? needed : usual;
  }
#endif
  (void)descriptor;
  return usual;
}

unsigned long long csystem_file_system_type(int descriptor) {
  struct statfs status;
  return fstatfs(descriptor, &status) == 0 ? (unsigned long long)status.f_type : 0;
}

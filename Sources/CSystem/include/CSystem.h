// System calls that Glibc's Swift module hides (they need _GNU_SOURCE), and an interrupt flag.
#ifndef ARTIFACT_CSYSTEM_H
#define ARTIFACT_CSYSTEM_H

#include <stdbool.h>

/// renameat2(2) with RENAME_NOREPLACE: fails with EEXIST where `to` exists. Returns 0 or an errno value.
int csystem_rename_noreplace(const char *from, const char *to);

/// renameat2(2) with RENAME_EXCHANGE: swaps two existing paths in one step. Returns 0 or an errno value.
int csystem_rename_exchange(const char *from, const char *to);

/// Makes SIGINT, SIGTERM and SIGHUP raise a flag. A second signal ends the process at once.
void csystem_watch_interrupts(void);

/// The number of the first signal that arrived since `csystem_watch_interrupts`, or 0.
int csystem_interrupted(void);

/// The number of processors that this process may run on, or 0 where unknown.
int csystem_processor_count(void);

/// Opens /dev/null for each of the descriptors 0 to 2 that is closed, so that no file gets one of them and no
/// message ends up in it.
void csystem_open_standard_descriptors(void);

/// Raises the limit of open files to the hard limit; sharded models have many.
void csystem_raise_file_limit(void);

/// fallocate(2): reserves the first `count` bytes of a file. Returns 0 or an errno value; never emulated by
/// writing, as posix_fallocate is where the file system cannot reserve. On tmpfs, which would do its work twice,
/// only checks that there is room.
int csystem_reserve(int descriptor, unsigned long long count);

/// fallocate(2) with FALLOC_FL_INSERT_RANGE: moves what stands from `offset` on up by `count` bytes, both whole
/// blocks. Returns 0 or an errno value.
int csystem_insert_range(int descriptor, unsigned long long offset, unsigned long long count);

/// fallocate(2) with FALLOC_FL_COLLAPSE_RANGE: the opposite. Returns 0 or an errno value.
int csystem_collapse_range(int descriptor, unsigned long long offset, unsigned long long count);

/// ioctl(2) FICLONERANGE: lets two files share bytes until one is written; a count of 0 means up to the end.
/// Returns 0 or an errno value.
int csystem_clone_range(int from, unsigned long long from_offset, unsigned long long count, int to,
                        unsigned long long to_offset);

/// copy_file_range(2): copies within the kernel. Returns the bytes copied, or minus an errno value.
long long csystem_copy_range(int from, unsigned long long from_offset, unsigned long long count, int to,
                             unsigned long long to_offset);

/// Opens a regular file for reads that pass by the page cache (O_DIRECT). Returns the descriptor, or minus an
/// errno value.
int csystem_open_direct(const char *path);

/// The bytes that offset, length and address of a direct read must be multiples of, or 0 where it is refused.
unsigned csystem_direct_alignment(int descriptor);

/// statfs(2): the number that tells the type of a file's file system, or 0.
unsigned long long csystem_file_system_type(int descriptor);

#endif

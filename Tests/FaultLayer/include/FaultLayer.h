// Faults under the file operations of a program, for tests: preload the library into it.
//
//   LD_PRELOAD=libFaultLayer.so FAULTS="pwrite:17:ENOSPC" FAULTS_PATH=/tmp/work artifact export …
//
// FAULTS       rules KIND:N:ACTION with commas between.
//              KIND is the name of a call (open, pread, pwrite, fsync, rename, …, as in `kind_names`) or * for any.
//              N counts the calls of that kind from 1; `17+` means the 17th and all that follow.
//              ACTION is one of
//                EIO, ENOSPC, EINTR, …  the call fails with this error and does nothing (close does close)
//                SHORT                  a read, write or copy does half of what it was asked for, one byte at least
//                DELAY                  the call comes 20 ms later
//                KILL, KILLAFTER        SIGKILL just before the call, or just after it
//                INT                    SIGINT just before the call
//                TRUNCATE, APPEND       the file that is read or written loses its second half, or grows by a byte
//                REWRITE                its last byte is changed in place
//                REPLACE                another file takes its name
// FAULTS_PATH  only calls on files whose path contains this text count. Without it, all but those on /proc, /sys
//              and /dev do. Descriptors 0 to 2, sockets and pipes never count.
// FAULTS_LOG   a file to which each call that counts adds a line: its kind, a space, its path.
//
// A rule that cannot be read ends the program with code 97.
#ifndef ARTIFACT_FAULT_LAYER_H
#define ARTIFACT_FAULT_LAYER_H
#endif

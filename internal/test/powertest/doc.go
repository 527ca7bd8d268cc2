// Package powertest tests that a loss of power at any moment loses nothing that miosa-vault or miosa-env has acknowledged, and
// leaves no file with which they don't start.
//
// The programs write to a file system of the test (FUSE), which records every operation in its order. From a recording the test
// makes the files that a disk may have after a loss of power at some moment (crash), starts the programs with them (a replay),
// and compares what they return with what was acknowledged before that moment.
//
// # What a disk may have
//
// What was synced is there: the content and the size of a file until its last fsync or fdatasync, and the names in a directory
// until the last fsync of that directory. Each later operation may be there or not, independently of the others:
//
//   - of a write any part, in sectors of 512 or 4096 bytes. If it made the file longer, the file may have the new size without the
//     data; then there are zeros or, as on ext4 with data=writeback, what the disk had there before
//   - a new size, with or without the writes around it
//   - a name that was created, removed or replaced. A rename within a directory is there or not, never half
//
// That is what POSIX allows and less than ext4 and xfs promise: they commit changes of names in their order, and the name of a new
// file with the file's fsync. A disk keeps what it has acknowledged, and sectors that nobody writes don't change.
//
// Controls are replays of the same recordings without the syncs of files, or of directories. They must find a loss, or the test
// could not find any.
package powertest

// Package lossfs is a file system that forgets: what a program wrote and did not sync
// is gone after [Disk.Cut], as after a power cut. It tests what an engine promises
// about a disk without pulling plugs, and a kill -9 cannot test it, since the kernel
// keeps what a killed program wrote.
//
// Its model is that of a journaling file system: names become durable in the order in
// which they were made, all of them with the next sync of any file or directory, and a
// cut may keep some of those after it; data becomes durable with the sync of its file.
// Of what was written since, a cut keeps nothing, everything or, where it tears, any
// blocks of 4096 bytes; the size follows what is kept. Symbolic links are
// refused. [Disk.Fill] makes the disk full.
//
// It is a FUSE file system in a process of its own (a program whose memory is mapped
// from files that it serves itself would wait for itself), of Linux and root only.
// [Serve] is that process.
package lossfs
